"""``bmn journal``."""

from __future__ import annotations

import dataclasses
import sys
from typing import Any

import click

from agent.adapters.journal_check import verify as verify_chain
from agent.domain.chain import Anchor
from agent.domain.wording import counted
from agent.entrypoints.cli import context, output


@click.group()
def journal() -> None:
    """Check the evidence."""


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
        click.echo(f"head {check.head}: keep it elsewhere; --expect {check.head} finds a journal that was set back")
    else:
        click.echo(f"BROKEN at record {check.first_bad}: {check.problem}")
        click.echo(f"records before it that hold: {check.records:,}")
    sys.exit(0 if check.whole else 1)
