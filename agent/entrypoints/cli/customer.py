"""``bmn customer``."""

from __future__ import annotations

import re
import sys
from datetime import datetime
from pathlib import Path

import click

from agent.adapters.customer_file import read_customers
from agent.adapters.seller_list_export import write_customers
from agent.config import Settings
from agent.domain.seller_list_entries import Sale
from agent.domain.wording import counted
from agent.entrypoints.cli import context, output, reveal


def _warn_of_unused(config: Settings, seller: str, product_group: str) -> None:
    """Say on stderr when no campaign could make use of the exemption: the name may be misspelt."""
    known = {item.product_group for item in config.campaigns.values() if item.seller == seller and item.product_group}
    if product_group not in known:
        has = f"they have {', '.join(sorted(known))}" if known else "they have none"
        click.echo(
            f"bmn: warning: no campaign of {seller} has the product group {product_group!r} ({has}), "
            "so this exempts nobody",
            err=True,
        )


def _product_group(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    if value is not None and not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,63}", value):
        raise click.BadParameter("a product group is 1 to 64 of a-z 0-9 _ -, as in the campaigns")
    return value


_group_option = click.option(
    "--product-group", required=True, callback=_product_group, help="What was sold, as the campaigns name it."
)


@click.group()
def customer() -> None:
    """A seller's own customers: exempt for similar products, if the number was obtained in a sale."""


@customer.command(short_help="Record a customer and the sale.")
@click.argument("number")
@context.seller_option
@_group_option
@click.option(
    "--sold-on", required=True, type=click.DateTime(["%Y-%m-%d"]), metavar="YYYY-MM-DD", help="Date of the sale."
)
@click.option("--product", required=True, type=context.Text(), help="What was sold.")
@click.option("--evidence", type=context.Text(), help="Where the sale can be seen: contract or order number.")
@output.json_option
def add(
    number: str,
    seller: str,
    product_group: str,
    sold_on: datetime,
    product: str,
    evidence: str | None,
    as_json: bool,
) -> None:
    """Record that the consumer of NUMBER is a customer, with the sale as evidence."""
    with context.application() as app:
        seller = context.seller_key(app.settings, seller)
        consumer = context.consumer_number(app.settings, number)
        if sold_on.date() > datetime.now().astimezone().date():
            raise click.BadParameter(f"the sale of {sold_on.date()} is in the future", param_hint="--sold-on")
        _warn_of_unused(app.settings, seller, product_group)
        sale = Sale(sold_on=sold_on.date(), product=product, evidence=evidence)
        added = app.seller_lists.add_customers(seller, product_group, [(consumer, sale)], "command", lambda *_: None)
    if as_json:
        output.print_json({"seller": seller, "number": consumer.e164, "added": bool(added)})
    else:
        state = "is a customer now" if added else "is a customer already, by this sale or a later one,"
        click.echo(f"{consumer.e164} {state} of {seller} for {product_group}")


@customer.command("import", short_help="Record the customers in a CSV file.")
@click.argument("file", type=click.Path(path_type=Path))
@context.seller_option
@_group_option
@output.json_option
def import_command(file: Path, seller: str, product_group: str, as_json: bool) -> None:
    """Record the customers in FILE: CSV with the header number,sold_on,product[,evidence].

    Any wrong line rejects the whole file (exit code 4). Importing it again changes nothing.
    """
    with context.application() as app, output.progress_bar() as progress:
        seller = context.seller_key(app.settings, seller)
        _warn_of_unused(app.settings, seller, product_group)
        profile = context.chosen_profile(app.settings, None)
        sales = read_customers(file, profile, datetime.now().astimezone().date())
        added = app.seller_lists.add_customers(seller, product_group, sales, f"file {file.name}", progress)
        objecting = app.seller_lists.opted_out(seller, (number for number, _ in sales))
    if as_json:
        output.print_json({"seller": seller, "lines": len(sales), "added": added, "opted_out": objecting})
    else:
        click.echo(f"{seller}, {product_group}: {counted(len(sales), 'line')} read, {counted(added, 'sale')} recorded")
        if added < len(sales):
            click.echo("the others were on record already, or an earlier sale to the same customer")
        if objecting:
            click.echo(f"opted out of {seller}, which this does not change: {counted(objecting, 'number')}")


@customer.command(short_help="Write the customers in force to a CSV file.")
@context.seller_option
@click.option("--product-group", callback=_product_group, help="Only this group; default: all.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The file to write; must not exist.")
@output.json_option
def export(seller: str, product_group: str | None, out: Path, as_json: bool) -> None:
    """Write the customers in force as CSV, each with the sale. Numbers are in full, which the journal records."""
    with context.application() as app:
        seller = context.seller_key(app.settings, seller)
        entries = list(app.seller_lists.customers(seller, product_group))
        chosen = f"seller {seller}, product group {product_group or 'all'}, exported"
        reveal.record(app, "customers", chosen, len(entries))
        write_customers(out, entries)
    if as_json:
        output.print_json({"seller": seller, "file": str(out), "count": len(entries)})
    else:
        click.echo(f"{counted(len(entries), 'customer')} of {seller} written to {out}")


@customer.command(short_help="End an exemption, with the reason.")
@click.argument("number")
@context.seller_option
@_group_option
@click.option("--reason", required=True, type=context.Text(), help="Why the exemption ends; stands in the journal.")
@output.json_option
def remove(number: str, seller: str, product_group: str, reason: str, as_json: bool) -> None:
    """End a customer's exemption, with the reason. Exit code 1 when there was none."""
    with context.application() as app:
        seller = context.seller_key(app.settings, seller)
        consumer = context.recorded_number(app.settings, number)
        removed = app.seller_lists.remove_customer(seller, product_group, consumer, reason)
    if as_json:
        output.print_json({"seller": seller, "number": consumer.e164, "removed": removed})
    else:
        state = "is no longer a customer" if removed else "was no customer"
        click.echo(f"{consumer.e164} {state} of {seller} for {product_group}")
    sys.exit(0 if removed else 1)


@customer.command("list")
@context.seller_option
@click.option("--product-group", callback=_product_group, help="Only this group; default: all.")
@reveal.option
@output.json_option
def list_command(seller: str, product_group: str | None, revealed: bool, as_json: bool) -> None:
    """List the customers in force, oldest first; in JSON each with the key that the seller had when it was recorded."""
    with context.application() as app:
        seller = context.seller_key(app.settings, seller)
        entries = list(app.seller_lists.customers(seller, product_group))
        if revealed:
            reveal.record(app, "customers", f"seller {seller}, product group {product_group or 'all'}", len(entries))
    if as_json:
        output.print_json(
            [
                {
                    "seller": item.seller,
                    "product_group": item.product_group,
                    "number": item.number.e164 if revealed else str(item.number),
                    "sold_on": item.sale.sold_on,
                    "product": item.sale.product,
                    "evidence": item.sale.evidence,
                    "since": item.since,
                    "source": item.source,
                    "by": item.by,
                }
                for item in entries
            ]
        )
        return
    rows = [
        (
            item.number.e164 if revealed else str(item.number),
            item.product_group,
            str(item.sale.sold_on),
            item.sale.product,
            item.sale.evidence or "",
            output.local_time(item.since),
        )
        for item in entries
    ]
    output.print_table(("number", "product group", "sold on", "product", "evidence", "recorded"), rows)
