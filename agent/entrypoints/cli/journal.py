"""``bmn journal``."""

from __future__ import annotations

import dataclasses
import sys

import click

from agent.adapters.journal_check import verify as verify_chain
from agent.entrypoints.cli import context, output


@click.group()
def journal() -> None:
    """Check the evidence."""


@journal.command(short_help="Check the whole hash chain.")
@output.json_option
def verify(as_json: bool) -> None:
    """Walk the whole hash chain and name the first record that was altered, removed or moved (exit code 1)."""
    config = context.settings()
    with output.progress_bar() as progress:
        check = verify_chain(config.journal.path, config.journal.key_path, progress)
    if as_json:
        output.print_json({**dataclasses.asdict(check), "whole": check.whole})
    elif check.whole:
        click.echo(f"whole: {check.records:,} records, none altered, removed or moved")
    else:
        click.echo(f"BROKEN at record {check.first_bad}: {check.problem}")
        click.echo(f"{check.records:,} records before it hold")
    sys.exit(0 if check.whole else 1)
