"""What the journal says of the register of one profile: which loads there were, and which of them was in force when.

The journal decides, and not what Redis happens to hold: a load whose record could not be kept was never in force, and
one that was rolled back from was found to be bad.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from agent.domain.journal_events import EventType, Record
from agent.domain.wording import counted


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterHistory:
    """The outcome of every ``register.loaded`` and ``register.rolled_back`` of a profile."""

    loads: Mapping[str, Record]
    """The record of each load, by the id of its generation."""
    succession: tuple[str, ...]
    """Generations that were in force one after the other, without those that were rolled back from. The last is in
    force; the ones before it are what may be rolled back to."""
    left_at: Mapping[str, datetime]
    """When a generation that was in force was last replaced by another one."""

    @property
    def in_force(self) -> Record | None:
        """The load that is in force; None before the first."""
        return self.loads[self.succession[-1]] if self.succession else None

    @property
    def lineage(self) -> tuple[Record, ...]:
        """The load in force, after those that it was made of: a whole load first, then changes."""
        found: list[Record] = []
        record = self.in_force
        while record is not None and record not in found:
            found.insert(0, record)
            record = self.loads.get(str(record.body.get("base")))
        return tuple(found)


def register_history(records: Iterable[Record]) -> RegisterHistory:
    """Read ``records``, those of one profile in order of the journal."""
    loads: dict[str, Record] = {}
    succession: list[str] = []
    left_at: dict[str, datetime] = {}
    for record in records:
        generation = str(record.body["generation"])
        if record.type is EventType.REGISTER_LOADED:
            loads[generation] = record
        left = record.body.get("from_generation")
        if generation in loads:
            if succession and succession[-1] != generation:
                left_at[succession[-1]] = record.at
            succession = [item for item in succession if item not in (left, generation)] + [generation]
    return RegisterHistory(loads=loads, succession=tuple(succession), left_at=left_at)


def read_with(loaded: Record) -> list[str | None]:
    """The versions of phonenumbers that read a load and what it builds on; None for one that is not known."""
    versions = loaded.body.get("read_with")
    return [one if one is None else str(one) for one in versions] if isinstance(versions, list) else [None]


def left_out(loaded: Record) -> int:
    """Lines of the files of a load that were wrong; older records do not say, and had none."""
    return int(str(loaded.body.get("rejected") or 0))


def unread_lines(history: RegisterHistory, numbering: str) -> str:
    """That lines were left out of the load in force which ``numbering`` may read; empty when there are none.

    It matters for those lines alone: a number that no version could read was blocked as invalid, and is allowed as not
    registered by the version that can. What was read is a whole number, and stays one.
    """
    loaded = history.in_force
    others = [version for version in read_with(loaded) if version != numbering] if loaded is not None else []
    lines = sum(left_out(record) for record in history.lineage)
    if not others or not lines:
        return ""
    versions = " and ".join(
        "an unknown version of phonenumbers" if one is None else f"phonenumbers {one}" for one in others
    )
    was = "was" if lines == 1 else "were"
    return f"{counted(lines, 'line')} {was} left out when it was read with {versions}, and {numbering} may read them"
