"""Customer files: CSV with the header ``number,sold_on,product`` and optionally ``evidence``."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Final

from agent.domain.errors import InputRejected
from agent.domain.phone_number import PhoneNumber, read_dialled
from agent.domain.profile import Profile
from agent.domain.seller_list_entries import Sale
from agent.domain.wording import wrong_lines

_REQUIRED: Final = ("number", "sold_on", "product")
_COLUMNS: Final = (*_REQUIRED, "evidence")
_PROBLEMS_SHOWN: Final = 20


def read_customers(path: Path, profile: Profile, today: date) -> list[tuple[PhoneNumber, Sale]]:
    """Every line as a number and its sale. Raises ``InputRejected`` for the whole file when any line is wrong."""
    sales: list[tuple[PhoneNumber, Sale]] = []
    problems: list[str] = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file, strict=True)
            _check_header(path, rows.fieldnames or ())
            for row in rows:
                found = _sale(row, profile, today)
                if isinstance(found, str):
                    problems.append(f"{path.name}, line {rows.line_num}: {found}")
                else:
                    sales.append(found)
    except OSError as error:
        raise InputRejected(f"{path} cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputRejected(f"{path.name} is not CSV text in UTF-8: {error}") from error
    if problems:
        message = f"{wrong_lines(len(problems), len(problems) + len(sales))}, so nothing was imported"
        raise InputRejected(message, tuple(problems[:_PROBLEMS_SHOWN]), len(problems))
    if not sales:
        raise InputRejected(f"there is no customer in {path.name}")
    return sales


def _check_header(path: Path, header: Sequence[str]) -> None:
    missing = [name for name in _REQUIRED if name not in header]
    unknown = [name for name in header if name not in _COLUMNS]
    if missing or unknown:
        found = ",".join(header) or "nothing"
        raise InputRejected(f"{path.name}: the header must be {','.join(_REQUIRED)}[,evidence], it is {found}")


def _sale(row: dict[str, str], profile: Profile, today: date) -> tuple[PhoneNumber, Sale] | str:
    if None in row or None in row.values():
        return "not as many fields as the header"
    number = read_dialled(row["number"], profile)
    if not isinstance(number, PhoneNumber):
        return f"not a number of region {profile.region}"
    try:
        sold_on = date.fromisoformat(row["sold_on"].strip())
    except ValueError:
        return f"sold_on {row['sold_on']!r} is not a date like 2026-01-31"
    if sold_on > today:
        return f"sold_on {sold_on} is in the future"
    product = row["product"].strip()
    if not product:
        return "product is empty: it is the evidence of what was sold"
    return number, Sale(sold_on=sold_on, product=product, evidence=(row.get("evidence") or "").strip() or None)
