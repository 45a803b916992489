"""The loads of the register that there are: which is in force and until when, and the way back to the one before."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from agent.domain.clock import behind, is_behind
from agent.domain.deadline import Deadline
from agent.domain.errors import InputRejected, LookupUnavailable, PremiseOutdated
from agent.domain.journal_events import Event, EventType, JsonValue
from agent.domain.model import Generation
from agent.domain.ports import Generations, Journal
from agent.domain.premise import Premise
from agent.domain.profile import Profile
from agent.domain.register_history import RegisterHistory, read_with, register_history
from agent.generation_keeping import GenerationKeeping
from agent.outbox import Outbox
from agent.register_status import AGEING_AT, RegisterStatus, problems_of, rejected_lines

_APPEND_TIMEOUT_MS: Final = 10_000


class Registers:
    """The use cases behind ``bmn register status`` and ``rollback``. ``by`` is the system user who asks."""

    def __init__(
        self,
        *,
        generations: Generations,
        journal: Journal,
        outbox: Outbox,
        clock: Callable[[], datetime],
        keeping: GenerationKeeping,
        numbering: str,
        by: str,
    ) -> None:
        """``numbering`` is the version of phonenumbers that reads numbers here."""
        self._generations = generations
        self._journal = journal
        self._outbox = outbox
        self._clock = clock
        self._keeping = keeping
        self._numbering = numbering
        self._by = by

    def rollback(self, profile: Profile) -> tuple[Generation, Generation]:
        """Put the load that was in force before back in force; returns (left, now in force).

        A load that was itself rolled back from, or has no record, is never gone back to.
        """
        self._outbox.drain()  # before, for it may take long
        with self._generations.changing(profile.key) as changes:
            self._outbox.drain()
            upto = self._journal.state().seq
            current = self._generations.current(profile.key)
            if current is None:
                raise InputRejected("no register is loaded, so there is nothing to roll back")
            kept = {item.id: item for item in self._generations.kept(profile.key) if item.id != current.id}
            older = [
                kept[item]
                for item in self._history(profile).succession
                if item in kept and self._generations.is_whole(profile.key, item)
            ]
            if not older:
                raise InputRejected(
                    f"{current.id} is the oldest load that is kept and was in force, so there is none to roll back to"
                )
            body: dict[str, JsonValue] = {
                "generation": older[-1].id,
                "profile": profile.key,
                "from_generation": current.id,
                "by": self._by,
            }
            changes.renew()
            put_in_force(self._journal, Event(EventType.REGISTER_ROLLED_BACK, body), profile.key, upto)
            self._outbox.drain_recorded()
            require_in_force(self._generations, older[-1])
        return current, older[-1]

    def status(self, profile: Profile, deadline: Deadline | None = None) -> RegisterStatus:
        """What is loaded for ``profile``."""
        current, now = self._generations.current(profile.key, deadline), self._clock()
        valid_until = profile.valid_until(current) if current else None
        kept = self._generations.kept(profile.key, deadline)
        period, history = timedelta(days=profile.load_valid_days), self._history(profile)
        age = profile.age(current, now) if current else None
        stale = current is not None and profile.is_stale(current, now)
        return RegisterStatus(
            profile=profile.key,
            current=current,
            valid_until=valid_until,
            stale=stale,
            age=age,
            ageing=age is not None and not stale and age >= period * AGEING_AT,
            rejected=rejected_lines(history),
            read_with=tuple(read_with(history.in_force)) if history.in_force is not None else (),
            kept=kept,
            problems=problems_of(current, history, kept, self._clock_problem(now), self._numbering),
        )

    def memory(self, status: RegisterStatus) -> dict[str, int | None]:
        """Bytes that each generation takes in Redis, by its id; None where Redis will not say."""
        return {item.id: self._generations.memory(item.id) for item in status.kept}

    def tidy(self, profile: Profile) -> tuple[str, ...]:
        """Free old generations whose time has come; returns their ids."""
        return self._keeping.tidy(profile.key)

    def _clock_problem(self, now: datetime) -> str:
        newest_at = self._journal.state().newest_at
        return behind(now, newest_at) if newest_at is not None and is_behind(now, newest_at) else ""

    def _history(self, profile: Profile) -> RegisterHistory:
        return register_history(self._journal.register_changes(profile.key))


def put_in_force(journal: Journal, event: Event, profile: str, upto: int) -> None:
    """Record a change of the register, unless ``profile`` has another load in force than after record ``upto``.

    Raises ``LookupUnavailable`` then; nothing was recorded.
    """
    try:
        journal.append([event], Deadline.after_ms(_APPEND_TIMEOUT_MS), Premise(upto=upto, profile=profile))
    except PremiseOutdated as error:
        raise LookupUnavailable(
            "another load came into force meanwhile, so this one did not: bmn register status says which"
        ) from error


def require_in_force(generations: Generations, generation: Generation) -> None:
    """Raise ``LookupUnavailable`` when another load was put in force instead."""
    current = generations.current(generation.profile)
    if current is None or current.id != generation.id:
        raise LookupUnavailable(
            f"{generation.id} is loaded but not in force: Redis lost a part of it, or has another load in force "
            "that is newer by the clock (bmn register status says what to do)"
        )
