"""What all pages share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ParamSpec, TypeVar
from zoneinfo import ZoneInfo

from anyio import CapacityLimiter, to_thread
from jinja2 import Environment

from agent.bootstrap import Application
from agent.config_dashboard import Role
from agent.domain.deadline import Deadline
from agent.domain.journal_events import Event, EventType, JsonValue
from agent.domain.profile import PROFILES, Profile
from agent.entrypoints.dashboard.accounts import Accounts
from agent.entrypoints.dashboard.language import Language, Words
from agent.entrypoints.dashboard.live import LiveFeed, Tail
from agent.entrypoints.dashboard.sessions import Session, Sessions
from agent.entrypoints.dashboard.throttle import Throttle
from agent.entrypoints.masking import Masking

_RECORD_MS = 10_000
Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class Forbidden(Exception):  # named after what happened
    """Somebody asked for what only another role may have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """One running dashboard."""

    app: Application
    accounts: Accounts
    sessions: Sessions
    throttle: Throttle
    tail: Tail
    live: LiveFeed
    words: Mapping[Language, Words]
    templates: Environment
    masking: Masking
    queries: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(6))
    """Slow questions of some wait here for each other; the live view and signing in have threads of their own."""
    passwords: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(2))

    @property
    def profile(self) -> Profile:
        """The configured one."""
        return PROFILES[self.app.settings.dialling.profile]

    @property
    def zone(self) -> ZoneInfo:
        """Where days begin and end."""
        return ZoneInfo(self.profile.timezone)

    @property
    def https(self) -> bool:
        """Whether browsers come by HTTPS."""
        return self.app.settings.dashboard.behind_proxy

    @property
    def session_cookie(self) -> str:
        """Its name; with HTTPS one that no other host can set."""
        return "__Host-bmn-session" if self.https else "bmn-session"

    @property
    def sign_in_cookie(self) -> str:
        """Its name: what the form of the sign-in must repeat."""
        return "__Host-bmn-sign-in" if self.https else "bmn-sign-in"

    async def ask(
        self, question: Callable[Arguments, Result], *arguments: Arguments.args, **named: Arguments.kwargs
    ) -> Result:
        """The answer of something that reads a disk or a network, without holding up anybody else."""
        return await to_thread.run_sync(lambda: question(*arguments, **named), limiter=self.queries)

    async def record(self, session: Session, event_type: EventType, **body: JsonValue) -> None:
        """Put on disk what ``session`` is about to be shown.

        Raises ``Forbidden`` for a viewer, and ``JournalUnavailable``: then nothing may be shown.
        """
        if session.user.role is not Role.COMPLIANCE:
            raise Forbidden
        event = Event.of(event_type, {**body, "by": session.user.by})
        await self.ask(self.app.journal.append, [event], Deadline.after_ms(_RECORD_MS))

    def render(self, template: str, **values: Any) -> str:
        """A page or a part of one."""
        return self.templates.get_template(template).render(**values)
