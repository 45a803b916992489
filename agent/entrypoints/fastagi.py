"""The FastAGI server: Asterisk connects, one session per script call, no authentication (allow-listed peers only).

A fixed pool of threads accepts on one listening socket; a session is accept, read, handle, answer, close on one
thread, so that a screening costs a handful of system calls. What protects the pool from slow peers:

* A connection that says nothing is not handed out by the kernel at all for its first second (TCP_DEFER_ACCEPT).
* A peer that then lets us wait for more than 50 ms (``PATIENCE_S``), for its environment or for an answer, is
  *stalled*. A new thread takes the worker's place in the pool; the worker stays with the stalled peer until
  ``read_timeout_ms``, finishes that session and ends. So a peer costs the pool 50 ms, at most 100 ms when it sends
  byte by byte. Above ``stalled_sessions`` of them, a stalled peer is dropped at once.
* Scripts marked ``long`` run on a thread of their own, at most ``long_sessions``.

The deadline that a handler gets counts from the moment the request reached this machine: the kernel knows how long
ago the connection last received something (TCP_INFO), so time in the backlog counts too. A short request that waited
longer than its whole deadline goes to ``overloaded``.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic, sleep

from agent.adapters.agi_channel import AgiChannel
from agent.adapters.agi_transport import SocketTransport
from agent.entrypoints.agi_session import Handler, Observer, Refusal, answer, read_request

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

LOOPBACK: tuple[Network, ...] = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))

_DEFER_ACCEPT_S = 1
# Offsets in struct tcp_info (linux/tcp.h). For a listening socket, tcpi_unacked is the length of its accept queue.
_UNACKED = struct.Struct("@24xI")
_LAST_DATA_RECEIVED_MS = struct.Struct("@52xI")


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """One script name's handler."""

    handle: Handler
    long: bool = False
    """It talks to a person: a thread of its own, and time in the backlog does no harm."""
    deadline_ms: float = 1000
    """From the request's arrival to the moment the answer is due."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much the server takes on."""

    workers: int = 8
    read_timeout_ms: float = 1000
    """For the whole environment, and for each exchange of command and answer."""
    stalled_sessions: int = 256
    long_sessions: int = 1000
    backlog: int = 1024
    """Cut to net.core.somaxconn by the kernel."""


