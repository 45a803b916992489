"""The numbers of register files, sorted list by list. A few lines may be wrong; too many, and nothing is taken."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import polars

from agent.domain.errors import InputRejected
from agent.domain.model import Blocked
from agent.domain.ports import Numbers, Progress, RegisterFile, RejectedLine
from agent.domain.profile import Profile
from agent.domain.wording import wrong_lines

_PROBLEMS_SHOWN: Final = 20
_HOPELESS: Final = 200_000
"""So many wrong lines, and most of those read, end the reading of a file."""

Note = Callable[[RegisterFile, Sequence[RejectedLine]], None]
"""Told of every line that is wrong."""


def ignore(_: RegisterFile, __: Sequence[RejectedLine]) -> None:
    """For those who do not want to be told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """What register files hold, validated."""

    lists: Mapping[Blocked, Numbers]
    """Sorted distinct numbers of each list."""
    removed: Numbers
    """Sorted distinct numbers that a list of changes takes out."""
    numbers: int
    """Distinct numbers over all lists."""
    lines: int
    duplicates: int
    """Entries (a number on one list) that stood there before."""
    rejected: int
    """Lines that were wrong, and were left out."""
    problems: tuple[str, ...]
    """The first of them, each in a sentence."""
    left_out: Mapping[str, int]
    """How many there are of the commonest, by what is wrong with them."""


def read_rows(
    profile: Profile, files: Sequence[RegisterFile], max_rejected_percent: float, note: Note, progress: Progress
) -> Rows:
    """Read ``files`` whole. Raises ``InputRejected`` when more lines are wrong than may be."""
    lists: dict[Blocked, list[polars.Series]] = {}
    removed: list[polars.Series] = []
    problems: list[str] = []
    faults: Counter[str] = Counter()
    bad = lines = 0
    done, size = 0, sum(file.bytes for file in files)
    for file in files:
        for block in file.blocks(profile):
            lines += block.lines
            bad += len(block.rejected)
            for blocked, numbers in block.added.items():
                lists.setdefault(blocked, []).append(column_of(numbers))
            removed.append(column_of(block.removed))
            faults.update(wrong.reason for wrong in block.rejected)
            note(file, block.rejected)
            room = _PROBLEMS_SHOWN - len(problems)
            problems += [f"{file.name}, line {wrong.line}: {wrong.reason}" for wrong in block.rejected[:room]]
            if bad >= _HOPELESS and 2 * bad > lines:
                raise InputRejected(f"{_too_many(bad, lines)}; the rest was not read", tuple(problems), bad)
            progress("reading", done + block.offset, size)
        done += file.bytes
    progress("reading", size, size)
    if bad > lines * max_rejected_percent / 100:
        raise InputRejected(_too_many(bad, lines), tuple(problems), bad)
    entries = sum(len(column) for columns in [*lists.values(), removed] for column in columns)
    distinct = {blocked: distinct_numbers(lists.pop(blocked)) for blocked in sorted(lists)}
    out = distinct_numbers(removed)
    return Rows(
        lists=distinct,
        removed=out,
        numbers=count_numbers(distinct),
        lines=lines,
        duplicates=entries - len(out) - sum(len(numbers) for numbers in distinct.values()),
        rejected=bad,
        problems=tuple(problems),
        left_out=dict(faults.most_common(_PROBLEMS_SHOWN)),
    )


def count_numbers(lists: Mapping[Blocked, Numbers]) -> int:
    """Distinct numbers over all lists."""
    if len(lists) == 1:
        return len(next(iter(lists.values())))
    return len(distinct_numbers([column_of(numbers) for numbers in lists.values()]))


def _too_many(bad: int, lines: int) -> str:
    hint = ": is it the right file, layout and column?" if 2 * bad > lines else ""
    return f"{wrong_lines(bad, lines)}, so nothing was loaded{hint}"


def column_of(numbers: Numbers) -> polars.Series:
    """Numbers as a column, which costs nothing where they are one."""
    return polars.Series("number", numbers, dtype=polars.UInt64)


def distinct_numbers(columns: list[polars.Series]) -> polars.Series:
    """Sorted. Empties ``columns`` as it goes: of hundreds of millions of numbers nobody wants two copies."""
    if not columns:
        return polars.Series("number", [], dtype=polars.UInt64)
    whole = polars.concat(columns, rechunk=True)
    columns.clear()
    whole = whole.sort()
    return whole.filter((whole != whole.shift(1)).fill_null(True))
