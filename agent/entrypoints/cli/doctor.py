"""``bmn doctor``."""

from __future__ import annotations

import dataclasses
import sys

import click

from agent.bootstrap import survey
from agent.dialplan_names import DIALPLAN_REASONS
from agent.domain.errors import ConfigurationError
from agent.entrypoints.cli import context, output
from agent.health_checks import Finding, State, check_site, mistakes


@click.command()
@output.json_option
def doctor(as_json: bool) -> None:
    """Check what this site needs to screen calls and to play its prompts, and say what to do.

    Looks at the configuration, the journal and its key, Redis, the register's age, and every prompt that the
    configured campaigns need. Nothing is changed. Exit code 1 when there is a problem; a warning alone is none.
    """
    findings = _findings()
    if as_json:
        output.print_json([dataclasses.asdict(finding) for finding in findings])
    else:
        rows = [(finding.state, finding.check, finding.what, finding.todo) for finding in findings]
        output.print_table(("state", "check", "found", "what to do"), rows)
    sys.exit(1 if any(finding.state is State.PROBLEM for finding in findings) else 0)


def _findings() -> tuple[Finding, ...]:
    try:
        config = context.settings()
    except ConfigurationError as error:
        return mistakes(error)
    with survey(config, DIALPLAN_REASONS) as site:
        return check_site(site)
