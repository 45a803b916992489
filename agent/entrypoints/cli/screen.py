"""``bmn screen``."""

from __future__ import annotations

import sys

import click

from agent.domain.deadline import Deadline
from agent.domain.model import Verdict
from agent.entrypoints.cli import context, output
from agent.screening import ScreenRequest


@click.command()
@click.argument("number")
@click.option("--campaign", required=True, help="The campaign's name in the configuration.")
@click.option("--agent", default="", help="Who asks; stands in the journal.")
@output.json_option
def screen(number: str, campaign: str, agent: str, as_json: bool) -> None:
    """Decide now whether NUMBER may be dialled for a campaign, exactly as in the dial path.

    The verdict is recorded in the journal like any other (source "command"). Exit code 0: allowed, 1: blocked.
    """
    with context.application() as app:
        request = ScreenRequest(number=number, campaign=campaign, agent=agent, source="command")
        screened, _ = app.screening.screen(request, Deadline.after_ms(app.settings.agi.deadline_ms))
    decision = screened.decision
    if as_json:
        output.print_json(
            {
                "verdict": decision.verdict,
                "reason": decision.reason,
                "rule": decision.rule,
                "number": screened.number_to_dial,
                "call": screened.call_id,
                "notice": screened.notice,
                "generation": screened.generation,
                "failure": screened.failure or None,
            }
        )
    else:
        click.echo(f"{decision.verdict}: {decision.reason}")
        if screened.number_to_dial:
            click.echo(f"dial {screened.number_to_dial}; notice {screened.notice}")
        if screened.failure:
            click.echo(screened.failure)
        click.echo(f"call {screened.call_id}, rule {decision.rule}, register {screened.generation or '-'}")
    sys.exit(0 if decision.verdict is Verdict.ALLOW else 1)
