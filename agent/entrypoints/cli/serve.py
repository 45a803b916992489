"""``bmn serve``."""

from __future__ import annotations

import sys

import click

from agent import logs
from agent.bootstrap import bootstrap
from agent.bootstrap.service import metrics
from agent.entrypoints.cli import context, output
from agent.entrypoints.service import Service, hold_stop_signals


@click.command()
@click.option("--listen", metavar="HOST:PORT", help="Overrides agi.listen of the configuration.")
def serve(listen: str | None) -> None:
    """Run the FastAGI service that the dialplan asks, until SIGTERM or Ctrl-C.

    Logs go to stdout: JSON lines, or readable text when that is a terminal. What is counted, for Prometheus, is at
    http://127.0.0.1:9573/metrics (metrics.listen; empty: nowhere). Running sessions may end before it stops
    (agi.shutdown_grace_ms); exit code 1 when some had to be cut off. Exit code 5 when it ended itself because only a
    new start can help: the journal at its path is another one than it has open.
    """
    config = context.settings(BMN_AGI_LISTEN=listen) if listen else context.settings()
    logs.configure(config.logs.level, sys.stdout)
    hold_stop_signals()
    counts = metrics(config) if config.metrics.listen else None
    with bootstrap(config, output.say_update, counts) as app:
        code = Service(app, counts).run()
    sys.exit(code)
