"""``bmn journal``."""

from __future__ import annotations

import dataclasses
import sys
from typing import Any

import click

from agent.adapters.journal_check import verify as verify_chain
from agent.bootstrap import retention
from agent.domain.chain import Anchor
from agent.domain.deadline import Deadline
from agent.domain.wording import counted
from agent.entrypoints.cli import context, output
from agent.seller_lists import APPEND_TIMEOUT_MS


@click.group()
def journal() -> None:
    """Check the evidence, and let go what is past its retention."""


class _Anchor(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.4 on, not before
    """How far the chain went when somebody noted it."""

    name = "seq:link"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Anchor:
        try:
            return Anchor.parse(value)
        except ValueError:
            self.fail("give it as it was shown or logged, like 1234:0f8c27d1a3b4e596", param, ctx)


@journal.command(short_help="Check the whole hash chain.")
@click.option("--expect", type=_Anchor(), help="A head that was kept elsewhere: the chain must pass through it.")
@output.json_option
def verify(expect: Anchor | None, as_json: bool) -> None:
    """Walk the whole hash chain and name the first record that was altered, removed or moved (exit code 1).

    An older copy of the whole journal is whole, too. So note the head that this command shows, or take one from the
    log of the service (agent.started, journal.anchored), and give it to --expect.
    """
    config = context.settings()
    context.warn_of_exposed_key(config)
    with output.progress_bar() as progress:
        check = verify_chain(config.journal.path, config.journal.key_path, progress, expect)
    if as_json:
        output.print_json({**dataclasses.asdict(check), "whole": check.whole})
    elif check.whole:
        click.echo(f"whole: {counted(check.records, 'record')}, none altered, removed or moved")
        if check.purged:
            click.echo(f"of {counted(check.purged, 'record')} the body was purged by retention; the chain holds")
        for jump in check.jumps:
            said = " (settled by a clock.jumped)" if jump.settled else ""
            click.echo(f"time goes back at record {jump.seq}, from {jump.before} to {jump.at}{said}")
        if check.more_jumps:
            click.echo(f"and at {counted(check.more_jumps, 'record')} more")
        click.echo(f"head {check.head}: keep it elsewhere; --expect {check.head} finds a journal that was set back")
    else:
        click.echo(f"BROKEN at record {check.first_bad}: {check.problem}")
        click.echo(f"records before it that hold: {check.records:,}")
    sys.exit(0 if check.whole else 1)


@journal.command(short_help="Say that the clock is right, after it went back.")
@output.json_option
def trust_clock(as_json: bool) -> None:
    """Let calls go on after the clock went back, when it is right now.

    While the clock of this machine is behind the newest record of the journal, every call is blocked (clock_unsound):
    nobody knows how old the register is. A clock that something keeps right (chrony, systemd-timesyncd) is believed by
    itself. Where nothing does, look at a clock that you trust, and run this. It records a clock.jumped with your name.
    Exit code 1 when the clock is not behind, so that there is nothing to say.
    """
    with context.application() as app:
        problem = app.clock_keeping.problem()
        done = app.clock_keeping.trust(app.by, Deadline.after_ms(APPEND_TIMEOUT_MS))
    if as_json:
        output.print_json({"recorded": done, "problem": problem or None})
    elif done:
        click.echo("recorded: the clock is right, and calls go on")
    else:
        click.echo("the clock is not behind the journal: there is nothing to say")
    sys.exit(0 if done else 1)


@journal.command(short_help="Remove the bodies of records that are past their retention.")
@click.option("--dry-run", is_flag=True, help="Only tell what would go.")
@click.option(
    "--vacuum",
    is_flag=True,
    help="Write the file again, smaller: calls are blocked, and the service restarts.",
)
@click.option("--trust-clock", is_flag=True, help="The clock is right, whatever makes it look wrong.")
@output.json_option
def purge(dry_run: bool, vacuum: bool, trust_clock: bool, as_json: bool) -> None:
    """Remove what is past its period ([retention] in the configuration): bodies, and the numbers in the indexes.

    What is in force stays: opt-outs, registrations taken in calls, customers, and wishes that the registrar does not
    have yet. What ended counts from its end. The chain stays whole (bmn journal verify tells how many bodies went), and
    a journal.purged says what went. Calls are screened meanwhile.

    A clock that may be wrong is refused, for it would take too much: one that nothing keeps right, or that went on by
    more than a month between two records or since the last one. --trust-clock says that it is right.

    Backups and documents that were exported are not touched. Exit code 1 when the bodies went but a reader kept a copy
    of them in the write-ahead log: run it again.
    """
    with context.application() as app, output.progress_bar() as progress:
        done = retention(app).purge(progress, dry_run=dry_run, trust_clock=trust_clock, vacuum=vacuum)
    if as_json:
        until = {str(kind): moment for kind, moment in done.until.items()}
        counts = {str(event): count for event, count in done.counts.items()}
        output.print_json(
            {"dry_run": dry_run, "count": done.count, "counts": counts, "until": until, "wiped": done.wiped}
        )
    else:
        for event, count in done.counts.items():
            click.echo(f"{event:26} {count:>12,}")
        click.echo(f"{counted(done.count, 'record')} {'would lose' if dry_run else 'lost'} the body")
        if not done.wiped:
            click.echo("somebody reads the journal all the time, so the write-ahead log still has them: run it again")
    sys.exit(0 if done.wiped else 1)
