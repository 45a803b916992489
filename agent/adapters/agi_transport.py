"""Bytes between an AGI session and its peer: a socket (FastAGI) or two pipes (classic AGI), bounded in time."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
from time import monotonic
from typing import Protocol

from agent.adapters.agi_values import AgiHangup, AgiTimeout

PATIENCE_S = 0.01
"""How long a peer may keep us waiting before it counts as stalled (see ``AgiChannel``)."""


class Transport(Protocol):
    """Bytes to and from one peer; each entry point brings its own. Both raise ``AgiHangup`` when the peer is gone."""

    def receive(self, wait_s: float) -> bytes | None:
        """The next bytes, ``b""`` at the end, None when nothing came in ``wait_s`` seconds."""

    def glance(self) -> bytes | None:
        """The same of what is there already: it waits for nothing, and costs no round trip."""

    def send(self, data: bytes, until: float) -> None:
        """Send all of ``data`` before ``until`` (monotonic seconds) or raise ``AgiTimeout``."""

    def end(self) -> None:
        """Have the peer see the end at once. Nothing is sent or received any more."""


def wait_ready(fd: int, event: int, wait_s: float) -> bool:
    """Whether ``fd`` is ready, or broken, within ``wait_s``."""
    if wait_s <= 0:
        return False
    poll = select.poll()
    poll.register(fd, event)
    return bool(poll.poll(wait_s * 1000))


class SocketTransport:
    """A blocking TCP socket with the kernel's own receive limit of ``PATIENCE_S``: usually one call per read."""

    _LIMIT = struct.pack("@ll", 0, int(PATIENCE_S * 1_000_000))

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, self._LIMIT)

    def receive(self, wait_s: float) -> bytes | None:
        """See ``Transport``."""
        try:
            if wait_s != PATIENCE_S and not wait_ready(self._socket.fileno(), select.POLLIN, wait_s):
                return None
            return self._socket.recv(16384)
        except BlockingIOError:
            return None
        except OSError as error:
            raise AgiHangup("the connection was lost") from error

    def glance(self) -> bytes | None:
        """See ``Transport``."""
        try:
            return self._socket.recv(16384, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return None
        except OSError as error:
            raise AgiHangup("the connection was lost") from error

    def send(self, data: bytes, until: float) -> None:
        """See ``Transport``."""
        while data:
            try:
                data = data[self._socket.send(data, socket.MSG_DONTWAIT) :]
            except BlockingIOError:
                if not wait_ready(self._socket.fileno(), select.POLLOUT, until - monotonic()):
                    raise AgiTimeout("Asterisk did not take the command in time") from None
            except OSError as error:
                raise AgiHangup("the connection was lost") from error

    def end(self) -> None:
        """See ``Transport``."""
        with contextlib.suppress(OSError):  # the peer was first
            self._socket.shutdown(socket.SHUT_RDWR)


class PipeTransport:
    """Two file descriptors. A command is shorter than PIPE_BUF, so a ready pipe takes it whole."""

    def __init__(self, incoming: int, outgoing: int) -> None:
        self._incoming = incoming
        self._outgoing = outgoing

    def receive(self, wait_s: float) -> bytes | None:
        """See ``Transport``."""
        if not wait_ready(self._incoming, select.POLLIN, wait_s):
            return None
        try:
            return os.read(self._incoming, 65536)
        except OSError as error:
            raise AgiHangup("the pipe was lost") from error

    def glance(self) -> bytes | None:
        """See ``Transport``. A pipe whose reader has closed it is broken, whatever there is to read in the other."""
        poll = select.poll()
        poll.register(self._outgoing, 0)
        poll.register(self._incoming, select.POLLIN)
        ready = dict(poll.poll(0))
        try:
            if self._outgoing in ready:
                raise AgiHangup("the pipe was lost")
            return os.read(self._incoming, 65536) if self._incoming in ready else None
        except OSError as error:
            raise AgiHangup("the pipe was lost") from error

    def send(self, data: bytes, until: float) -> None:
        """See ``Transport``."""
        while data:
            if not wait_ready(self._outgoing, select.POLLOUT, until - monotonic()):
                raise AgiTimeout("Asterisk did not take the command in time")
            try:
                data = data[os.write(self._outgoing, data) :]
            except OSError as error:
                raise AgiHangup("the pipe was lost") from error

    def end(self) -> None:
        """See ``Transport``. The numbers of the descriptors stay taken: whoever prints must not find a file there."""
        nowhere = os.open(os.devnull, os.O_RDWR)
        os.dup2(nowhere, self._outgoing)
        os.dup2(nowhere, self._incoming)
        os.close(nowhere)
