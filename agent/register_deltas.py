"""Changes of a register: whether they follow on the load in force, and what they make of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date

from agent.domain.errors import InputRejected
from agent.domain.journal_events import Record
from agent.domain.model import Blocked
from agent.domain.ports import Numbers, RegisterFile
from agent.domain.wording import counted
from agent.register_records import as_of_day, files_of
from agent.register_rows import Note, Rows, column_of, count_numbers, distinct_numbers, ignore


@dataclass(frozen=True, slots=True, kw_only=True)
class DeltaOptions:
    """What the operator says of a list of changes."""

    as_of: date
    base: str
    """The id of the generation that the changes build on."""
    since: date | None = None
    """The as-of day of the register that the supplier made the changes from, where that is known."""
    allow_shrink: bool = False
    rejects: Note = ignore
    """Told of every line that is left out."""


def check_sequence(loaded: Record | None, base: str, since: date | None, as_of: date) -> None:
    """Raise ``InputRejected`` unless changes on ``base`` follow on ``loaded``, the load in force."""
    if loaded is None:
        raise InputRejected("no register is loaded, so there is nothing to change: begin with bmn register import")
    in_force, before = str(loaded.body["generation"]), as_of_day(loaded)
    if base != in_force:
        raise InputRejected(
            f"these changes build on {base}, and in force is {in_force}: give the changes that follow on it, "
            "or load a whole register with bmn register import"
        )
    if as_of <= before:
        raise InputRejected(f"the as-of date {as_of} is not after that of the load in force ({before})")
    if since is not None and since > before:
        raise InputRejected(
            f"these changes count from {since}, and the load in force is of {before}: the changes in between are "
            "missing; load them first, or a whole register with bmn register import"
        )


def check_removals(removals: int, numbers: int, max_shrink_percent: float) -> None:
    """Raise ``InputRejected`` when changes take out more than may go at once."""
    if removals > numbers * max_shrink_percent / 100:
        raise InputRejected(
            f"these changes take out {counted(removals, 'number')} of {numbers:,}, more than {max_shrink_percent:g} %. "
            "Add --allow-shrink if it is right"
        )


def read_lineage(
    lineage: Sequence[Record], files: Sequence[RegisterFile], read: Callable[[Sequence[RegisterFile]], Rows]
) -> tuple[Rows, Sequence[RegisterFile]]:
    """What the ``files`` of a whole load and of the changes since add up to; and the files of the last record."""
    own, rest = files[: len(files_of(lineage[0]))], files[len(files_of(lineage[0])) :]
    whole = read(own)
    for record in lineage[1:]:
        own, rest = rest[: len(files_of(record))], rest[len(files_of(record)) :]
        whole = changed(whole, read(own))
    return whole, own


def changed(rows: Rows, changes: Rows) -> Rows:
    """``rows`` after ``changes``: first what is taken out, then what is added."""
    gone = column_of(changes.removed)
    after: dict[Blocked, Numbers] = {}
    for blocked in sorted({*rows.lists, *changes.lists}):
        before = column_of(rows.lists.get(blocked, ()))
        numbers = distinct_numbers(
            [before.filter(~before.is_in(gone.implode())), column_of(changes.lists.get(blocked, ()))]
        )
        if len(numbers):
            after[blocked] = numbers
    return replace(
        rows,
        lists=after,
        numbers=count_numbers(after),
        duplicates=changes.duplicates,
        rejected=changes.rejected,
        problems=changes.problems,
        left_out=changes.left_out,
    )
