"""Customer files: CSV with the header ``number,sold_on,product`` and optionally ``evidence``."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Final

from agent.adapters.csv_entries import content_of, entries_of
from agent.domain.phone_number import PhoneNumber, read_dialled
from agent.domain.profile import Profile
from agent.domain.seller_list_entries import Sale

_REQUIRED: Final = ("number", "sold_on", "product")


def read_customers(path: Path, profile: Profile, today: date) -> list[tuple[PhoneNumber, Sale]]:
    """Every line as a number and its sale. Raises ``InputRejected`` for the whole file when any line is wrong."""
    return entries_of(
        path.name,
        content_of(path),
        columns=(*_REQUIRED, "evidence"),
        required=_REQUIRED,
        others=False,
        read=lambda _, row: _sale(row, profile, today),
        noun="customer",
        outcome="imported",
    )


def _sale(row: dict[str, str], profile: Profile, today: date) -> tuple[PhoneNumber, Sale] | str:
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
