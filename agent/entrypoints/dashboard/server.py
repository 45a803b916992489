"""``bmn dashboard`` as a process: it listens, says so, and stops when asked."""

from __future__ import annotations

import signal
import socket
from typing import Final

import uvicorn

from agent import logs
from agent.bootstrap import Application
from agent.config_dashboard import DashboardSettings
from agent.domain.errors import ConfigurationError
from agent.entrypoints.dashboard.app import create_app

GRACE_S: Final = 3
"""For answers that are on their way; live views never end by themselves."""


def serve(app: Application) -> None:
    """Run until SIGTERM or SIGINT. Raises ``ConfigurationError`` when it cannot listen, or nobody could sign in."""
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
        uvicorn.Server(_config(app)).run(sockets=[listening])
        log.info(logs.DASHBOARD_STOPPED)


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
