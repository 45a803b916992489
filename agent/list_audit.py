"""Everything that Redis must hold, looked at within a minute: what no call asks for may be missing, too."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from time import monotonic
from typing import Final, Protocol

from agent.domain.condition import AuditStep

_EVERY_S: Final = 40.0
"""From the beginning of one round to that of the next."""
_SPREAD_S: Final = 30.0
"""Over which the steps of a round are spread, so that calls feel none of them."""
_TICK_S: Final = 1.0


class AuditedSets(Protocol):
    """The sets that Redis must have."""

    def steps_needed(self) -> int:
        """About how many steps a round takes. Raises ``LookupUnavailable``."""

    def steps(self) -> Iterator[AuditStep]:
        """One round. What is missing is looked into by the next drain. Raises ``LookupUnavailable``."""

    def evicted(self) -> int | None:
        """How many keys Redis ever evicted; None when it does not say."""


class ListAudit:
    """Goes round and round, in small steps. For one thread.

    ``expiring`` is told how many keys a step found that would have expired.
    """

    def __init__(self, sets: AuditedSets, expiring: Callable[[int], None]) -> None:
        self._sets = sets
        self._expiring = expiring
        self._round: Iterator[AuditStep] | None = None
        self._next_at = 0.0
        self._pause_s = _TICK_S
        self._evicted: int | None = None

    def step(self) -> float:
        """Do one small thing; returns after how many seconds to come again.

        Raises ``LookupUnavailable``; the next round then begins in its time.
        """
        if self._round is None:
            if not self._is_due():
                return _TICK_S
            self._next_at = monotonic() + _EVERY_S
            self._pause_s = min(_TICK_S, _SPREAD_S / max(1, self._sets.steps_needed()))
            self._round = self._sets.steps()
        try:
            step = next(self._round, None)
        except BaseException:
            self._round = None
            raise
        if step is None:
            self._round = None
        elif step.expiring:
            self._expiring(step.expiring)
        return self._pause_s

    def _is_due(self) -> bool:
        """Its time has come, or Redis evicted something, under a policy that may have been there for a moment only."""
        due, before = monotonic() >= self._next_at, self._evicted
        if due or before is not None:
            self._evicted = self._sets.evicted()
        return due or (before is not None and self._evicted is not None and self._evicted > before)
