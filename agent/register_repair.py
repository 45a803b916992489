"""A register that Redis lost, loaded again by itself: by a process of its own, from the files of the load in force.

Reading a register takes minutes and memory, which must not be those of the calls. The process does what an operator
would do (``bmn rebuild --register-only``): nothing is loaded but the very files of the load in force, by their SHA-256,
and another load that comes into force meanwhile stays.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from time import monotonic
from typing import Final, Protocol

from agent.domain.ports import Generations, Journal
from agent.domain.register_history import register_history
from agent.outbox import Outbox

_LOOK_EVERY_S: Final = 2.0
_FIRST_WAIT_S: Final = 60.0
_LONGEST_WAIT_S: Final = 3_600.0


class Process(Protocol):
    """A process that loads a register again."""

    def ended(self) -> int | None:
        """Its exit code; None while it runs."""

    def words(self) -> str:
        """Why it failed, in its own words, once it has ended."""

    def kill(self) -> None:
        """End it at once, and wait for that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair:
    """What became of an attempt."""

    profile: str
    generation: str
    """The load that was lost."""
    done: bool
    """Whether a register is in force again."""
    why: str = ""
    """What stood in the way."""
    next_s: float = 0
    """After how many seconds it is tried again, should it still be necessary."""


class RegisterRepair:
    """Looks whether a register was lost, and has it loaded again. For one thread.

    One process at a time, and longer and longer waits between attempts while they follow on each other. ``begun`` is
    told of the profile and the load that is missing, ``ended`` of what became of it.
    """

    def __init__(
        self,
        *,
        generations: Generations,
        journal: Journal,
        outbox: Outbox,
        profiles: Collection[str],
        start: Callable[[str], Process],
        begun: Callable[[str, str], None],
        ended: Callable[[Repair], None],
    ) -> None:
        self._generations = generations
        self._journal = journal
        self._outbox = outbox
        self._profiles = sorted(profiles)
        self._start = start
        self._begun = begun
        self._ended = ended
        self._process: Process | None = None
        self._missing = ("", "")
        """Profile and load that the process is for, or that the last look found."""
        self._look_at = 0.0
        self._begin_at = 0.0
        self._wait_s = _FIRST_WAIT_S

    def step(self) -> None:
        """Do what is to be done now; takes no time. Raises ``LookupUnavailable`` or ``JournalUnavailable``."""
        if self._process is not None:
            self._follow(self._process)
        elif monotonic() >= self._look_at:
            self._look_at = monotonic() + _LOOK_EVERY_S
            before, self._missing = self._missing, self._find()
            if all(self._missing) and self._missing == before and monotonic() >= self._begin_at:
                self._begin(*self._missing)

    def stop(self) -> None:
        """End a process that runs."""
        if self._process is not None:
            self._process.kill()
            self._process = None

    def _find(self) -> tuple[str, str]:
        """Profile and load of a register that is in force by the journal, and of which Redis knows nothing."""
        for profile in self._profiles:
            loaded = register_history(self._journal.register_changes(profile)).in_force
            if loaded is None or self._outbox.lag():  # what is not applied yet is not lost
                continue
            if self._generations.current(profile) is None:
                return profile, str(loaded.body["generation"])
        return "", ""

    def _begin(self, profile: str, generation: str) -> None:
        if monotonic() - self._begin_at > _LONGEST_WAIT_S:
            self._wait_s = _FIRST_WAIT_S
        self._begin_at = monotonic() + self._wait_s
        self._wait_s = min(self._wait_s * 2, _LONGEST_WAIT_S)
        self._begun(profile, generation)
        self._process = self._start(profile)

    def _follow(self, process: Process) -> None:
        code = process.ended()
        if code is None:
            return
        self._process = None
        profile, generation = self._missing
        done = self._generations.current(profile) is not None
        why = "" if done else process.words() or f"the process ended with {code}"
        next_s = 0 if done else max(0.0, self._begin_at - monotonic())
        self._missing = ("", "")
        self._ended(Repair(profile=profile, generation=generation, done=done, why=why, next_s=round(next_s)))
