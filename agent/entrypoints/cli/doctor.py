"""``bmn doctor``."""

from __future__ import annotations

import dataclasses
import shlex
import shutil
import sys
from collections.abc import Sequence
from typing import Final

import click

from agent.bootstrap.doctor import survey
from agent.domain.errors import ConfigurationError
from agent.entrypoints.cli import context, output
from agent.entrypoints.expected_dialplan import EXPECTED
from agent.health_checks import check_site, mistakes
from agent.site import Finding, State

_ASTERISK: Final = "asterisk"


@click.command()
@click.option(
    "--asterisk-command",
    metavar="COMMAND",
    help="What reaches Asterisk's console, like 'docker exec pbx asterisk'; default: asterisk, where there is one.",
)
@output.json_option
def doctor(asterisk_command: str | None, as_json: bool) -> None:
    """Check what this site needs to screen calls and to play its prompts, and say what to do.

    Looks at the configuration, the journal (its files, its disk and its newest records), Redis, its memory and every
    set in it, the outbox, the register's age, registrations that are due, the clock, every prompt that the configured
    campaigns need, what Asterisk has loaded, and whether the service answers. Nothing is changed. Exit code 1 when
    there is a problem; a warning alone is none.
    """
    try:
        console = shlex.split(asterisk_command or "")
    except ValueError as error:
        raise click.UsageError(f"--asterisk-command: {error}") from error
    findings = _findings(console or ([_ASTERISK] if shutil.which(_ASTERISK) else []))
    if as_json:
        output.print_json([dataclasses.asdict(finding) for finding in findings])
    else:
        rows = [(finding.state, finding.check, finding.what, finding.todo) for finding in findings]
        output.print_table(("state", "check", "found", "what to do"), rows)
    sys.exit(1 if any(finding.state is State.PROBLEM for finding in findings) else 0)


def _findings(console: Sequence[str]) -> tuple[Finding, ...]:
    try:
        config = context.settings()
    except ConfigurationError as error:
        return mistakes(error)
    with survey(config, EXPECTED, console) as site:
        return check_site(site)