class FastAgiServer:
    """Serves ``scripts`` on ``listen`` (host and port; port 0 takes a free one) to ``allowed_peers``.

    ``overloaded`` and ``failed`` answer in a handler's stead. A server starts once and stops once.
    """

    def __init__(
        self,
        listen: tuple[str, int],
        scripts: Mapping[str, Script],
        *,
        overloaded: Refusal,
        failed: Refusal,
        allowed_peers: Sequence[Network] = LOOPBACK,
        limits: Limits | None = None,
        observer: Observer | None = None,
    ) -> None:
        self._listen = listen
        self._scripts = dict(scripts)
        self._overloaded = overloaded
        self._failed = failed
        self._allowed_peers = tuple(allowed_peers)
        self._limits = limits or Limits()
        self._observer = observer or Observer()
        self._listener: socket.socket | None = None
        self._stopping = False
        self._known_peers: dict[str, bool] = {}
        self._lock = threading.Lock()
        self._threads: set[threading.Thread] = set()
        self._stalled = 0
        self._long = 0

    @property
    def address(self) -> tuple[str, int]:
        """Host and port that are listened on, once started."""
        if self._listener is None:
            raise RuntimeError("the server was not started")
        host, port = self._listener.getsockname()[:2]
        return str(host), int(port)

    @property
    def stopping(self) -> bool:
        """True from the start of ``stop``; a long handler may ask it between two prompts."""
        return self._stopping

    def start(self) -> None:
        """Listen and return. Raises ``OSError`` when the address cannot be had."""
        if self._listener is not None or self._stopping:
            raise RuntimeError("a server starts once")
        family = socket.AF_INET6 if ":" in self._listen[0] else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # accepted connections inherit it
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, _DEFER_ACCEPT_S)
            listener.bind(self._listen)
            listener.listen(self._limits.backlog)
        except OSError:
            listener.close()
            raise
        self._listener = listener
        with self._lock:
            for _ in range(self._limits.workers):
                self._spawn(self._work)

    def stop(self, grace_s: float) -> bool:
        """Close the door, let running sessions end for ``grace_s``; True when all have ended. May be called again.

        Connections already in the kernel's backlog are still served, for at most half of the grace; what is left
        then is reset, and Asterisk goes on without a verdict. Sessions that outlive the grace are left to their own
        limits on daemon threads.
        """
        began = monotonic()
        self._stopping = True
        listener = self._listener
        if listener is None:
            return True
        with suppress(OSError):  # an earlier stop has closed it
            while monotonic() - began < grace_s / 2 and _tcp_info(listener, _UNACKED):
                sleep(0.002)
            listener.shutdown(socket.SHUT_RDWR)  # wakes every accept; close alone would not
        while monotonic() - began < grace_s:
            with self._lock:
                thread = next(iter(self._threads), None)
            if thread is None:
                break
            thread.join(max(0.0, grace_s - (monotonic() - began)))
        listener.close()
        with self._lock:
            return not self._threads

    def _spawn(self, target: Callable[[], None]) -> None:
        """Run ``target`` on a thread that ``stop`` waits for; the caller holds the lock.

        Raises ``RuntimeError`` when there can be no more threads.
        """

        def run() -> None:
            try:
                target()
            finally:
                with self._lock:
                    self._threads.discard(thread)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        self._threads.add(thread)

    def _work(self) -> None:
        place = _Place(self._replace)
        try:
            while not place.given_up and self._listener and self._accept_one(self._listener, place):
                continue
        finally:
            with self._lock:
                if place.given_up:
                    self._stalled -= 1
                elif not self._stopping:
                    self._spawn(self._work)  # only a hook that raised gets here; the pool stays complete all the same

    def _replace(self) -> bool:
        """Fill a stalled worker's place in the pool; False when too many are stalled."""
        with self._lock, suppress(RuntimeError):
            if self._stalled < self._limits.stalled_sessions:
                if not self._stopping:
                    self._spawn(self._work)
                self._stalled += 1
                return True
        return False

    def _accept_one(self, listener: socket.socket, place: _Place) -> bool:
        """Serve one connection; False when there will be no more."""
        try:
            sock, address = listener.accept()
        except OSError as error:
            if not self._stopping:
                self._observer.accept_failed(error)
                sleep(0.05)
            return not self._stopping
        kept = False
        try:
            kept = self._serve(sock, address[0], place)
        finally:
            if not kept:
                sock.close()
        return True

    def _is_allowed(self, peer: str) -> bool:
        known = self._known_peers.get(peer)
        if known is None:
            ip = ipaddress.ip_address(peer)
            ip = getattr(ip, "ipv4_mapped", None) or ip
            known = any(ip in network for network in self._allowed_peers)
            if len(self._known_peers) < 1000:
                self._known_peers[peer] = known
        return known

    def _serve(self, sock: socket.socket, peer: str, place: _Place) -> bool:
        """Read the request and have it answered; True when a long session keeps the socket."""
        if not self._is_allowed(peer):
            self._observer.peer_refused(peer)
            return False
        waited_ms = _tcp_info(sock, _LAST_DATA_RECEIVED_MS)
        arrived = monotonic() - waited_ms / 1000
        channel = AgiChannel(SocketTransport(sock), timeout_ms=self._limits.read_timeout_ms, stalled=place.give_up)
        request = read_request(channel, peer, self._observer)
        if request is None:
            return False
        script = self._scripts.get(request.script)
        if script is None:
            self._observer.unknown_script(request)
            return False
        due = arrived + script.deadline_ms / 1000

        def serve(handle: Callable[[], None] = lambda: script.handle(request, channel, due)) -> None:
            answer(handle, lambda: self._failed(request, channel), request, peer, self._observer)

        if script.long:
            channel.stalled = None  # from here on it keeps no worker
            if self._hand_over(sock, serve):
                return True
        elif waited_ms < script.deadline_ms:
            serve()
            return False
        self._observer.overloaded(request, waited_ms)
        serve(lambda: self._overloaded(request, channel))
        return False

    def _hand_over(self, sock: socket.socket, serve: Callable[[], None]) -> bool:
        """Serve a long session on a thread of its own; False when there are too many."""

        def serve_and_close() -> None:
            try:
                serve()
            finally:
                sock.close()
                with self._lock:
                    self._long -= 1

        with self._lock, suppress(RuntimeError):
            if self._long < self._limits.long_sessions:
                self._spawn(serve_and_close)
                self._long += 1
                return True
        return False


class _Place:
    """A worker's place in the pool, given up to another thread when the worker's peer stalls."""

    __slots__ = ("_fill", "given_up")

    def __init__(self, fill: Callable[[], bool]) -> None:
        self._fill = fill
        self.given_up = False

    def give_up(self) -> bool:
        """False when nobody can take the place, so that the worker must not wait on."""
        self.given_up = self._fill()
        return self.given_up


def _tcp_info(sock: socket.socket, field: struct.Struct) -> int:
    return int(field.unpack(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, field.size))[0])
