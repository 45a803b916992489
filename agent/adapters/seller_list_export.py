"""The seller lists as CSV files, every number in full: for a seller who leaves, or a second system."""

from __future__ import annotations

import contextlib
import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from agent.adapters.draft_file import DraftFile, sync_folder
from agent.domain.errors import InputRejected
from agent.domain.seller_list_entries import Customer, OptOut

OPTOUT_COLUMNS: Final = ("number", "since", "source", "by", "note")
CUSTOMER_COLUMNS: Final = (
    "number", "product_group", "sold_on", "product", "evidence", "since", "source", "by",
)  # fmt: skip


def write_optouts(path: Path, entries: Iterable[OptOut]) -> None:
    """One line for each; ``since`` is the day of the objection, or when it was recorded. As ``_write``."""
    rows = (
        (item.number.e164, (item.objected_on or item.since).isoformat(), item.source, item.by, item.note or "")
        for item in entries
    )
    _write(path, OPTOUT_COLUMNS, rows)


def write_customers(path: Path, entries: Iterable[Customer]) -> None:
    """One line for each, with the sale. As ``_write``."""
    rows = (
        (
            item.number.e164,
            item.product_group,
            item.sale.sold_on.isoformat(),
            item.sale.product,
            item.sale.evidence or "",
            item.since.isoformat(),
            item.source,
            item.by,
        )
        for item in entries
    )
    _write(path, CUSTOMER_COLUMNS, rows)


def _write(path: Path, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """The whole file or nothing, mode 0600. Raises ``InputRejected`` when ``path`` is there already."""
    if path.exists():
        raise InputRejected(f"{path} exists already: choose another name")
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    with contextlib.closing(DraftFile(path)) as draft:
        draft.write(text.getvalue().encode(), 0)
        draft.sealed()
        draft.publish(force=False)
    sync_folder(path.parent)
