"""Between the agent and a real Redis: a proxy that alters single replies, or falls silent as a firewall does."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

Alter = Callable[[list[bytes], bytes], bytes]
"""From the words of a command, and its reply as it came, to the reply that is passed on."""


class RedisProxy:
    """Listens on loopback in front of a Redis on a socket. Unless told otherwise it changes nothing."""

    def __init__(self, upstream: Path) -> None:
        self._upstream = upstream
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lines: list[_Line] = []
        self.alter: Alter = lambda _words, reply: reply
        self.swallow = False
        """Whether what comes on new connections is swallowed too."""

    @property
    def url(self) -> str:
        """For ``BMN_REDIS_URL``."""
        return f"redis://127.0.0.1:{self._listener.getsockname()[1]}/0"

    @property
    def swallowed(self) -> int:
        """Commands that were dropped so far."""
        return sum(line.swallowed for line in self._lines)

    @property
    def accepted(self) -> int:
        """Connections so far."""
        return len(self._lines)

    def silence(self) -> None:
        """Drop from now on what comes on the connections that there are, without closing one."""
        for line in self._lines:
            line.silent = True

    def wake(self) -> None:
        """Pass on again what comes from now on."""
        for line in self._lines:
            line.silent = False

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for line in self._lines:
            line.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._lines.append(_Line(self, client, self._upstream, silent=self.swallow))


class _Line:
    """One connection, with a thread for each direction."""

    def __init__(self, proxy: RedisProxy, client: socket.socket, upstream: Path, *, silent: bool) -> None:
        self.silent = silent
        self.swallowed = 0
        self._proxy = proxy
        self._client = client
        self._server = socket.socket(socket.AF_UNIX)
        self._server.connect(str(upstream))
        self._asked: deque[list[bytes]] = deque()
        for target in (self._forth, self._back):
            threading.Thread(target=target, daemon=True).start()

    def close(self) -> None:
        """Both sides."""
        for end in (self._client, self._server):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _forth(self) -> None:
        with contextlib.suppress(OSError, ValueError), self._client.makefile("rb") as stream:
            while frame := read_frame(stream):
                if self.silent:
                    self.swallowed += 1
                else:
                    self._asked.append(words_of(frame))
                    self._server.sendall(frame)
        self.close()

    def _back(self) -> None:
        with contextlib.suppress(OSError, ValueError), self._server.makefile("rb") as stream:
            while frame := read_frame(stream):
                passed_on = self._proxy.alter(self._asked.popleft(), frame)
                if not self.silent:
                    self._client.sendall(passed_on)
        self.close()


def read_frame(stream: BinaryIO) -> bytes:
    """One command or reply as it came; empty at the end."""
    line = stream.readline()
    if not line:
        return b""
    count = int(line[1:]) if line[:1] in b"$*" else -1
    if count < 0:
        return line
    if line[:1] == b"$":
        return line + stream.read(count + 2)
    return line + b"".join(read_frame(stream) for _ in range(count))


def words_of(frame: bytes) -> list[bytes]:
    """The words of a command."""
    return frame.split(b"\r\n")[2::2]
