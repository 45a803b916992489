"""``bmn optout``."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path

import click

from agent.adapters.optout_file import read_optouts
from agent.adapters.seller_list_export import write_optouts
from agent.domain.wording import counted
from agent.entrypoints.cli import context, output, reveal


@click.group()
def optout() -> None:
    """Consumers who object to one seller (recht van verzet). An opt-out beats every exemption, at once."""


@optout.command(short_help="Record an objection.")
@click.argument("number")
@context.seller_option
@click.option(
    "--source",
    type=context.Text(),
    default="command",
    show_default=True,
    help="How the objection came in: letter, e-mail, …",
)
@click.option("--note", type=context.Text(), help="Anything that belongs to the evidence, such as a reference.")
@output.json_option
def add(number: str, seller: str, source: str, note: str | None, as_json: bool) -> None:
    """Record that the consumer of NUMBER objects to a seller. Doing it again changes nothing."""
    with context.application() as app:
        seller = context.seller_key(app.settings, seller)
        consumer = context.consumer_number(app.settings, number)
        added = app.seller_lists.add_optout(seller, consumer, source, note)
    if as_json:
        output.print_json({"seller": seller, "number": consumer.e164, "added": added})
    else:
        state = "is opted out now" if added else "was opted out already"
        click.echo(f"{consumer.e164} {state} of {seller}")


@optout.command("import", short_help="Record the objections in a CSV file.")
@click.argument("file", type=click.Path(path_type=Path))
@context.seller_option
@output.json_option
def import_command(file: Path, seller: str, as_json: bool) -> None:
    """Record the objections in FILE: CSV with the header number[,since][,source][,note].

    since is the day of the objection (2026-01-31), source how it came in; without one, the file's name stands there.
    Any wrong line rejects the whole file (exit code 4). Who is opted out already stays so, with the evidence of then;
    importing again changes nothing. What "bmn optout export" wrote can be imported.
    """
    with context.application() as app, output.progress_bar() as progress:
        seller = context.seller_key(app.settings, seller)
        profile = context.chosen_profile(app.settings, None)
        today = datetime.now().astimezone().date()
        entries = read_optouts(file, profile, today, app.settings.dialling.pbx_prefixes)
        added = app.seller_lists.add_optouts(seller, entries, progress)
    if as_json:
        output.print_json({"seller": seller, "lines": len(entries), "added": added})
    else:
        click.echo(f"{seller}: {counted(len(entries), 'line')} read, {counted(added, 'opt-out')} recorded")
        if added < len(entries):
            click.echo("the others were opted out already")


@optout.command(short_help="Write the opt-outs in force to a CSV file.")
@context.seller_option
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The file to write; must not exist.")
@output.json_option
def export(seller: str, out: Path, as_json: bool) -> None:
    """Write the opt-outs in force as CSV: number,since,source,by,note.

    Numbers are in full, which the journal records.
    """
    with context.application() as app:
        seller = context.seller_key(app.settings, seller)
        entries = list(app.seller_lists.optouts(seller))
        reveal.record(app, "opt-outs", f"seller {seller}, exported", len(entries))
        write_optouts(out, entries)
    if as_json:
        output.print_json({"seller": seller, "file": str(out), "count": len(entries)})
    else:
        click.echo(f"{counted(len(entries), 'opt-out')} of {seller} written to {out}")


@optout.command()
@click.argument("number")
@context.seller_option
@click.option("--reason", required=True, type=context.Text(), help="Why the objection ends; stands in the journal.")
@output.json_option
def remove(number: str, seller: str, reason: str, as_json: bool) -> None:
    """Take an objection back, with the reason. Exit code 1 when there was none."""
    with context.application() as app:
        seller = context.seller_key(app.settings, seller)
        consumer = context.recorded_number(app.settings, number)
        removed = app.seller_lists.remove_optout(seller, consumer, reason)
    if as_json:
        output.print_json({"seller": seller, "number": consumer.e164, "removed": removed})
    else:
        state = "is no longer opted out" if removed else "was not opted out"
        click.echo(f"{consumer.e164} {state} of {seller}")
    sys.exit(0 if removed else 1)


@optout.command("list")
@context.seller_option
@reveal.option
@output.json_option
def list_command(seller: str, revealed: bool, as_json: bool) -> None:
    """List the opt-outs in force, oldest first; in JSON each with the key that the seller had when it was recorded."""
    with context.application() as app:
        seller = context.seller_key(app.settings, seller)
        entries = list(app.seller_lists.optouts(seller))
        if revealed:
            reveal.record(app, "opt-outs", f"seller {seller}", len(entries))
    if as_json:
        output.print_json(
            [
                {
                    "seller": item.seller,
                    "number": item.number.e164 if revealed else str(item.number),
                    "since": item.since,
                    "objected_on": item.objected_on,
                    "source": item.source,
                    "note": item.note,
                    "by": item.by,
                }
                for item in entries
            ]
        )
        return
    rows = [
        (
            item.number.e164 if revealed else str(item.number),
            output.local_time(item.since),
            item.source,
            item.by,
            item.note or "",
        )
        for item in entries
    ]
    output.print_table(("number", "since", "source", "by", "note"), rows)
