"""``/metrics`` over HTTP, on threads of its own: who reads it, however slowly, takes no place where calls wait.

A reader takes one of those threads only once they have said what they want, and the page fits into what the kernel
keeps: readers who are idle, at either end, keep nobody from reading.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from typing import Any, Final

from prometheus_client import CollectorRegistry, make_wsgi_app

from agent.entrypoints import time_limits
from agent.entrypoints.intake import Intake
from agent.entrypoints.listening import open_listener
from agent.entrypoints.worker_pool import Worker, WorkerPool

_BACKLOG: Final = 64
_KERNEL_BYTES: Final = 212_992
"""For one page on its way; Linux allows so much by default, and doubles it."""


class MetricsServer:
    """Serves what ``registry`` collects on ``listen`` (host and port; port 0 takes a free one)."""

    def __init__(
        self, listen: tuple[str, int], registry: CollectorRegistry, listener: socket.socket | None = None
    ) -> None:
        """Listen, on ``listener`` when the process before handed it over; answer once started. Raises ``OSError``."""
        listener = listener or open_listener(listen, _BACKLOG)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _KERNEL_BYTES)  # accepted connections inherit it
        host, port = listener.getsockname()[:2]
        self.address = f"{host}:{port}"
        """Host and port that are listened on."""
        self._app = _only_metrics(make_wsgi_app(registry))
        self._intake = Intake(
            listener, _is_complete, read_s=time_limits.METRICS_READ_S, half_open=time_limits.METRICS_HALF_OPEN
        )
        self._pool = WorkerPool(time_limits.METRICS_THREADS, self._turn, away=0)

    @property
    def listener(self) -> socket.socket | None:
        """The socket that is listened on, for a successor; None once stopped."""
        return self._intake.listener

    def start(self) -> None:
        """Begin to answer."""
        self._pool.start()

    def stop(self) -> None:
        """Stop listening, so that another process can; who is being answered may read on while this one lives."""
        self._intake.close()
        self._pool.close()

    def _turn(self, _worker: Worker) -> bool:
        arrival = self._intake.take()
        if arrival is None:
            return False
        with arrival.sock as reader:
            reader.settimeout(time_limits.METRICS_WRITE_S)
            try:
                reader.sendall(self._answer(arrival.head))
            except OSError:  # who left or was too slow knows that
                return True
        return True

    def _answer(self, head: bytes) -> bytes:
        request, *lines = head.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
        method, _, rest = request.partition(" ")
        target, _, version = rest.partition(" ")
        if not version.startswith("HTTP/1.") or len(head) > time_limits.METRICS_REQUEST_BYTES:
            return _response("400 Bad Request", [], b"")
        path, _, query = target.partition("?")
        environ = {"REQUEST_METHOD": method, "PATH_INFO": path, "QUERY_STRING": query}
        for line in lines:
            name, _, value = line.partition(":")
            environ[f"HTTP_{name.strip().upper().replace('-', '_')}"] = value.strip()
        said: list[Any] = []
        body = b"".join(self._app(environ, lambda status, headers: said.extend((status, headers))))
        status, headers = said
        return _response(status, headers, body)


def _is_complete(received: bytes) -> bool:
    """Whether a reader has said what they want, or too much."""
    return b"\r\n\r\n" in received or len(received) > time_limits.METRICS_REQUEST_BYTES


def _response(status: str, headers: list[tuple[str, str]], body: bytes) -> bytes:
    lines = [*headers, ("Content-Length", str(len(body))), ("Connection", "close")]
    head = "".join(f"{name}: {value}\r\n" for name, value in lines)
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode("latin-1") + body


def _only_metrics(app: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/metrics":
            return app(environ, start_response)
        start_response("404 Not Found", [("Content-Type", "text/plain; charset=utf-8")])
        return [b"There is only /metrics here.\n"]

    return answer
