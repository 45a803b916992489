"""Opt-outs as CSV: ``number`` and, where known, ``since``, ``source`` and ``note``. What was exported is read, too."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from typing import Final

from agent.adapters.csv_entries import content_of, entries_of
from agent.domain.phone_number import PhoneNumber, read_dialled
from agent.domain.profile import Profile
from agent.domain.seller_list_entries import Objection

_LONGEST: Final = 500


def read_optouts(
    path: Path, profile: Profile, today: date, pbx_prefixes: tuple[str, ...] = ()
) -> list[tuple[PhoneNumber, Objection]]:
    """Every line as a number and its objection. Raises ``InputRejected`` for the whole file when any line is wrong."""
    return entries_of(
        path.name,
        content_of(path),
        columns=("number", "since", "source", "by", "note"),
        required=("number",),
        others=False,
        read=lambda _, row: _entry(row, f"file {path.name}", profile, today, pbx_prefixes),
        noun="number",
        outcome="imported",
    )


def _entry(
    row: dict[str, str], file: str, profile: Profile, today: date, pbx_prefixes: tuple[str, ...]
) -> tuple[PhoneNumber, Objection] | str:
    number = read_dialled(row["number"], profile, pbx_prefixes)
    if not isinstance(number, PhoneNumber):
        return f"not a number of region {profile.region}"
    since = row.get("since", "").strip()
    try:
        objected_on = datetime.fromisoformat(since).date() if since else None
    except ValueError:
        return f"since {since!r} is not a date like 2026-01-31"
    if objected_on is not None and objected_on > today:
        return f"since {objected_on} is in the future"
    source, note = row.get("source", "").strip(), row.get("note", "").strip()
    if not f"{source}{note}".isprintable() or max(len(source), len(note)) > _LONGEST:
        return f"source and note are up to {_LONGEST} printable characters"
    return number, Objection(source=source or file, note=note or None, objected_on=objected_on)
