"""How the service stands: what cannot be counted as it happens, but has to be asked of Redis and the journal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from agent.domain.deadline import Deadline
from agent.domain.errors import JournalUnavailable, LookupUnavailable
from agent.domain.journal_events import Record
from agent.domain.model import Generation
from agent.domain.ports import Generations
from agent.domain.profile import Profile
from agent.domain.registration import Due, Registration, RegistrationState, registration
from agent.outbox import Backlog, Outbox


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterState:
    """The load in force for one profile."""

    profile: Profile
    generation: Generation | None
    age: timedelta | None
    """None when nothing is loaded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrationsState:
    """Registrations that are not done with."""

    due: Mapping[Due, int]
    """Those that the registrar must still get."""
    unanswered: int
    """Those that were handed over, and of which nothing was heard yet."""
    oldest: timedelta | None
    """How long ago the oldest wish was said that the registrar must still get."""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What could be learnt; None where the service in question did not answer."""

    redis_up: bool
    redis_bytes: int | None
    registers: tuple[RegisterState, ...]
    outbox: Backlog | None
    registrations: RegistrationsState | None


class Server(Protocol):
    """The server that holds the lists."""

    def used_bytes(self, deadline: Deadline) -> int:
        """The memory that it uses. Raises ``LookupUnavailable``."""


class RegistrationRecords(Protocol):
    """What the journal holds of registrations."""

    def registrations_changed(self, after: int) -> list[str]:
        """The calls whose registration records after ``after`` may have changed. Raises ``JournalUnavailable``."""

    def of_call(self, call: str) -> list[Record]:
        """Every record of a call, in order. Raises ``JournalUnavailable``."""


class ServiceState:
    """Reads the state. For one thread at a time."""

    def __init__(
        self,
        *,
        server: Server,
        generations: Generations,
        outbox: Outbox,
        registrations: OpenRegistrations,
        profiles: Mapping[str, Profile],
        used: Collection[str],
        clock: Callable[[], datetime],
    ) -> None:
        """``used`` are the keys of the profiles whose register is needed."""
        self._server = server
        self._generations = generations
        self._outbox = outbox
        self._registrations = registrations
        self._profiles = profiles
        self._used = sorted(used)
        self._clock = clock
        self._applied: int | None = None
        """How far Redis had come when it was last heard of: what waits is known without it, too."""

    def read(self, deadline: Deadline) -> State:
        """Ask Redis, until ``deadline``, and the journal. Raises nothing for a service that is away."""
        redis_bytes: int | None = None
        registers: tuple[RegisterState, ...] = ()
        try:
            redis_bytes = self._server.used_bytes(deadline)
            registers = tuple(self._register(self._profiles[key], deadline) for key in self._used)
            self._applied = self._outbox.applied(deadline)
            up = True
        except (LookupUnavailable, JournalUnavailable):
            up = redis_bytes is not None
        return State(
            redis_up=up,
            redis_bytes=redis_bytes,
            registers=registers,
            outbox=self._backlog(),
            registrations=self._open_registrations(),
        )

    def _register(self, profile: Profile, deadline: Deadline) -> RegisterState:
        generation = self._generations.current(profile.key, deadline)
        age = None if generation is None else profile.age(generation, self._clock())
        return RegisterState(profile=profile, generation=generation, age=age)

    def _backlog(self) -> Backlog | None:
        try:
            return None if self._applied is None else self._outbox.backlog(self._applied)
        except JournalUnavailable:
            return None

    def _open_registrations(self) -> RegistrationsState | None:
        try:
            items = self._registrations.read()
        except JournalUnavailable:
            return None
        now = self._clock()
        waiting = [item for item in items if item.is_undelivered]
        days = {key: profile.registration_days for key, profile in self._profiles.items()}
        due = Counter(Due.of(item.due(days[item.profile], now) - now) for item in waiting)
        return RegistrationsState(
            due={one: due[one] for one in Due},
            unanswered=len(items) - len(waiting),
            oldest=max((now - item.wished_at for item in waiting), default=None),
        )


class OpenRegistrations:
    """The registrations that are not done with, kept up with the journal: only what changed is read again."""

    def __init__(self, calls: RegistrationRecords, head: Callable[[], int]) -> None:
        """``head`` is the number of the journal's newest record."""
        self._calls = calls
        self._head = head
        self._seen = 0
        self._open: dict[str, Registration] = {}

    def read(self) -> Collection[Registration]:
        """All of them as of now. Raises ``JournalUnavailable``."""
        head = self._head()
        if head > self._seen:
            for call in self._calls.registrations_changed(self._seen):
                self._open.pop(call, None)
                item = registration(self._calls.of_call(call))
                if item is not None and (item.is_undelivered or item.state is RegistrationState.EXPORTED):
                    self._open[call] = item
            self._seen = head
        return self._open.values()
