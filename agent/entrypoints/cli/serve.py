"""``bmn serve``."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import click

from agent import logs
from agent.adapters.line_writer import LineWriter, LineWriterText
from agent.adapters.service_manager import ServiceManager
from agent.bootstrap import bootstrap
from agent.bootstrap.service import metrics
from agent.entrypoints import signals, time_limits
from agent.entrypoints.cli import context, output
from agent.entrypoints.handover import Inheritance
from agent.entrypoints.service import Service


@click.command()
@click.option("--listen", metavar="HOST:PORT", help="Overrides agi.listen of the configuration.")
def serve(listen: str | None) -> None:
    """Run the FastAGI service that the dialplan asks, until SIGTERM or Ctrl-C.

    Logs go to stdout: JSON lines, or readable text when that is a terminal. What is counted, for Prometheus, is at
    http://127.0.0.1:9573/metrics (metrics.listen; empty: nowhere). Running sessions may end before it stops
    (agi.shutdown_grace_ms); exit code 1 when some had to be cut off. Exit code 5 when it ended itself because only a
    new start can help: the journal at its path is another one than it has open, or half of its workers are stuck. On
    SIGHUP (systemctl reload bmn) a new process takes over without a gap, with the code and configuration of now.
    """
    inheritance = Inheritance(os.environ)
    config = context.settings(BMN_AGI_LISTEN=listen) if listen else context.settings()
    signals.hold()
    manager = ServiceManager(os.environ, os.getpid())
    with _log_beside_the_calls(config.logs.level) as log:
        counts = metrics(config) if config.metrics.listen else None

        def say_update(step: str, done: int, total: int | None) -> None:
            manager.say(f"EXTEND_TIMEOUT_USEC={time_limits.UPDATE_STEP_S * 1_000_000:.0f}", f"STATUS={step}")
            output.say_update(step, done, total)

        with bootstrap(config, say_update, counts) as app:
            service = Service(
                app,
                counts,
                lines_dropped=lambda: log.dropped,
                inheritance=inheritance,
                manager=manager,
                close_log=log.close,
            )
            code = service.run()
    sys.exit(code)


class _Log:
    """The log of the service, and its stderr, each written by a thread of its own: no reader makes a call wait."""

    def __init__(self, level: str) -> None:
        out, err = sys.stdout.fileno(), sys.stderr.fileno()

        def dropped_lines(count: int) -> str:
            return logs.rendered(logs.LOG_DROPPED, count=count)

        def dropped_errors(count: int) -> str:
            return f"bmn: {count} pieces of what was written here were dropped\n"

        self._lines = LineWriter(out, dropped_lines, most=time_limits.LOG_LINES, gather_s=time_limits.LOG_GATHER_S)
        self._errors = LineWriter(err, dropped_errors, most=time_limits.LOG_LINES, gather_s=time_limits.LOG_GATHER_S)
        logs.configure(level, LineWriterText(self._lines, out), dropped=lambda: self._lines.drop(1))
        self.stderr = LineWriterText(self._errors, err)

    @property
    def dropped(self) -> int:
        """Lines that were dropped so far."""
        return self._lines.dropped

    def close(self) -> None:
        """Write what waits, for a bounded time."""
        self._lines.close(time_limits.LOG_FLUSH_S)
        self._errors.close(time_limits.LOG_FLUSH_S)


@contextmanager
def _log_beside_the_calls(level: str) -> Iterator[_Log]:
    log = _Log(level)
    before, sys.stderr = sys.stderr, log.stderr
    hook, threading.excepthook = threading.excepthook, _log_failed_thread
    try:
        yield log
    finally:
        threading.excepthook, sys.stderr = hook, before
        log.close()


def _log_failed_thread(failed: threading.ExceptHookArgs) -> None:
    name = failed.thread.name if failed.thread is not None else None
    logs.logger().error(logs.THREAD_FAILED, thread=name, exc_info=failed.exc_value)
