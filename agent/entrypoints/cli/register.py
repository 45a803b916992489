"""``bmn register``."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from agent.adapters.register_files import DELIMITERS, ENCODINGS, LAYOUTS, FileOptions, open_register_file
from agent.adapters.reject_file import RejectFile
from agent.bootstrap import register_loading
from agent.domain.model import Generation
from agent.domain.phone_number import NUMBERING
from agent.domain.wording import counted
from agent.entrypoints.cli import context, output
from agent.register_deltas import DeltaOptions
from agent.register_loading import Imported, ImportOptions
from agent.register_rows import Rows
from agent.register_status import RegisterStatus


@click.group()
def register() -> None:
    """Load the do-not-call register, see what is loaded, roll a load back."""


_as_of_option = click.option(
    "--as-of",
    required=True,
    type=click.DateTime(["%Y-%m-%d"]),
    metavar="YYYY-MM-DD",
    help="The day on which the register's supplier made the file. Its age counts from here.",
)


def _file_options(command: Any) -> Any:
    """Add what may be said of files, and where their wrong lines go."""
    for option in (
        click.option("--layout", type=click.Choice(list(LAYOUTS)), help="How lines are made up; default: found out."),
        click.option("--encoding", type=click.Choice(ENCODINGS), help="Default: found out."),
        click.option("--delimiter", type=click.Choice(list(DELIMITERS)), help="Between fields; default: found out."),
        click.option("--rejects", type=click.Path(path_type=Path), help="Write wrong lines to this file (CSV)."),
    ):
        command = option(command)
    return command


@register.command("import", short_help="Load files and put them in force.")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@_as_of_option
@click.option("--allow-shrink", is_flag=True, help="Load although many numbers are gone (register.max_shrink_percent).")
@click.option("--allow-older", is_flag=True, help="Load although the register in force is of a later date.")
@click.option("--verify", is_flag=True, help="Only check the files; nothing is loaded or recorded.")
@_file_options
@context.profile_option
@output.json_option
def import_command(
    files: tuple[Path, ...],
    as_of: datetime,
    allow_shrink: bool,
    allow_older: bool,
    verify: bool,
    layout: str | None,
    encoding: str | None,
    delimiter: str | None,
    rejects: Path | None,
    profile_key: str | None,
    as_json: bool,
) -> None:
    """Load FILES as one new generation of the register and put it in force.

    \b
    A file is text in one of these layouts, packed as .gz or .zip or not; - is standard input:
      0612345678                       one number a line, blocked for everything
      0612345678,energy;finance        number,blocked: all, all_except_charities, or sectors
      0470123456;2026-10-01            number;date: blocked for everything since then
      201,5550123                      area,number: blocked for everything

    Lines that cannot be read are left out, told and counted; more than register.max_rejected_percent of them reject
    the load, and the register in force stays (exit code 4). Screening goes on meanwhile, and sees the new generation
    from one moment to the next.
    """
    said = FileOptions(layout=layout, encoding=encoding, delimiter=delimiter)
    with context.application() as app, output.progress_bar() as progress, RejectFile(rejects, files) as reject_file:
        profile = context.chosen_profile(app.settings, profile_key)
        opened = [open_register_file(path, said) for path in files]
        options = ImportOptions(
            as_of=as_of.date(), allow_shrink=allow_shrink, allow_older=allow_older, rejects=reject_file.note
        )
        if verify:
            read = register_loading(app).check_files(profile, opened, options, progress)
        else:
            imported = register_loading(app).import_files(profile, opened, options, progress)
        status = app.registers.status(profile) if not verify else None
    if status is None:
        _print_verified(read, as_json)
    else:
        _print_imported(imported, status, as_json)


@register.command(short_help="Load a list of changes.")
@click.argument("file", type=click.Path(path_type=Path))
@_as_of_option
@click.option("--base", required=True, help="The generation that the changes build on (bmn register status).")
@click.option(
    "--since",
    type=click.DateTime(["%Y-%m-%d"]),
    metavar="YYYY-MM-DD",
    help="The as-of day of the register that the supplier made the changes from, to find a gap.",
)
@click.option("--allow-shrink", is_flag=True, help="Load although many numbers go (register.max_shrink_percent).")
@_file_options
@context.profile_option
@output.json_option
def delta(
    file: Path,
    as_of: datetime,
    base: str,
    since: datetime | None,
    allow_shrink: bool,
    layout: str | None,
    encoding: str | None,
    delimiter: str | None,
    rejects: Path | None,
    profile_key: str | None,
    as_json: bool,
) -> None:
    """Load FILE, a list of changes, on the generation in force.

    \b
      +0612345678,energy;finance       an addition to these lists; without a word, blocked for everything
      -0612345678                      a removal from every list
      201,5550123,A                    an addition (A) or a removal (D), blocked for everything

    Removals come first, so a number with both has what was added. The result is a new generation, complete like any
    other, in force from one moment to the next. Changes that build on another generation than the one in force, or that
    leave out some in between, are rejected (exit code 4).
    """
    said = FileOptions(layout=layout, encoding=encoding, delimiter=delimiter, changes=True)
    with context.application() as app, output.progress_bar() as progress, RejectFile(rejects, [file]) as reject_file:
        profile = context.chosen_profile(app.settings, profile_key)
        options = DeltaOptions(
            as_of=as_of.date(),
            base=base,
            since=since.date() if since else None,
            allow_shrink=allow_shrink,
            rejects=reject_file.note,
        )
        imported = register_loading(app).apply_delta(profile, open_register_file(file, said), options, progress)
        status = app.registers.status(profile)
    _print_imported(imported, status, as_json)


def _print_verified(read: Rows, as_json: bool) -> None:
    if as_json:
        output.print_json(
            {
                "count": read.numbers,
                "counts": {blocked: len(numbers) for blocked, numbers in read.lists.items()},
                "lines": read.lines,
                "duplicates": read.duplicates,
                "rejected": read.rejected,
                "problems": read.problems,
            }
        )
        return
    click.echo(f"sound: {counted(read.numbers, 'number')} in {counted(read.lines, 'line')}; nothing was loaded")
    _print_lines(read.duplicates, read.rejected, read.problems)


def _print_imported(imported: Imported, status: RegisterStatus, as_json: bool) -> None:
    if as_json:
        output.print_json(
            {
                **generation_as_json(imported.generation),
                "counts": imported.counts,
                "lines": imported.lines,
                "duplicates": imported.duplicates,
                "rejected": imported.rejected,
                "problems": imported.problems,
                "absent": imported.absent,
                "freed": imported.freed,
                "unchanged": imported.unchanged,
                "stale": status.stale,
            }
        )
        return
    generation = imported.generation
    if imported.unchanged:
        click.echo(f"in force already: {generation.id}, {counted(generation.count, 'number')} as of {generation.as_of}")
        return
    click.echo(f"in force: {generation.id}, {counted(generation.count, 'number')} as of {generation.as_of}")
    for blocked, count in imported.counts.items():
        click.echo(f"  {blocked:22} {count:>12,}")
    if imported.absent:
        absent = counted(imported.absent, "number")
        click.echo(f"warning: {absent} to be taken out, but not in the register before", err=True)
    _print_lines(imported.duplicates, imported.rejected, imported.problems)
    for freed in imported.freed:
        click.echo(f"freed: {freed} (register.keep_generations)")
    _warn_of_age(status.stale)


def _warn_of_age(stale: bool) -> None:
    if stale:
        click.echo("warning: this load is past its period, so every call that needs it is blocked", err=True)


def _print_lines(duplicates: int, rejected: int, problems: Sequence[str]) -> None:
    if duplicates:
        click.echo(f"  entries that were there more than once, taken once: {duplicates:,}")
    if rejected:
        click.echo(f"warning: left out {counted(rejected, 'line')} that cannot be read", err=True)
    for problem in problems:
        click.echo(f"  {problem}", err=True)


@register.command(short_help="Go back to the load before.")
@context.profile_option
@output.json_option
def rollback(profile_key: str | None, as_json: bool) -> None:
    """Put the load before the one in force back in force."""
    with context.application() as app:
        profile = context.chosen_profile(app.settings, profile_key)
        left, now_in_force = app.registers.rollback(profile)
        stale = app.registers.status(profile).stale
    if as_json:
        output.print_json({"from": left.id, **generation_as_json(now_in_force), "stale": stale})
    else:
        click.echo(f"in force: {now_in_force.id}, {counted(now_in_force.count, 'number')} as of {now_in_force.as_of}")
        click.echo(f"left: {left.id}")
        _warn_of_age(stale)


@register.command(short_help="Show what is loaded, and until when.")
@context.profile_option
@output.json_option
def status(profile_key: str | None, as_json: bool) -> None:
    """Show what is loaded and until when it may be used. Exit code 1 when that is nothing, or too old."""
    with context.application() as app:
        found = app.registers.status(context.chosen_profile(app.settings, profile_key))
        memory = app.registers.memory(found)
    if as_json:
        output.print_json(
            {
                "profile": found.profile,
                "in_force": generation_as_json(found.current) if found.current else None,
                "valid_until": found.valid_until,
                "age_days": found.age.total_seconds() / 86_400 if found.age is not None else None,
                "stale": found.stale,
                "ageing": found.ageing,
                "rejected": found.rejected,
                "read_with": found.read_with,
                "phonenumbers": NUMBERING,
                "memory_bytes": memory,
                "kept": [generation_as_json(item) for item in found.kept],
                "problems": found.problems,
            }
        )
    else:
        _print_status(found, memory)
    sys.exit(1 if found.current is None or found.stale else 0)


def _print_status(found: RegisterStatus, memory: Mapping[str, int | None]) -> None:
    if found.current is None or found.valid_until is None or found.age is None:
        click.echo(f"{found.profile}: no register is loaded, so calls that need it are blocked (register_missing)")
    else:
        days = found.age.total_seconds() / 86_400
        numbers = counted(found.current.count, "number")
        click.echo(f"{found.profile}: {numbers} as of {found.current.as_of} ({days:.1f} days old)")
        until = output.local_time(found.valid_until)
        click.echo(f"STALE, valid until {until}: calls are blocked" if found.stale else f"valid until {until}")
        if found.rejected:
            click.echo(f"left out when it was loaded, for they could not be read: {counted(found.rejected, 'line')}")
        if found.ageing:
            click.echo("warning: load a newer one soon (bmn register import)", err=True)
    if found.kept:
        rows = [
            (
                "in force" if found.current and item.id == found.current.id else "",
                item.id,
                str(item.as_of),
                f"{item.count:,}",
                output.local_time(item.loaded_at),
                item.sha256[:12],
                f"{used / 2**20:,.1f}" if (used := memory.get(item.id)) is not None else "?",
            )
            for item in found.kept
        ]
        output.print_table(("", "generation", "as of", "numbers", "loaded", "sha256", "MiB"), rows)
    for problem in found.problems:
        click.echo(f"warning: {problem}", err=True)


def generation_as_json(generation: Generation) -> dict[str, object]:
    """A generation as the commands print it."""
    return {
        "generation": generation.id,
        "profile": generation.profile,
        "as_of": generation.as_of,
        "loaded_at": generation.loaded_at,
        "count": generation.count,
        "sha256": generation.sha256,
    }
