"""The ASGI application: routes, each behind the door of ``visits.page``, and what surrounds them."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from agent.adapters.journal_tail import JournalTail
from agent.bootstrap import Application
from agent.config_dashboard import Role
from agent.domain.phone_number import mask, mask_within
from agent.domain.profile import PROFILES
from agent.entrypoints.dashboard.accounts import Accounts
from agent.entrypoints.dashboard.headers import SecurityHeaders
from agent.entrypoints.dashboard.language import read_words
from agent.entrypoints.dashboard.live import LiveFeed
from agent.entrypoints.dashboard.pages import agents, charts, dossier, history, live, register, registrations, sign_in
from agent.entrypoints.dashboard.sessions import Sessions
from agent.entrypoints.dashboard.site import Site
from agent.entrypoints.dashboard.throttle import Throttle
from agent.entrypoints.dashboard.visits import missing, page
from agent.entrypoints.masking import Masking

_HERE: Final = Path(__file__).parent
STATIC: Final = "/static/"


def routes() -> Sequence[BaseRoute]:
    """Every address. Only what says ``public`` is shown to who has not signed in."""
    return (
        Route("/sign-in", page(sign_in.show, public=True), name="sign-in"),
        Route("/sign-in", page(sign_in.sign_in, public=True), methods=["POST"]),
        Route("/sign-out", page(sign_in.sign_out), methods=["POST"], name="sign-out"),
        Route("/language", page(sign_in.choose_language, public=True), methods=["POST"], name="language"),
        Route("/", page(live.show), name="live"),
        Route("/live/events", page(live.events, use=False), name="live-events"),
        Route("/history", page(history.show), name="history"),
        Route("/history/search", page(history.search), methods=["POST"], name="history-search"),
        Route("/history/full", page(history.reveal, role=Role.COMPLIANCE), methods=["POST"], name="history-full"),
        Route("/history/calls.csv", page(history.masked_csv), name="history-csv"),
        Route(
            "/history/calls-full.csv",
            page(history.full_csv, role=Role.COMPLIANCE),
            methods=["POST"],
            name="history-full-csv",
        ),
        Route("/charts", page(charts.show), name="charts"),
        Route("/agents", page(agents.show), name="agents"),
        Route("/register", page(register.show), name="register"),
        Route("/registrations", page(registrations.show), name="registrations"),
        Route("/dossier", page(dossier.ask), name="dossier"),
        Route("/dossier/find", page(dossier.find), methods=["POST"], name="dossier-find"),
        Route("/dossier/open", page(dossier.open_record), methods=["POST"], name="dossier-open"),
        Route("/dossier/{word}", page(dossier.show), name="dossier-of"),
        Route(
            "/dossier/{word}/full", page(dossier.reveal, role=Role.COMPLIANCE), methods=["POST"], name="dossier-full"
        ),
        Route(
            "/dossier/{word}/document",
            page(dossier.export, role=Role.COMPLIANCE),
            methods=["POST"],
            name="dossier-document",
        ),
        Route("/health", _health, name="health"),
        Mount("/static", StaticFiles(directory=_HERE / "static"), name="static"),
    )


def create_app(app: Application, clock: Callable[[], float] = time.monotonic) -> ASGIApp:
    """The dashboard over a wired application, which it does not close."""
    settings = app.settings.dashboard
    tail = JournalTail(app.journal)
    masking = Masking.of(app.settings)
    site = Site(
        app=app,
        accounts=Accounts(settings.users),
        sessions=Sessions(longest_s=settings.session_minutes * 60, idle_s=settings.idle_minutes * 60, clock=clock),
        throttle=Throttle(clock),
        tail=tail,
        live=LiveFeed(tail),
        words=read_words(ZoneInfo(PROFILES[app.settings.dialling.profile].timezone)),
        templates=_templates(masking),
        masking=masking,
    )

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        feed = asyncio.create_task(site.live.run())
        yield
        feed.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await feed

    dashboard = Starlette(
        routes=routes(),
        lifespan=lifespan,
        exception_handlers={HTTPException: missing},
    )
    dashboard.router.redirect_slashes = False
    dashboard.state.site = site
    return SecurityHeaders(dashboard, STATIC)


async def _health(_: Request) -> Response:
    """For a proxy: that it runs, and nothing more."""
    return PlainTextResponse("ok\n")


def _templates(masking: Masking) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["masked"] = lambda value: mask(str(value))
    environment.filters["masked_within"] = lambda value: mask_within(str(value))
    environment.filters["masked_name"] = lambda value: masking.name(str(value))
    environment.globals["Role"] = Role
    return environment
