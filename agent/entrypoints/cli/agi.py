"""``bmn agi``: the handlers as classic AGI scripts."""

from __future__ import annotations

import atexit
import sys
from typing import Final

import click

from agent import dialplan_names as names
from agent import logs
from agent.adapters.agi_channel import AgiChannel
from agent.adapters.agi_values import AgiRequest
from agent.adapters.line_writer import LineWriter, LineWriterText
from agent.adapters.process_age import process_age_s
from agent.bootstrap import bootstrap
from agent.domain.model import Reason
from agent.entrypoints import time_limits
from agent.entrypoints.agi_scripts import AgiScripts
from agent.entrypoints.agi_session import Handler
from agent.entrypoints.classic_agi import run_classic
from agent.entrypoints.cli import context
from agent.entrypoints.screen_script import CLASSIC_AGI
from agent.entrypoints.session_log import session_observer

_SCRIPTS: Final = (
    *(names.SCRIPT_SCREEN, names.SCRIPT_NOTICE, names.SCRIPT_KEY),
    *(names.SCRIPT_FINISH, names.SCRIPT_LEFT, names.SCRIPT_HEALTH),
)


@click.command()
@click.argument("script", type=click.Choice(_SCRIPTS))
@click.argument("arguments", nargs=-1)
def agi(script: str, arguments: tuple[str, ...]) -> None:
    """Answer one AGI SCRIPT on stdin and stdout, as Asterisk's AGI() application starts it.

    For sites that cannot run the service; each call waits for a process to start, a few at a time at most. ARGUMENTS
    are ignored: Asterisk passes them in the AGI environment as well.
    """
    errors = _write_errors_beside_the_session()
    config = context.settings()
    logs.configure(config.logs.level, sys.stderr, dropped=lambda: errors.drop(1))
    with bootstrap(config, progress=None) as app:  # a call cannot wait for a journal to be brought up to date
        scripts, screens = AgiScripts(app, CLASSIC_AGI), script == names.SCRIPT_SCREEN

        def failed(request: AgiRequest, channel: AgiChannel) -> None:
            if screens:
                scripts.refuse(request, channel, Reason.INTERNAL_ERROR, "unexpected error; see the log")

        def overdue(request: AgiRequest, channel: AgiChannel) -> None:
            scripts.refuse(request, channel, Reason.OVERLOADED, "the process took too long to start")

        handler: Handler = getattr(scripts, script)
        served = run_classic(
            handler,
            failed=failed,
            overdue=overdue if screens else None,
            deadline_ms=config.agi.classic_deadline_ms,
            # Whether a call may leave is worth nothing late; what was said in one still is.
            spent_ms=process_age_s() * 1000 if screens else 0,
            read_timeout_ms=config.agi.read_timeout_ms,
            observer=session_observer(logs.logger(), app.watch),
        )
        if lost := scripts.owed_ends.settle_within(time_limits.OWED_LAST_TRY_S):
            logs.logger().error(logs.RECORDS_LOST, count=lost)
    sys.exit(0 if served else 1)


def _write_errors_beside_the_session() -> LineWriter:
    """Have stderr written by a thread of its own, until the process ends and for a moment then.

    Nobody may read it: no call waits for that, and no process stays for it.
    """
    number = sys.stderr.fileno()

    def dropped_lines(count: int) -> str:
        return logs.rendered(logs.LOG_DROPPED, count=count)

    writer = LineWriter(number, dropped_lines, most=time_limits.LOG_LINES, gather_s=time_limits.LOG_GATHER_S)
    sys.stderr = LineWriterText(writer, number)
    atexit.register(writer.close, time_limits.LOG_FLUSH_S)
    return writer
