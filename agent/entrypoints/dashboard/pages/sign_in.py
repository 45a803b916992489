"""Signing in and out, and the choice of a language."""

from __future__ import annotations

import re
import secrets
from typing import Final

from anyio import to_thread
from starlette.responses import RedirectResponse, Response

from agent import logs
from agent.entrypoints.dashboard.language import Language
from agent.entrypoints.dashboard.visits import LANGUAGE_COOKIE, Visit, double_submitted

_OWN_PATH: Final = re.compile(r"/|(/[A-Za-z0-9][A-Za-z0-9._-]*)+(\?[A-Za-z0-9=&%._+:~-]*)?|/\?[A-Za-z0-9=&%._+:~-]*")
"""An address of ours, and never one of another host."""
_YEAR_S: Final = 365 * 24 * 3600
_LONGEST_NAME: Final = 64


async def show(visit: Visit) -> Response:
    """The form."""
    if visit.visitor is not None:
        return visit.see("live")
    ended = visit.words("sign_in.ended") if visit.request.query_params.get("ended") else ""
    return _form(visit, back=visit.request.query_params.get("back", ""), notice=ended)


async def sign_in(visit: Visit) -> Response:
    """Check name and password; a new session with a new secret, whatever the browser had before."""
    site, request = visit.site, visit.request
    name, password = visit.form.get("name", "").strip().lower()[:_LONGEST_NAME], visit.form.get("password", "")
    back = visit.form.get("back", "")
    if not double_submitted(request, site.sign_in_cookie, visit.form.get("csrf", "")):
        return _form(visit, back=back, problem=visit.words("errors.form"), status=403)
    address = request.client.host if request.client else ""
    known = name if site.accounts.knows(name) else None  # else it may be a number, or a password
    if wait_s := site.throttle.wait_s(name, address):
        problem = visit.words("sign_in.wait", seconds=wait_s)
        refused = _form(visit, back=back, name=name, problem=problem, status=429)
        refused.headers["Retry-After"] = str(wait_s)
        logs.logger().warning(logs.SIGN_IN_REFUSED, user=known, address=address, why="throttled", wait_s=wait_s)
        return refused
    site.throttle.attempt(name, address)
    user = await to_thread.run_sync(site.accounts.check, name, password, limiter=site.passwords)
    if user is None:
        logs.logger().warning(logs.SIGN_IN_REFUSED, user=known, address=address, why="wrong name or password")
        return _form(visit, back=back, name=name, problem=visit.words("sign_in.wrong"), status=401)
    site.throttle.succeeded(name, address)
    site.sessions.end(request.cookies.get(site.session_cookie, ""))
    logs.logger().info(logs.SIGN_IN_ACCEPTED, user=user.name, address=address, role=user.role)
    answer = visit.see("live")
    if _OWN_PATH.fullmatch(back):
        answer = RedirectResponse(request.scope.get("root_path", "") + back, status_code=303)
    secret = site.sessions.begin(user)
    answer.set_cookie(site.session_cookie, secret, path="/", httponly=True, secure=site.https, samesite="lax")
    answer.delete_cookie(site.sign_in_cookie, path="/", httponly=True, secure=site.https, samesite="strict")
    return answer


async def sign_out(visit: Visit) -> Response:
    """End the session."""
    site = visit.site
    site.sessions.end(visit.request.cookies.get(site.session_cookie, ""))
    answer = visit.see("sign-in")
    answer.delete_cookie(site.session_cookie, path="/", httponly=True, secure=site.https, samesite="lax")
    return answer


async def choose_language(visit: Visit) -> Response:
    """Remember a language, and show the same page in it."""
    chosen, back = visit.form.get("language", ""), visit.form.get("back", "")
    root = visit.request.scope.get("root_path", "")
    answer = RedirectResponse(root + (back if _OWN_PATH.fullmatch(back) else "/"), status_code=303)
    if chosen in list(Language):
        answer.set_cookie(
            LANGUAGE_COOKIE, chosen, max_age=_YEAR_S, path="/", secure=visit.site.https, samesite="lax", httponly=True
        )
    return answer


def _form(
    visit: Visit, *, back: str, name: str = "", problem: str = "", notice: str = "", status: int = 200
) -> Response:
    site = visit.site
    token = visit.request.cookies.get(site.sign_in_cookie) or secrets.token_urlsafe()
    values = {"back": back, "name": name, "problem": problem, "notice": notice, "token": token}
    answer = visit.page("sign_in.html", status=status, **values)
    answer.set_cookie(site.sign_in_cookie, token, path="/", httponly=True, secure=site.https, samesite="strict")
    return answer
