"""``bmn explain``."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import click

from agent.bootstrap import explaining
from agent.domain.explanation import Explanation, OwnRegistration, RegisterEntry
from agent.domain.model import Verdict
from agent.domain.seller_list_entries import Customer, OptOut
from agent.entrypoints.cli import context, output
from agent.entrypoints.cli.arguments import meant


@click.command()
@click.argument("number")
@click.option("--campaign", "wanted", multiple=True, help="What this campaign would get; default: every campaign.")
@output.json_option
def explain(number: str, wanted: tuple[str, ...], as_json: bool) -> None:
    """Tell why NUMBER may be dialled or not: every list that it is on, since when and from where.

    And what each campaign would get right now, decided exactly as in the dial path; nothing is dialled and no call is
    recorded. Says where Redis and the journal differ. When Redis is away, it tells what the journal knows (exit code
    3).

    \b
      bmn explain 0612345678
      bmn explain 0612345678 --campaign energy-autumn --json
    """
    with context.application() as app:
        for name in wanted:
            if name not in app.campaigns:
                raise click.UsageError(f"there is no campaign {name!r}{meant(name, sorted(app.campaigns))}")
        asked = context.recorded_number(app.settings, number)
        explanation = explaining(app).explain(asked, wanted or sorted(app.campaigns), app.settings.agi.deadline_ms)
        now = {key: seller.key for key, seller in app.settings.domain_sellers().items()}
    if as_json:
        output.print_json(_as_json(explanation, now))
    else:
        _tell(explanation, now)
    if explanation.unavailable:
        sys.exit(3)


def _tell(explanation: Explanation, now: Mapping[str, str]) -> None:
    """``now`` are the present keys of sellers, by each key that they have or had."""
    click.echo(f"number {explanation.number}")
    for entry in explanation.register:
        click.echo(_register_line(entry, away=bool(explanation.unavailable)))
        for file in entry.files:
            loaded = output.local_time(file.loaded_at)
            click.echo(
                f"  file {output.printable(file.name)} as of {file.as_of}, loaded {loaded}, sha256 {file.sha256}"
            )
    for registration in explanation.own:
        click.echo(_own_line(registration))
    for optout in explanation.optouts:
        click.echo(_optout_line(optout, now))
    for customer in explanation.customers:
        click.echo(_customer_line(customer, now))
    if not (explanation.own or explanation.optouts or explanation.customers):
        click.echo("no registration of our own calls, no opt-out, no customer")
    click.echo("right now:")
    colours = output.coloured()
    for item in explanation.expected:
        decision = item.decision
        line = f"  {item.campaign:20}  {decision.verdict:5}  {decision.reason}"
        line += f" ({item.failure})" if item.failure else ""
        blocked = colours and decision.verdict is Verdict.BLOCK
        click.echo(click.style(line, fg="red") if blocked else line)
    if explanation.unavailable:
        click.echo(f"bmn: {explanation.unavailable}", err=True)
    for sentence in explanation.disagreements:
        click.echo(f"warning: {sentence}", err=True)


def _register_line(entry: RegisterEntry, *, away: bool) -> str:
    generation = entry.generation
    if away:
        return f"register {entry.profile}: not known while Redis is away"
    if entry.blocked is None or generation is None:
        return f"register {entry.profile}: none is in force"
    listed = ", ".join(sorted(entry.blocked)) or "not in it"
    stale = ", STALE" if entry.stale else ""
    return f"register {entry.profile}: {listed} (generation {generation.id} as of {generation.as_of}{stale})"


def _own_line(item: OwnRegistration) -> str:
    blocked = ", ".join(sorted(item.blocked))
    since = output.local_time(item.since)
    return f"own registration {item.profile}: {blocked}, since {since}, in call {item.call} ({item.campaign})"


def _named(seller: str, now: Mapping[str, str]) -> str:
    """A seller as it was recorded, and what it is called now where that is something else."""
    if seller not in now:
        return f"{seller} (not in the configuration)"
    return seller if now[seller] == seller else f"{seller} (now {now[seller]})"


def _optout_line(item: OptOut, now: Mapping[str, str]) -> str:
    told = f", objected on {item.objected_on}" if item.objected_on else ""
    note = f", {item.note}" if item.note else ""
    seller, since = _named(item.seller, now), output.local_time(item.since)
    return output.printable(f"opt-out of {seller}: since {since}, by {item.source}{note}{told}, {item.by}")


def _customer_line(item: Customer, now: Mapping[str, str]) -> str:
    sale = item.sale
    evidence = f", evidence {sale.evidence}" if sale.evidence else ""
    line = (
        f"customer of {_named(item.seller, now)} for {item.product_group}: {sale.product}, sold on {sale.sold_on}"
        f"{evidence}, since {output.local_time(item.since)}, by {item.source}"
    )
    return output.printable(line)


def _as_json(explanation: Explanation, now: Mapping[str, str]) -> dict[str, Any]:
    return {
        "number": str(explanation.number),
        "register": [
            {
                "profile": entry.profile,
                "generation": entry.generation.id if entry.generation else None,
                "as_of": entry.generation.as_of if entry.generation else None,
                "stale": entry.stale,
                "blocked": None if entry.blocked is None else sorted(entry.blocked),
                "files": [
                    {"name": file.name, "sha256": file.sha256, "as_of": file.as_of, "loaded_at": file.loaded_at}
                    for file in entry.files
                ],
            }
            for entry in explanation.register
        ],
        "own_registrations": [
            {
                "profile": item.profile,
                "blocked": sorted(item.blocked),
                "call": item.call,
                "campaign": item.campaign,
                "since": item.since,
            }
            for item in explanation.own
        ],
        "optouts": [
            {
                "seller": item.seller,
                "seller_now": now.get(item.seller),
                "since": item.since,
                "source": item.source,
                "note": item.note,
                "objected_on": item.objected_on,
                "by": item.by,
            }
            for item in explanation.optouts
        ],
        "customers": [
            {
                "seller": item.seller,
                "seller_now": now.get(item.seller),
                "product_group": item.product_group,
                "sold_on": item.sale.sold_on,
                "product": item.sale.product,
                "evidence": item.sale.evidence,
                "since": item.since,
                "source": item.source,
                "by": item.by,
            }
            for item in explanation.customers
        ],
        "campaigns": [
            {
                "campaign": item.campaign,
                "seller": item.seller,
                "verdict": item.decision.verdict,
                "reason": item.decision.reason,
                "rule": item.decision.rule,
                "failure": item.failure or None,
            }
            for item in explanation.expected
        ],
        "disagreements": explanation.disagreements,
        "unavailable": explanation.unavailable or None,
    }
