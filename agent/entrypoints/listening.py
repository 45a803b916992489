"""Sockets that listen, opened here or taken over from the process before."""

from __future__ import annotations

import socket

from agent.domain.errors import ConfigurationError


def open_listener(address: tuple[str, int], backlog: int) -> socket.socket:
    """A socket that listens on ``address`` (host and port; port 0 takes a free one). Raises ``OSError``.

    SO_REUSEPORT is not set on purpose: a second service on this address must be an error, not half of the calls.
    """
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(backlog)
    except OSError:
        listener.close()
        raise
    return listener


def cannot_listen(address: tuple[str, int], setting: str, error: OSError) -> ConfigurationError:
    """That in words."""
    host, port = address
    return ConfigurationError(f"cannot listen on {host}:{port} ({setting}): {error.strerror or error}")
