"""Log events, and how they are written: JSON, one line each; readable only when a terminal shows them.

Exactly one ``call.screened`` line is written per screening, with everything on it. Numbers are masked everywhere.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from io import TextIOBase
from typing import Any, Final, TextIO, cast

import structlog

from agent.domain.phone_number import mask_within

ACCEPT_FAILED: Final = "accept.failed"
AGENT_HANDOVER_FAILED: Final = "agent.handover_failed"
AGENT_STARTED: Final = "agent.started"
AGENT_STOPPING: Final = "agent.stopping"
AGENT_STOPPED: Final = "agent.stopped"
AUDIT_FAILED: Final = "audit.failed"
CALL_FINISHED: Final = "call.finished"
CALLS_CLOSED: Final = "calls.closed"
CLOCK_JUMPED: Final = "clock.jumped"
CLOCK_UNSOUND: Final = "clock.unsound"
CALL_SCREENED: Final = "call.screened"
DASHBOARD_BLIND: Final = "dashboard.blind"
DASHBOARD_STARTED: Final = "dashboard.started"
DASHBOARD_STOPPED: Final = "dashboard.stopped"
GENERATION_FREED: Final = "generation.freed"
LOG_DROPPED: Final = "log.dropped"
HEALTH_ANSWERED: Final = "health.answered"
KEY_PRESSED: Final = "key.pressed"
LISTS_EXPIRING: Final = "lists.expiring"
LISTS_LOST: Final = "lists.lost"
NOTICE_MISSED: Final = "notice.missed"
NOTICE_PLAYED: Final = "notice.played"
JOURNAL_ANCHORED: Final = "journal.anchored"
JOURNAL_REPLACED: Final = "journal.replaced"
KEY_EXPOSED: Final = "key.exposed"
OUTBOX_DRAINED: Final = "outbox.drained"
OUTBOX_BLOCKED: Final = "outbox.blocked"
OUTBOX_RESTARTED: Final = "outbox.restarted"
PAGE_FAILED: Final = "page.failed"
PEER_REFUSED: Final = "peer.refused"
RECORDS_LOST: Final = "records.lost"
REPAIR_ENDED: Final = "repair.ended"
REPAIR_STARTED: Final = "repair.started"
REQUEST_FAILED: Final = "request.failed"
REQUEST_OVERDUE: Final = "request.overdue"
SCRIPT_UNKNOWN: Final = "script.unknown"
SESSION_ABORTED: Final = "session.aborted"
SIGNAL_IGNORED: Final = "signal.ignored"
SIGN_IN_ACCEPTED: Final = "sign_in.accepted"
SIGN_IN_REFUSED: Final = "sign_in.refused"
THREAD_FAILED: Final = "thread.failed"
WATCHDOG_WITHHELD: Final = "watchdog.withheld"
WORKER_STUCK: Final = "worker.stuck"

EVENTS: Final = {
    ACCEPT_FAILED: "no connection could be taken, for example because no file descriptor is left",
    AGENT_HANDOVER_FAILED: "SIGHUP asked for a successor, and none came to listen; the service goes on as before",
    AGENT_STARTED: "the service listens",
    AGENT_STOPPING: "the service stops, and why; running sessions may end",
    AGENT_STOPPED: "the service has stopped; clean=false when sessions were cut off",
    AUDIT_FAILED: "an unexpected error while the lists in Redis were looked at; said once in a row",
    CALL_FINISHED: "the end of a dialled call; a warning when the offer is missing, or when it could not be recorded",
    CALLS_CLOSED: "allowed calls that got no end in hours: their books were closed without one",
    CLOCK_JUMPED: "the clock is behind the journal, and the system calls it right: calls go on",
    CLOCK_UNSOUND: "the clock is behind the journal, and nothing vouches for it: calls are blocked; said once",
    CALL_SCREENED: "one screening, with its verdict, reason, rule and timings",
    DASHBOARD_BLIND: "the journal cannot be read, so that the live view shows nothing new; said once per outage",
    DASHBOARD_STARTED: "the dashboard listens",
    DASHBOARD_STOPPED: "the dashboard has stopped",
    GENERATION_FREED: "old loads of the register were removed from Redis, their time of grace being over",
    HEALTH_ANSWERED: "the health script found something degraded",
    LOG_DROPPED: "lines of the log were dropped, because nobody took them or they could not be written; it flows again",
    KEY_PRESSED: "one key of an agent, recorded or rejected and why; applied=false: in force once Redis is back",
    LISTS_EXPIRING: "keys of the lists had been given a time to live, which was taken away again",
    LISTS_LOST: "Redis lost a part of the lists, or holds those of an older version; all is applied again, or no "
    "register is in force until it was loaded again",
    NOTICE_MISSED: "notices that were to follow a call and did not begin within their time, or began and were cut off",
    NOTICE_PLAYED: "one notice: how much was heard, what was chosen; late answers are on disk but not yet in Redis",
    JOURNAL_ANCHORED: "once an hour, how far the journal's chain goes, for bmn journal verify --expect",
    JOURNAL_REPLACED: "the journal at its path is not the one that is open: the service ends, to be started on it",
    KEY_EXPOSED: "others than its owner can read the journal's key",
    OUTBOX_DRAINED: "list changes of the journal were applied to Redis by the background drain",
    OUTBOX_BLOCKED: "list changes wait because Redis or the journal is away; said once per outage",
    OUTBOX_RESTARTED: "the journal was restored from a backup: all of it is applied to Redis again",
    PAGE_FAILED: "a page of the dashboard could not be shown, and why",
    PEER_REFUSED: "a connection from outside agi.allowed_peers was closed",
    RECORDS_LOST: "the process ended, and so many records that it had promised never reached the journal",
    REPAIR_ENDED: "a register that Redis lost was loaded again, or why not and in how many seconds it is tried again",
    REPAIR_STARTED: "a register that was in force is missing in Redis, and is loaded again from its files",
    REQUEST_FAILED: "an unexpected error in a handler; the call was blocked with internal_error",
    REQUEST_OVERDUE: "a request waited longer than its deadline; a screening was blocked with overloaded",
    SCRIPT_UNKNOWN: "an AGI script that does not exist was asked for; nothing was answered",
    SESSION_ABORTED: "Asterisk hung up, was silent or broke the protocol in mid-session",
    SIGNAL_IGNORED: "a signal came that asks for nothing here",
    SIGN_IN_ACCEPTED: "a user of the dashboard signed in",
    SIGN_IN_REFUSED: "somebody was not let in: a wrong name or password, or too many attempts",
    THREAD_FAILED: "an unexpected error in a thread of the service, which goes on where needed; or it did not end",
    WATCHDOG_WITHHELD: "no worker answers the service itself, so the service manager is not told that all is well",
    WORKER_STUCK: "a session takes much longer than it ever may; another thread took the worker's place",
}
"""Every event that is logged, and what it tells. The README's table is compared with this."""


