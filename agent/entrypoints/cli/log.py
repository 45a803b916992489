"""``bmn log``."""

from __future__ import annotations

import csv
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import click

from agent.adapters.journal_views import JournalCalls
from agent.adapters.sqlite_journal import SqliteJournal
from agent.domain.call_story import CallStory, NoticeResult
from agent.domain.journal_events import EventType, Record
from agent.domain.model import Reason, Verdict
from agent.domain.phone_number import mask
from agent.entrypoints.cli import context, output, reveal
from agent.finishing import NOTICE_NOT_DUE, NOTICE_TO_FOLLOW


@dataclass(frozen=True, slots=True, kw_only=True)
class _View:
    """What is shown of which records: for a table, with the widths of its columns, and for CSV and JSON."""

    where: str
    columns: tuple[str, ...]
    widths: Mapping[str, int]


_SCREENED: Final = _View(
    where=f"type = '{EventType.CALL_SCREENED}'",
    columns=(
        *("at", "verdict", "reason", "number", "campaign", "seller", "agent", "call"),
        *("rule", "generation", "notice", "source", "failure"),
    ),
    widths={"at": 23, "verdict": 7, "reason": 20, "number": 14, "campaign": 18, "agent": 12, "call": 36},
)
_MISSING_OFFER: Final = _View(
    where=(
        f"type = '{EventType.CALL_FINISHED}' AND json_extract(body, '$.answered') = 1 "
        f"AND json_extract(body, '$.notice') <> '{NOTICE_NOT_DUE}' "
        "AND json_extract(body, '$.offered') = 0 AND json_extract(body, '$.voicemail') = 0"
    ),
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
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_VERDICTS: Final = [str(verdict) for verdict in Verdict]
_REASONS: Final = [str(reason) for reason in Reason]
_POLL_S: Final = 0.2
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class _Since(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.4 on, not before
    """A time: 2026-11-01, 2026-11-01T09:00, or how long ago: 15m, 2h, 3d."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if ago := re.fullmatch(r"(\d{1,6})([smhd])", value):
            return datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            self.fail("give a time like 2026-11-01 or 2026-11-01T09:00, or how long ago: 15m, 2h, 3d", param, ctx)
        return moment.astimezone(UTC)


@click.command()
@click.option("--since", type=_Since(), help="From this time: 2026-11-01T09:00 (local time), or 15m, 2h, 3d ago.")
@click.option("--verdict", type=click.Choice(_VERDICTS), help="Only allowed, or only blocked calls.")
@click.option("--reason", type=click.Choice(_REASONS), metavar="REASON", help="Only calls with this reason.")
@click.option("--campaign", help="Only this campaign.")
@click.option("--seller", help="Only this seller.")
@click.option("--agent", help="Only this agent.")
@click.option("--number", help="Only this number, in any spelling.")
@click.option("--call", help="Only the call with this id, as in the CDR.")
@click.option(
    "--missing-offer",
    is_flag=True,
    help="Instead: answered calls in which the agent logged no offer, with what was heard of the notice.",
)
@click.option("--limit", type=click.IntRange(min=1), help="At most the newest N calls; default 50, all with --since.")
@click.option("--follow", "-f", is_flag=True, help="Go on showing calls as they happen, until interrupted.")
@reveal.option
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV with a header.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one call a line.")
def log(
    since: datetime | None,
    verdict: str | None,
    reason: str | None,
    campaign: str | None,
    seller: str | None,
    agent: str | None,
    number: str | None,
    call: str | None,
    missing_offer: bool,
    limit: int | None,
    follow: bool,
    revealed: bool,
    as_csv: bool,
    as_json: bool,
) -> None:
    """Show screened calls, the newest last.

    \b
    bmn log --verdict block --since 2h      what was blocked in the last two hours
    bmn log --reason register_stale -f      watch for one reason
    bmn log --csv --since 2026-11-01        for a spreadsheet
    bmn log --number 0612345678             every attempt to call a number
    bmn log --missing-offer --since 1d      conversations in which the register was not pointed at
    """
    config = context.settings()
    if as_csv and as_json:
        raise click.UsageError("--csv and --json exclude each other")
    if missing_offer and (verdict or reason):
        raise click.UsageError("--missing-offer is about calls that were answered: --verdict and --reason do not apply")
    view = _MISSING_OFFER if missing_offer else _SCREENED
    chosen = {
        "verdict": verdict,
        "reason": reason,
        "campaign": campaign,
        "seller": seller,
        "agent": agent,
        "number": context.consumer_number(config, number).e164 if number else None,
        "call": call,
    }
    where = [view.where] + [f"{name} = ?" for name, value in chosen.items() if value]
    parameters: list[object] = [value for value in chosen.values() if value]
    if since is not None:
        where.append("at >= ?")
        parameters.append((since - _EPOCH) // timedelta(microseconds=1))
    if revealed:
        with context.application() as app:
            filters = ", ".join(f"{name} {value}" for name, value in chosen.items() if value) or "all"
            reveal.record(app, "call log", f"{filters}; since {since or '-'}", None)
    show = _csv_writer(view) if as_csv else output.print_json_line if as_json else None
    with SqliteJournal(config.journal.path, config.journal.key_path, create=False) as journal:
        newest = limit if limit is not None else (-1 if since else 50)
        last = journal.head().seq
        query = " AND ".join(where)
        records = list(journal.records(f"{query} AND seq <= {last}", parameters, limit=newest, newest_first=True))
        if show is None:
            show = _table(view, empty=not records)
        for record in reversed(records):
            if view is _MISSING_OFFER and _offered_after_all(journal, record):
                continue
            show(_row(view, journal, record, revealed))
        if follow:
            for record in _following(journal, query, parameters, last):
                show(_row(view, journal, record, revealed))
                sys.stdout.flush()


def _following(journal: SqliteJournal, query: str, parameters: list[object], last: int) -> Iterator[Record]:
    """Records as they are appended, until the user interrupts."""
    try:
        while True:
            newest = journal.head().seq
            if newest > last:
                yield from journal.records(f"{query} AND seq > {last} AND seq <= {newest}", parameters)
                last = newest
            time.sleep(_POLL_S)
    except KeyboardInterrupt:
        return


def _row(view: _View, journal: SqliteJournal, record: Record, revealed: bool) -> dict[str, object]:
    body = record.body
    number = str(body["number"])
    row: dict[str, object] = {name: body.get(name) for name in view.columns}
    if row["notice"] == NOTICE_TO_FOLLOW:
        row["notice"] = _followed(journal, str(body["call"]))
    return {**row, "at": record.at, "number": number if revealed else mask(number)}


def _offered_after_all(journal: SqliteJournal, record: Record) -> bool:
    """Whether a key of the agent reached the journal in the moment after the end of the call did."""
    story = CallStory.of(JournalCalls(journal).of_call(str(record.body["call"])))
    return story is not None and (story.choices.offered or story.choices.voicemail)


def _followed(journal: SqliteJournal, call: str) -> str:
    """What became of a notice that was to follow the agent's part of a call."""
    story = CallStory.of(JournalCalls(journal).of_call(call))
    return NoticeResult.NOT_PLAYED if story is None or story.notice_result is None else story.notice_result


def _csv_writer(view: _View) -> Callable[[dict[str, object]], None]:
    writer = csv.DictWriter(sys.stdout, view.columns, lineterminator="\n")
    writer.writeheader()

    def show(row: dict[str, object]) -> None:
        at = row["at"]
        assert isinstance(at, datetime)
        writer.writerow({**{name: "" if value is None else value for name, value in row.items()}, "at": at.isoformat()})

    return show


def _table(view: _View, *, empty: bool) -> Callable[[dict[str, object]], None]:
    """Print the header; returns what prints a row."""
    click.echo("  ".join(f"{name:{width}}" for name, width in view.widths.items()).rstrip())
    if empty:
        click.echo("no calls match", err=True)

    def show(row: dict[str, object]) -> None:
        at = row["at"]
        cells = {**row, "at": output.local_time(at) if isinstance(at, datetime) else ""}
        line = "  ".join(
            f"{'-' if cells[name] is None else str(cells[name]):{width}}" for name, width in view.widths.items()
        )
        text = line.rstrip() + (f"\n{'':25}{row['failure']}" if row.get("failure") else "")
        blocked = row.get("verdict") == Verdict.BLOCK
        text = "\n".join(output.printable(part) for part in text.split("\n"))
        click.echo(click.style(text, fg="red") if blocked and sys.stdout.isatty() else text)

    return show
