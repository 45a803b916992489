"""``bmn registrations``."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

import click

from agent.adapters.registration_files import read_acknowledgements
from agent.domain.registration import Registration, RegistrationState
from agent.entrypoints.cli import context, output
from agent.entrypoints.masking import Masking
from agent.registrations import Exported, Registrations, charity_unanswered


@click.group()
def registrations() -> None:
    """Consumers who asked, in our calls, to be entered in the register: hand them to the registrar, in time.

    \b
    bmn registrations status                         what is due, and until when
    bmn registrations export --out batch.csv         hand over what is pending; never twice
    bmn registrations acknowledge answer.csv         what the registrar accepted and rejected
    """


@registrations.command(short_help="What is due, and until when.")
@output.json_option
def status(as_json: bool) -> None:
    """Show registrations that the registrar does not have yet or has not answered, and those it rejected.

    Exit code 1 when one is past its time.
    """
    with context.application() as app:
        items = list(app.registrations.all())
        masking = Masking.of(app.settings)
        rows = [_described(app.registrations, item, masking) for item in items]
    counts = {str(state): sum(item.state is state for item in items) for state in RegistrationState}
    overdue = sum(bool(row["overdue"]) for row in rows)
    unanswered = sum(charity_unanswered(item) for item in items)
    if as_json:
        print_ready = {
            "counts": counts,
            "overdue": overdue,
            "charities_not_answered": unanswered,
            "registrations": rows,
        }
        output.print_json(print_ready)
    else:
        done = (RegistrationState.ACCEPTED, RegistrationState.WITHDRAWN)
        shown = [row for row in rows if row["state"] not in done]
        if shown:
            headings = ("call", "number", "wished", "age", "due", "state", "action", "charities", "batch", "reason")
            output.print_table(headings, ([str(_cell(row, name)) for name in headings] for row in shown))
        summary = ", ".join(f"{count} {state}" for state, count in counts.items() if count) or "no registrations"
        click.echo(summary)
        if overdue:
            click.echo(f"{overdue} past the time in which the registrar must have them", err=True)
        if unanswered:
            click.echo(f"{unanswered} without an answer about charities: never reported to the registrar as an answer")
    sys.exit(1 if overdue else 0)


@registrations.command(short_help="Write what is due to a file for the registrar.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The CSV file to write; must not exist.")
@click.option("--again", metavar="BATCH", help="Write an earlier batch once more, instead of a new one.")
@click.option("--rejected", is_flag=True, help="A new batch of those that the registrar rejected.")
@output.json_option
def export(out: Path, again: str | None, rejected: bool, as_json: bool) -> None:
    """Hand over every pending registration as one batch, each exactly once.

    A registration whose call may still be going on waits (registrations.settle_minutes). A wish that changed after it
    was handed over is handed over again; one that was taken back has the action withdraw then.

    When writing is interrupted the journal may have the batch while the file is missing: --again writes it.
    """
    if again and rejected:
        raise click.UsageError("--again and --rejected exclude each other")
    with context.application() as app:
        if again:
            exported: Exported | None = app.registrations.rewrite(again, out)
        else:
            exported = app.registrations.export(out, rejected=rejected)
    if as_json:
        batch = exported.batch if exported else None
        count, waiting = (exported.count, exported.waiting) if exported else (0, 0)
        output.print_json({"batch": batch, "file": str(out) if exported else None, "count": count, "waiting": waiting})
    elif exported is None:
        click.echo("nothing is due: no file was written")
    else:
        click.echo(f"batch {exported.batch}: {exported.count} written to {out}")
        if exported.waiting:
            click.echo(f"{exported.waiting} wait for their calls to be over")


@registrations.command(short_help="Record what the registrar answered.")
@click.argument("file", type=click.Path(path_type=Path))
@output.json_option
def acknowledge(file: Path, as_json: bool) -> None:
    """Read FILE back: CSV with the columns call and result (accepted or rejected), and reason for rejections.

    Any wrong line rejects the whole file (exit code 4). Reading it again changes nothing.
    """
    with context.application() as app:
        done = app.registrations.acknowledge(read_acknowledgements(file))
    if as_json:
        output.print_json({"accepted": done.accepted, "rejected": done.rejected, "unchanged": done.unchanged})
    else:
        click.echo(f"{done.accepted} accepted, {done.rejected} rejected, {done.unchanged} known already")


def _described(use_case: Registrations, item: Registration, masking: Masking) -> dict[str, object]:
    return {
        "call": item.call,
        "number": str(item.number),
        "campaign": masking.name(item.campaign),
        "seller": item.seller,
        "wished": item.wished_at,
        "due": use_case.due(item),
        "overdue": use_case.is_overdue(item),
        "state": item.state,
        "action": item.action,
        "scope": item.wish.scope,
        "sector": item.sector,
        "charities": item.wish.charities,
        "batch": item.batch,
        "reason": masking.field("reason", item.reason),
    }


def _cell(row: dict[str, object], name: str) -> object:
    if name == "age":
        wished = row["wished"]
        assert isinstance(wished, datetime)
        return f"{(datetime.now(UTC) - wished).days} d"
    value = row[name]
    if isinstance(value, datetime):
        return output.local_time(value)
    return "-" if value is None else value