_FROM_OUTSIDE: Final = ("campaign", "agent", "key", "script", "dialstatus")
"""What the dialplan or a peer wrote as it liked, and may hold a number."""


def configure(
    level: str, stream: TextIOBase | TextIO | None = None, *, dropped: Callable[[], None] = lambda: None
) -> None:
    """Set structlog up for this process. ``stream`` is stderr unless given: stdout belongs to what a command prints.

    Whoever logs never hears of an error: a line that cannot be made or written is dropped, which ``dropped`` hears of.
    """
    out = stream or sys.stderr
    terminal = out.isatty()
    # A traceback is text before the renderer sees it: rich would show local variables, numbers among them.
    renderer: Any = (
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        if terminal
        else structlog.processors.JSONRenderer(sort_keys=False, default=str)
    )
    processors: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _mask_numbers,
    ]
    structlog.configure(
        processors=[*processors, renderer],
        wrapper_class=_harmless(logging.getLevelNamesMapping()[level.upper()], dropped),
        logger_factory=structlog.WriteLoggerFactory(file=cast("TextIO", out)),
        cache_logger_on_first_use=True,
    )


def _harmless(level: int, dropped: Callable[[], None]) -> Any:
    """A logger for ``level`` and above that never raises: the log must not decide about a call."""

    class Harmless(structlog.make_filtering_bound_logger(level)):  # type: ignore[misc]  # made for the level
        def _proxy_to_logger(self, *arguments: Any, **named: Any) -> Any:
            try:
                return super()._proxy_to_logger(*arguments, **named)
            except Exception:  # noqa: BLE001  # see above
                dropped()

    return Harmless


def _mask_numbers(_logger: object, _name: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Mask what may be a number: a campaign may be misspelt as one, the message of a ValueError quotes one."""
    for key in ("exception", *_FROM_OUTSIDE):
        if isinstance(text := event.get(key), str):
            event[key] = mask_within(text)
    return event


def rendered(event: str, **keys: object) -> str:
    """The line that a warning would be, for who writes it themselves; empty when no warnings are logged."""
    text = structlog.wrap_logger(structlog.ReturnLogger()).warning(event, **keys)
    return f"{text}\n" if text else ""


def logger() -> structlog.typing.FilteringBoundLogger:
    """The logger of this package."""
    return cast("structlog.typing.FilteringBoundLogger", structlog.get_logger())
