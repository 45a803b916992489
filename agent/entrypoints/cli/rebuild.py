"""``bmn rebuild``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from agent.adapters.register_files import reopen_register_file
from agent.bootstrap import register_loading
from agent.entrypoints.cli import context, output
from agent.entrypoints.cli.register import generation_as_json


@click.command()
@click.argument("files", nargs=-1, type=click.Path(path_type=Path), metavar="[FILE]...")
@click.option("--take-over", is_flag=True, help="Make this journal the owner of a Redis that belongs to another one.")
@click.option("--register-only", is_flag=True, help="Load the register again where it was lost; calls go on meanwhile.")
@context.profile_option
@output.json_option
def rebuild(
    files: tuple[Path, ...], take_over: bool, register_only: bool, profile_key: str | None, as_json: bool
) -> None:
    """Fill Redis again from the journal, and from the register FILEs that were loaded last.

    For a Redis that lost something: emptied, evicted, damaged. All opt-outs, customers and choices of the journal are
    applied again. When Redis still has all of the register that was in force, no file is read; else its files are
    loaded once more, from where they were or from FILEs, with the date that the journal has. They must be the same to
    the byte (exit code 4); a newer file is loaded with "bmn register import". They are loaded once
    more, too, when lines were left out that another version of phonenumbers may read now.

    \b
      bmn rebuild
      bmn rebuild /backup/numbers.csv

    Calls are blocked until the lists are back, unless --register-only leaves them as they are; "bmn serve" does that
    by itself when it finds that the register is lost. Doing it again changes nothing. What only Redis knew is not known
    any more: customers without a record lose their exemption, opt-outs stay.

    A Redis belongs to one journal. --take-over is for a journal that was lost for good: the opt-outs that its Redis
    still holds then go on to protect. Exit code 1 when no register is in force afterwards, or one too old.
    """
    if take_over and register_only:
        raise click.UsageError("--take-over is about the lists, which --register-only leaves as they are")
    with context.application() as app, output.progress_bar() as progress:
        profile = context.chosen_profile(app.settings, profile_key)
        opened = [reopen_register_file(str(path), None) for path in files]
        loading = register_loading(app)
        if register_only:
            rebuilt = loading.reload(profile, opened, reopen_register_file, progress)
        else:
            rebuilt = loading.rebuild(profile, opened, reopen_register_file, progress, take_over=take_over)
        status = app.registers.status(profile)
    current = status.current
    if as_json:
        output.print_json(
            {
                "applied": rebuilt.applied,
                "in_force": generation_as_json(current) if current else None,
                "reloaded": rebuilt.reloaded is not None,
                "stale": status.stale,
                "problems": status.problems,
            }
        )
    else:
        how = "left as they are" if register_only else "applied again"
        click.echo(f"lists: {how}, up to record {rebuilt.applied} of the journal")
        if current is None:
            click.echo("register: the journal knows of none, so load one with bmn register import")
        else:
            how = "loaded again" if rebuilt.reloaded else "Redis had all of it, and no file was read"
            click.echo(f"register: in force is {current.id}, {current.count:,} numbers as of {current.as_of} ({how})")
        if status.stale:
            click.echo("warning: this load is past its period, so every call that needs it is blocked", err=True)
        for problem in status.problems:
            click.echo(f"warning: {problem}", err=True)
    sys.exit(1 if current is None or status.stale else 0)
