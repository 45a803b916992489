"""Which loads Redis keeps beside the one in force, and when the others go."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from agent.domain.errors import ImportUnderWay
from agent.domain.ports import GenerationChanges, Generations, Journal
from agent.domain.register_history import register_history


class GenerationKeeping:
    """Keeps the last ``keep`` loads that were in force, for rollback, and others for ``grace`` after they were left.

    The grace is for whoever still reads the load that has just been left, and for the operator who sees at once that
    the new one is bad.
    """

    def __init__(
        self,
        *,
        generations: Generations,
        journal: Journal,
        clock: Callable[[], datetime],
        keep: int,
        grace: timedelta,
    ) -> None:
        self._generations = generations
        self._journal = journal
        self._clock = clock
        self._keep = keep
        self._grace = grace

    def free_old(self, profile: str, changes: GenerationChanges) -> tuple[str, ...]:
        """Free what is neither kept nor within its grace; returns the ids of what went."""
        retired = changes.retire(self._to_keep(profile))
        self._generations.free(profile, retired)
        return retired

    def tidy(self, profile: str) -> tuple[str, ...]:
        """As ``free_old``, at any time and without holding up an import; returns nothing while one is under way."""
        if not self._is_due(profile):
            return ()
        try:
            with self._generations.changing(profile) as changes:
                retired = changes.retire(self._to_keep(profile))
        except ImportUnderWay:  # an import or rollback is under way
            return ()
        self._generations.free(profile, retired)
        return retired

    def _is_due(self, profile: str) -> bool:
        """Whether there may be something to free, told without looking at the sets."""
        held = {item.id for item in self._generations.kept(profile)}
        return len(held) > self._keep and bool(held - self._in_grace(profile) - self._in_force(profile))

    def _to_keep(self, profile: str) -> set[str]:
        held = {item.id for item in self._generations.kept(profile)}
        whole = {item for item in held if self._generations.is_whole(profile, item)}
        succession = register_history(self._journal.register_changes(profile)).succession
        return {*[item for item in succession if item in whole][-self._keep :], *(self._in_grace(profile) & whole)}

    def _in_force(self, profile: str) -> set[str]:
        current = self._generations.current(profile)
        return set() if current is None else {current.id}

    def _in_grace(self, profile: str) -> set[str]:
        left = register_history(self._journal.register_changes(profile)).left_at
        return {item for item, at in left.items() if self._clock() - at < self._grace}
