"""``bmn log``."""

from __future__ import annotations

import csv
import re
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import click

from agent.adapters.sqlite_journal import SqliteJournal
from agent.domain.journal_events import EventType, Record
from agent.domain.model import Reason, Verdict
from agent.domain.phone_number import mask
from agent.entrypoints.cli import context, output, reveal

_COLUMNS: Final = (
    *("at", "verdict", "reason", "number", "campaign", "seller", "agent", "call"),
    *("rule", "generation", "notice", "source", "failure"),
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
    """
    config = context.settings()
    if as_csv and as_json:
        raise click.UsageError("--csv and --json exclude each other")
    chosen = {
        "verdict": verdict,
        "reason": reason,
        "campaign": campaign,
        "seller": seller,
        "agent": agent,
        "number": context.consumer_number(config, number).e164 if number else None,
        "call": call,
    }
    where = [f"type = '{EventType.CALL_SCREENED}'"] + [f"{name} = ?" for name, value in chosen.items() if value]
    parameters: list[object] = [value for value in chosen.values() if value]
    if since is not None:
        where.append("at >= ?")
        parameters.append((since - _EPOCH) // timedelta(microseconds=1))
    if revealed:
        with context.application() as app:
            filters = ", ".join(f"{name} {value}" for name, value in chosen.items() if value) or "all"
            reveal.record(app, "call log", f"{filters}; since {since or '-'}", None)
    show = _csv_writer() if as_csv else output.print_json_line if as_json else None
    with SqliteJournal(config.journal.path, config.journal.key_path, create=False) as journal:
        newest = limit if limit is not None else (-1 if since else 50)
        last = journal.head().seq
        query = " AND ".join(where)
        records = list(journal.records(f"{query} AND seq <= {last}", parameters, limit=newest, newest_first=True))
        rows = [_row(record, revealed) for record in reversed(records)]
        if show is None:
            _print_rows(rows, header=True)
            show = _print_row
        else:
            for row in rows:
                show(row)
        if follow:
            for record in _following(journal, query, parameters, last):
                show(_row(record, revealed))
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


def _row(record: Record, revealed: bool) -> dict[str, object]:
    body = record.body
    number = str(body["number"])
    row: dict[str, object] = {name: body.get(name) for name in _COLUMNS}
    return {**row, "at": record.at, "number": number if revealed else mask(number)}


def _csv_writer() -> Any:
    writer = csv.DictWriter(sys.stdout, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    return lambda row: writer.writerow({**row, "at": row["at"].isoformat(), "failure": row["failure"] or ""})


_WIDTHS: Final = {"at": 23, "verdict": 7, "reason": 20, "number": 14, "campaign": 18, "agent": 12, "call": 36}


def _print_rows(rows: list[dict[str, object]], *, header: bool) -> None:
    if header:
        click.echo("  ".join(f"{name:{width}}" for name, width in _WIDTHS.items()).rstrip())
    for row in rows:
        _print_row(row)
    if not rows:
        click.echo("no calls match", err=True)


def _print_row(row: dict[str, object]) -> None:
    at = row["at"]
    cells = {**row, "at": output.local_time(at) if isinstance(at, datetime) else ""}
    line = "  ".join(f"{'-' if cells[name] is None else str(cells[name]):{width}}" for name, width in _WIDTHS.items())
    text = line.rstrip() + (f"\n{'':25}{row['failure']}" if row["failure"] else "")
    colour = None if row["verdict"] == Verdict.ALLOW else "red"
    text = "\n".join(output.printable(part) for part in text.split("\n"))
    click.echo(click.style(text, fg=colour) if colour and sys.stdout.isatty() else text)
