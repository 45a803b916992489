"""What is loaded, for how long it may be used, and where Redis and the journal differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from agent.domain.model import Generation
from agent.domain.register_history import RegisterHistory, left_out, unread_lines

AGEING_AT: Final = 0.75
"""The part of its period after which a load should be followed by a newer one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterStatus:
    """What is loaded, and for how long it may be used."""

    profile: str
    current: Generation | None
    valid_until: datetime | None
    stale: bool
    age: timedelta | None
    ageing: bool
    """Still valid, and three quarters of its period are over."""
    rejected: int
    """Lines that were left out of the load in force."""
    read_with: tuple[str | None, ...]
    """The versions of phonenumbers that read it and what it builds on; None for one that is not known."""
    kept: tuple[Generation, ...]
    problems: tuple[str, ...]
    """Where Redis and the journal differ, or the file would be read otherwise now; what to do, each in a sentence."""


def rejected_lines(history: RegisterHistory) -> int:
    """Lines that were left out of the load in force; older records do not say."""
    loaded = history.in_force
    return left_out(loaded) if loaded is not None else 0


def problems_of(
    current: Generation | None,
    history: RegisterHistory,
    kept: Sequence[Generation],
    clock_problem: str,
    numbering: str,
) -> tuple[str, ...]:
    """What is wrong with the clock, where Redis and the journal differ, and what would be read otherwise now.

    Each in a sentence with what to do.
    """
    problems = [clock_problem] if clock_problem else []
    if unread := unread_lines(history, numbering):
        problems.append(f"{unread}: import the file again")
    problems += [
        f"{item.id} is complete in Redis but was never in force, for it has no record in the journal: "
        "import its file again"
        for item in kept
        if item.id not in history.loads and item != current
    ]
    wanted = history.succession[-1] if history.succession else None
    if current is not None and current.id not in history.loads:
        problems.append(
            f"{current.id} is in force, but the journal does not know of it (was it restored from a backup?): "
            "import the newest file again"
        )
    elif wanted is not None and (current is None or current.id != wanted):
        problems.append(f"{wanted} was in force by the journal, and is not in force in Redis: run bmn rebuild")
    return tuple(problems)
