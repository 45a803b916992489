"""One request: who asks, in which language, what was sent; and the door that every page stands behind."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast
from urllib.parse import urlencode

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response

from agent import logs
from agent.config_dashboard import Role
from agent.domain.errors import BmnError, InputRejected
from agent.entrypoints.dashboard.language import Words, preferred
from agent.entrypoints.dashboard.sessions import Session
from agent.entrypoints.dashboard.site import Forbidden, Site

LANGUAGE_COOKIE: Final = "bmn-language"
_LONGEST_FORM: Final = 20_000
_MOST_FIELDS: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One request, understood."""

    request: Request
    site: Site
    words: Words
    visitor: Session | None
    """None on the few pages for those who have not signed in."""
    form: Mapping[str, str]
    """What was posted; empty otherwise."""

    @property
    def session(self) -> Session:
        """Of who has signed in."""
        assert self.visitor is not None
        return self.visitor

    @property
    def may_reveal(self) -> bool:
        """Whether this user may ask for numbers in full."""
        return self.visitor is not None and self.visitor.user.role is Role.COMPLIANCE

    def path(self, name: str, /, **parameters: Any) -> str:
        """The address of a page, below the root path."""
        root: str = self.request.scope.get("root_path", "")
        return root + str(self.request.app.url_path_for(name, **parameters))

    def link(self, name: str, query: Mapping[str, object], /, **parameters: Any) -> str:
        """The same with a query; what is empty is left out."""
        chosen = {key: value for key, value in query.items() if value not in (None, "")}
        return self.path(name, **parameters) + (f"?{urlencode(chosen)}" if chosen else "")

    def see(self, name: str, /, **parameters: Any) -> RedirectResponse:
        """Send the browser on to another page."""
        return RedirectResponse(self.path(name, **parameters), status_code=303)

    def page(self, template: str, *, status: int = 200, here: str | None = None, **values: Any) -> HTMLResponse:
        """A page in the visitor's language; ``here`` is its address below the root path, where it was posted for."""
        shown_at = self._here() if here is None else here
        html = self.site.render(
            template, visit=self, t=self.words, path=self.path, link=self.link, here=shown_at, **values
        )
        return HTMLResponse(html, status_code=status)

    def refusal(self, problem: str, *, status: int) -> HTMLResponse:
        """A page that says what went wrong, and what now."""
        return self.page("error.html", status=status, code=status, problem=problem)

    def _here(self) -> str:
        """The address of this page below the root path; empty for one that was posted for."""
        if self.request.method != "GET":
            return ""
        query = self.request.url.query
        return self.below_root(self.request.scope["path"]) + (f"?{query}" if query else "")

    def below_root(self, path: str) -> str:
        """``path`` without the path under which a proxy shows everything."""
        return path.removeprefix(self.request.scope.get("root_path", ""))


Handler = Callable[[Visit], Awaitable[Response]]
Endpoint = Callable[[Request], Awaitable[Response]]


def page(handler: Handler, *, public: bool = False, role: Role = Role.VIEWER, use: bool = True) -> Endpoint:
    """The only door to a page.

    ``public`` pages are shown to anybody, all others to who has signed in, and with ``role`` compliance only to them.
    A form must carry the session's token. Without ``use``, being asked for does not count as use of the session.
    """

    async def endpoint(request: Request) -> Response:
        visit = _visit(request, use=use)
        try:
            if visit.visitor is None and not public:
                return _sign_in_first(visit)
            if request.method == "POST":
                sent = await _form(visit)
                if isinstance(sent, Response):
                    return sent
                visit = _visit(request, form=sent, use=use)
                if visit.visitor is not None and not _is_own_form(request, sent.get("csrf", ""), visit.session.csrf):
                    return visit.refusal(visit.words("errors.form"), status=403)
            if role is Role.COMPLIANCE and not public and not visit.may_reveal:
                raise Forbidden
            return await handler(visit)
        except Forbidden:
            return visit.refusal(visit.words("errors.role"), status=403)
        except InputRejected as error:
            return visit.refusal(str(error), status=400)
        except BmnError as error:
            logs.logger().error(logs.PAGE_FAILED, path=request.scope["path"], why=str(error))
            return visit.refusal(" ".join((visit.words("errors.unavailable"), str(error))), status=503)
        except Exception:  # noqa: BLE001  # whatever it was, the visitor gets a page and the others go on
            logs.logger().exception(logs.PAGE_FAILED, path=request.scope["path"])
            return visit.refusal(visit.words("errors.unexpected"), status=500)

    return endpoint


async def missing(request: Request, error: Exception) -> Response:
    """The page for what is not there, or not to be asked for like that."""
    status = getattr(error, "status_code", 404)
    visit = _visit(request, use=False)
    return visit.refusal(visit.words("errors.missing" if status == 404 else "errors.request"), status=status)


def double_submitted(request: Request, cookie: str, field: str) -> bool:
    """Whether a form for somebody without a session comes from a page of ours."""
    return _is_own_form(request, field, request.cookies.get(cookie, ""))


def _visit(request: Request, *, use: bool, form: Mapping[str, str] | None = None) -> Visit:
    site = cast("Site", request.app.state.site)
    secret = request.cookies.get(site.session_cookie, "")
    language = preferred(request.cookies.get(LANGUAGE_COOKIE), request.headers.get("accept-language", ""))
    return Visit(
        request=request,
        site=site,
        words=site.words[language],
        visitor=site.sessions.find(secret, use=use) if secret else None,
        form=form or {},
    )


def _sign_in_first(visit: Visit) -> Response:
    if visit.request.headers.get("accept") == "text/event-stream":
        return PlainTextResponse("no session", status_code=401)
    back = visit.below_root(visit.request.scope["path"])
    ended = "1" if visit.site.session_cookie in visit.request.cookies else ""
    query = {"back": back if visit.request.method == "GET" and back != "/" else "", "ended": ended}
    return RedirectResponse(visit.link("sign-in", query), status_code=303)


async def _form(visit: Visit) -> dict[str, str] | Response:
    """The fields that were posted, or what to answer when they are not what a form of ours sends."""
    length = visit.request.headers.get("content-length", "")
    kind = visit.request.headers.get("content-type", "").partition(";")[0]
    if not length.isdecimal() or int(length) > _LONGEST_FORM or kind != "application/x-www-form-urlencoded":
        return visit.refusal(visit.words("errors.request"), status=400)
    sent: FormData = await visit.request.form(max_fields=_MOST_FIELDS)
    return {name: value for name, value in sent.items() if isinstance(value, str)}


def _is_own_form(request: Request, sent: str, expected: str) -> bool:
    site = request.headers.get("sec-fetch-site", "same-origin")
    return (
        site in ("same-origin", "none")
        and bool(expected)
        and secrets.compare_digest(sent.encode(errors="replace"), expected.encode())
    )
