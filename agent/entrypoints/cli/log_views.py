"""How ``bmn log`` shows records: which columns of which, and as a table, as CSV or as JSON."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import click

from agent.adapters.journal_views import JournalCalls
from agent.domain.call_story import NOTICE_TO_FOLLOW, CallStory, NoticeResult
from agent.domain.journal_events import Record
from agent.domain.model import DeliveryFailure, Verdict
from agent.entrypoints.cli import output
from agent.entrypoints.csv_cells import csv_cell
from agent.entrypoints.masking import Masking

Row = Mapping[str, object]
_DETAILS: Final = "details"


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What is shown: the columns of CSV and JSON, and those of a table with their widths."""

    columns: tuple[str, ...]
    """Of JSON, all of the body stands beside them where one of them is ``details``."""
    widths: Mapping[str, int]


SCREENED: Final = View(
    columns=(
        *("at", "verdict", "reason", "number", "campaign", "seller", "agent", "call"),
        *("rule", "generation", "notice", "source", "failure", "undelivered"),
    ),
    widths={"at": 23, "verdict": 7, "reason": 20, "number": 14, "campaign": 18, "agent": 12, "call": 36},
)
"""Screened calls. ``undelivered`` says why Asterisk is not known to have the verdict; it is empty when it has."""
MISSING_OFFER: Final = View(
    columns=("at", "number", "campaign", "seller", "agent", "call", "answered_s", "ended_by", "notice", "choice"),
    widths={
        "at": 23,
        "answered_s": 10,
        "ended_by": 9,
        "notice": 10,
        "number": 14,
        "campaign": 18,
        "agent": 12,
        "call": 36,
    },
)
"""Answered calls without an offer."""
RECORDS: Final = View(
    columns=("seq", "at", "type", "number", "campaign", "seller", "agent", "call", _DETAILS),
    widths={"seq": 9, "at": 23, "type": 25, "number": 14, "campaign": 18, "agent": 12, "call": 36, _DETAILS: 0},
)
"""Records of any type; what has no column of its own stands in ``details``."""


def row_of(
    view: View,
    calls: JournalCalls,
    record: Record,
    masking: Masking | None,
    undelivered: DeliveryFailure | None = None,
) -> Row:
    """A record as the view shows it; in full without ``masking``.

    ``undelivered`` is what another record says of this verdict.
    """
    body = {name: masking.field(name, value) if masking else value for name, value in record.body.items()}
    row: dict[str, object] = {name: body.get(name) for name in view.columns}
    if row.get("notice") == NOTICE_TO_FOLLOW:
        row["notice"] = _followed(calls, str(body["call"]))
    if "undelivered" in row:
        row["undelivered"] = undelivered or body.get("why")
    row["at"] = record.at
    if _DETAILS in row:
        rest = {name: value for name, value in body.items() if name not in row and value is not None}
        row |= {"seq": record.seq, "type": record.type, _DETAILS: rest}
    return row


def _followed(calls: JournalCalls, call: str) -> str:
    """What became of a notice that was to follow the agent's part of a call."""
    story = CallStory.of(calls.of_call(call))
    if story is None:
        return NoticeResult.NOT_PLAYED
    return story.notice_result or (NOTICE_TO_FOLLOW if story.notice_begun else NoticeResult.NOT_PLAYED)


def show_json(row: Row) -> None:
    """One object on one line."""
    output.print_json_line(row)


def csv_writer(view: View) -> Callable[[Row], None]:
    """Print the header; returns what prints a row."""
    writer = csv.DictWriter(sys.stdout, view.columns, lineterminator="\n")
    writer.writeheader()

    def show(row: Row) -> None:
        writer.writerow({name: csv_cell(_cell(value)) for name, value in row.items()})

    return show


def table(view: View) -> Callable[[Row], None]:
    """Print the header; returns what prints a row."""
    click.echo("  ".join(f"{name:{width}}" for name, width in view.widths.items()).rstrip())
    coloured = output.coloured()

    def show(row: Row) -> None:
        at = row["at"]
        cells = {name: _cell(value) or "-" for name, value in row.items()}
        cells["at"] = output.local_time(at) if isinstance(at, datetime) else ""
        text = "  ".join(f"{cells[name]:{width}}" for name, width in view.widths.items()).rstrip()
        lines = [text]
        if row.get("failure"):
            lines.append(f"{'':25}{row['failure']}")
        if row.get("undelivered"):
            lines.append(f"{'':25}not confirmed by Asterisk: {row['undelivered']}")
        shown = "\n".join(output.printable(line) for line in lines)
        blocked = coloured and row.get("verdict") == Verdict.BLOCK
        click.echo(click.style(shown, fg="red") if blocked else shown)

    return show


def _cell(value: object) -> str:
    match value:
        case None:
            return ""
        case datetime():
            return value.isoformat()
        case dict():
            return " ".join(f"{name}={inner}" for name, inner in value.items())
        case _:
            return str(value)
