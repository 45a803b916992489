"""Log events, and how they are written: JSON, one line each; readable only when stderr is a terminal.

Exactly one ``call.screened`` line is written per screening, with everything on it. Numbers are masked everywhere.
"""

from __future__ import annotations

import logging
import sys
from typing import Any, Final, TextIO, cast

import structlog

ACCEPT_FAILED: Final = "accept.failed"
AGENT_STARTED: Final = "agent.started"
AGENT_STOPPING: Final = "agent.stopping"
AGENT_STOPPED: Final = "agent.stopped"
CALL_SCREENED: Final = "call.screened"
HEALTH_ANSWERED: Final = "health.answered"
OUTBOX_DRAINED: Final = "outbox.drained"
OUTBOX_BLOCKED: Final = "outbox.blocked"
OUTBOX_RESTARTED: Final = "outbox.restarted"
PEER_REFUSED: Final = "peer.refused"
REQUEST_FAILED: Final = "request.failed"
REQUEST_OVERDUE: Final = "request.overdue"
SCRIPT_UNKNOWN: Final = "script.unknown"
SESSION_ABORTED: Final = "session.aborted"

EVENTS: Final = {
    ACCEPT_FAILED: "no connection could be taken, for example because no file descriptor is left",
    AGENT_STARTED: "the service listens",
    AGENT_STOPPING: "a signal asked the service to stop; running sessions may end",
    AGENT_STOPPED: "the service has stopped; clean=false when sessions were cut off",
    CALL_SCREENED: "one screening, with its verdict, reason, rule and timings",
    HEALTH_ANSWERED: "the health script found something degraded",
    OUTBOX_DRAINED: "list changes of the journal were applied to Redis by the background drain",
    OUTBOX_BLOCKED: "list changes wait because Redis or the journal is away; said once per outage",
    OUTBOX_RESTARTED: "the journal was restored from a backup: all of it is applied to Redis again",
    PEER_REFUSED: "a connection from outside agi.allowed_peers was closed",
    REQUEST_FAILED: "an unexpected error in a handler; the call was blocked with internal_error",
    REQUEST_OVERDUE: "a request waited longer than its deadline; a screening was blocked with overloaded",
    SCRIPT_UNKNOWN: "an AGI script that does not exist was asked for; nothing was answered",
    SESSION_ABORTED: "Asterisk hung up, was silent or broke the protocol in mid-session",
}
"""Every event that is logged, and what it tells. The README's table is compared with this."""


def configure(level: str, stream: TextIO | None = None) -> None:
    """Set structlog up for this process. ``stream`` is stderr unless given."""
    out = stream or sys.stderr
    terminal = out.isatty()
    renderer: Any = (
        structlog.dev.ConsoleRenderer() if terminal else structlog.processors.JSONRenderer(sort_keys=False, default=str)
    )
    processors: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if not terminal:
        processors.append(structlog.processors.format_exc_info)
    structlog.configure(
        processors=[*processors, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(file=out),
        cache_logger_on_first_use=True,
    )


def logger() -> structlog.typing.FilteringBoundLogger:
    """The logger of this package."""
    return cast("structlog.typing.FilteringBoundLogger", structlog.get_logger())
