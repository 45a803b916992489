"""The rows of register files as sorted lists of numbers: every line is right, or nothing is taken."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from agent.domain.errors import InputRejected
from agent.domain.model import Blocked
from agent.domain.phone_number import PhoneNumber, read_dialled
from agent.domain.ports import Progress, RegisterFile
from agent.domain.profile import Profile
from agent.domain.wording import wrong_lines

_PROBLEMS_SHOWN: Final = 20
_PROGRESS_EVERY: Final = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """What register files hold, validated."""

    lists: dict[Blocked, Sequence[int]]
    """Sorted distinct numbers of each list."""
    numbers: int
    """Distinct numbers over all lists."""
    lines: int
    duplicates: int
    """Lines that said nothing that an earlier line had not said."""


def read_rows(profile: Profile, files: Sequence[RegisterFile], progress: Progress) -> Rows:
    """Read ``files`` whole. Raises ``InputRejected`` with the lines that are wrong."""
    lists: dict[Blocked, array[int]] = {}
    problems: list[str] = []
    bad = lines = entries = 0
    done, size = 0, sum(file.bytes for file in files)
    for file in files:
        for row in file.rows():
            lines += 1
            number = read_dialled(row.number, profile)
            blocked, unknown = _blocked(row.blocked)
            if isinstance(number, PhoneNumber) and not unknown:
                for item in blocked:
                    lists.setdefault(item, array("Q")).append(int(number.digits))
                entries += len(blocked)
            else:
                bad += 1
                if len(problems) < _PROBLEMS_SHOWN:
                    fault = f"unknown word {unknown!r}" if unknown else f"not a number of region {profile.region}"
                    problems.append(f"{file.name}, line {row.line}: {fault}")
            if lines % _PROGRESS_EVERY == 0:
                progress("reading", done + row.offset, size)
        done += file.bytes
    progress("reading", size, size)
    if bad:
        raise InputRejected(f"{wrong_lines(bad, lines)}, so nothing was loaded", tuple(problems), bad)
    distinct = {blocked: sorted(set(numbers)) for blocked, numbers in lists.items()}
    everything = set().union(*distinct.values()) if len(distinct) > 1 else next(iter(distinct.values()), [])
    return Rows(
        lists=dict(distinct),
        numbers=len(everything),
        lines=lines,
        duplicates=entries - sum(len(numbers) for numbers in distinct.values()),
    )


def _blocked(words: Sequence[str]) -> tuple[list[Blocked], str]:
    """The members named by ``words``, and the first word that names none."""
    members = []
    for word in words:
        try:
            members.append(Blocked(word))
        except ValueError:
            return [], word or "(empty)"
    return members, ""
