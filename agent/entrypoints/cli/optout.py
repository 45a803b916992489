"""``bmn optout``."""

from __future__ import annotations

import sys

import click

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
        context.check_seller(app.settings, seller)
        consumer = context.consumer_number(app.settings, number)
        added = app.seller_lists.add_optout(seller, consumer, source, note)
    if as_json:
        output.print_json({"seller": seller, "number": consumer.e164, "added": added})
    else:
        state = "is opted out now" if added else "was opted out already"
        click.echo(f"{consumer.e164} {state} of {seller}")


@optout.command()
@click.argument("number")
@context.seller_option
@click.option("--reason", required=True, type=context.Text(), help="Why the objection ends; stands in the journal.")
@output.json_option
def remove(number: str, seller: str, reason: str, as_json: bool) -> None:
    """Take an objection back, with the reason. Exit code 1 when there was none."""
    with context.application() as app:
        context.check_seller(app.settings, seller)
        consumer = context.consumer_number(app.settings, number)
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
    """List the opt-outs in force, oldest first."""
    with context.application() as app:
        context.check_seller(app.settings, seller)
        entries = list(app.seller_lists.optouts(seller))
        if revealed:
            reveal.record(app, "opt-outs", f"seller {seller}", len(entries))
    if as_json:
        output.print_json(
            [
                {
                    "seller": seller,
                    "number": item.number.e164 if revealed else str(item.number),
                    "since": item.since,
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
