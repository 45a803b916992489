"""``bmn serve``."""

from __future__ import annotations

import sys

import click

from agent import logs
from agent.bootstrap import bootstrap
from agent.entrypoints.cli import context, output
from agent.entrypoints.service import Service, hold_stop_signals


@click.command()
@click.option("--listen", metavar="HOST:PORT", help="Overrides agi.listen of the configuration.")
def serve(listen: str | None) -> None:
    """Run the FastAGI service that the dialplan asks, until SIGTERM or Ctrl-C.

    Logs go to stderr: JSON lines, or readable text when that is a terminal. Running sessions may end before it stops
    (agi.shutdown_grace_ms); exit code 1 when some had to be cut off.
    """
    config = context.settings(BMN_AGI_LISTEN=listen) if listen else context.settings()
    logs.configure(config.logs.level)
    hold_stop_signals()
    with bootstrap(config, output.say_update) as app:
        clean = Service(app).run()
    sys.exit(0 if clean else 1)
