"""``bmn dashboard`` as a process: it listens, says so, and stops when asked."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import uvicorn

from agent import logs
from agent.bootstrap import Application
from agent.config_dashboard import DashboardSettings
from agent.domain.errors import ConfigurationError, JournalReplaced, JournalUnavailable
from agent.entrypoints.dashboard.app import create_app

GRACE_S: Final = 3
"""For answers that are on their way; live views never end by themselves."""


START_AGAIN: Final = 5
"""The exit code when only a new start can help, as that of the service."""
_LOOK_EVERY_S: Final = 1.0


def serve(app: Application) -> int:
    """Run until SIGTERM or SIGINT, or until the journal at its path is another one; returns the exit code.

    Raises ``ConfigurationError`` when it cannot listen, or nobody could sign in.
    """
    settings = app.settings.dashboard
    if not settings.users:
        raise ConfigurationError(
            "nobody could sign in: add [dashboard.users.NAME] with password_hash (bmn dashboard hash-password makes "
            'it) and role ("viewer" or "compliance") to the configuration'
        )
    with _listening(settings) as listening:
        host, port = listening.getsockname()[:2]
        log = logs.logger()
        log.info(
            logs.DASHBOARD_STARTED, listen=f"{host}:{port}", users=len(settings.users), https=settings.behind_proxy
        )
        for stop in (signal.SIGTERM, signal.SIGINT):
            signal.signal(stop, _stopped)
        server = uvicorn.Server(_config(app))
        with _watched(app.journal.require_in_place, server) as replaced:
            server.run(sockets=[listening])
        log.info(logs.DASHBOARD_STOPPED)
    return START_AGAIN if replaced.is_set() else 0


@contextmanager
def _watched(require_in_place: Callable[[], None], server: uvicorn.Server) -> Iterator[threading.Event]:
    """Stop ``server`` when the journal was replaced, and set the event then: it would show what nobody records."""
    replaced, ending = threading.Event(), threading.Event()

    def watch() -> None:
        while not ending.wait(_LOOK_EVERY_S):
            try:
                require_in_place()
            except JournalReplaced as error:
                logs.logger().error(logs.JOURNAL_REPLACED, why=str(error))
                replaced.set()
                server.should_exit = True
                return
            except JournalUnavailable:  # each page says so
                continue

    thread = threading.Thread(target=watch, name="journal-watch", daemon=True)
    thread.start()
    try:
        yield replaced
    finally:
        ending.set()
        thread.join()


def _stopped(*_: object) -> None:
    """Uvicorn raises the signal once more after it has stopped; that must not end us before the journal is closed."""


def _config(app: Application) -> uvicorn.Config:
    settings = app.settings.dashboard
    return uvicorn.Config(
        create_app(app),
        # No access log: addresses of pages would say who looked for what.
        access_log=False,
        log_config=None,
        lifespan="on",
        server_header=False,
        root_path=settings.root_path,
        proxy_headers=settings.behind_proxy,
        forwarded_allow_ips=list(settings.trusted_proxies),
        timeout_graceful_shutdown=GRACE_S,
        h11_max_incomplete_event_size=32_768,
        limit_concurrency=500,
    )


def _listening(settings: DashboardSettings) -> socket.socket:
    host, port = settings.listen
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise ConfigurationError(f"cannot listen on {host}:{port} (dashboard.listen): {error.strerror}") from error
