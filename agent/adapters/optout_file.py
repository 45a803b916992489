"""Opt-outs as CSV: ``number`` and, where known, ``since``, ``source`` and ``note``. What was exported is read, too."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Final

from agent.domain.errors import InputRejected
from agent.domain.phone_number import PhoneNumber, read_dialled
from agent.domain.profile import Profile
from agent.domain.seller_list_entries import Objection
from agent.domain.wording import wrong_lines

_COLUMNS: Final = ("number", "since", "source", "by", "note")
_LONGEST: Final = 500
_PROBLEMS_SHOWN: Final = 20


def read_optouts(
    path: Path, profile: Profile, today: date, pbx_prefixes: tuple[str, ...] = ()
) -> list[tuple[PhoneNumber, Objection]]:
    """Every line as a number and its objection. Raises ``InputRejected`` for the whole file when any line is wrong."""
    entries: list[tuple[PhoneNumber, Objection]] = []
    problems: list[str] = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file, strict=True)
            _check_header(path, rows.fieldnames or ())
            for row in rows:
                found = _entry(row, f"file {path.name}", profile, today, pbx_prefixes)
                if isinstance(found, str):
                    problems.append(f"{path.name}, line {rows.line_num}: {found}")
                else:
                    entries.append(found)
    except OSError as error:
        raise InputRejected(f"{path} cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputRejected(f"{path.name} is not CSV text in UTF-8: {error}") from error
    if problems:
        message = f"{wrong_lines(len(problems), len(problems) + len(entries))}, so nothing was imported"
        raise InputRejected(message, tuple(problems[:_PROBLEMS_SHOWN]), len(problems))
    if not entries:
        raise InputRejected(f"there is no number in {path.name}")
    return entries


def _check_header(path: Path, header: Sequence[str]) -> None:
    if "number" not in header or any(name not in _COLUMNS for name in header):
        found = ",".join(header) or "nothing"
        raise InputRejected(f"{path.name}: the header must be number[,since][,source][,by][,note], it is {found}")


def _entry(
    row: dict[str, str], file: str, profile: Profile, today: date, pbx_prefixes: tuple[str, ...]
) -> tuple[PhoneNumber, Objection] | str:
    if None in row or None in row.values():
        return "not as many fields as the header"
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
