"""The FastAGI server: Asterisk connects, one session per script call, no authentication (allow-listed peers only).

A fixed pool of threads takes requests that are complete (``agent.entrypoints.intake``) and serves each: handle, answer,
close on one thread, so that a screening costs a handful of system calls. What protects the pool:

* From half requests: they take no worker.
* From peers that let us wait for an answer: after 10 ms (``PATIENCE_S``) a peer is *stalled*. Another thread takes the
  worker's place in the pool; the worker stays with the stalled peer until ``read_timeout_ms`` and finishes that
  session. With ``stalled_sessions`` of them, one more is dropped at once.
* From people: scripts marked ``long`` run on a thread of their own, at most ``long_sessions``.
* From ourselves: a session that takes much longer than it ever may is *stuck*; another thread takes the worker's place
  (``agent.entrypoints.worker_pool``).

The deadline that a handler gets counts from the moment the request reached this machine: the kernel knows how long
ago the connection last received something (TCP_INFO), so time in the backlog counts too. A short request that waited
longer than its whole deadline goes to ``overloaded``.
"""

from __future__ import annotations

import ipaddress
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic, sleep

from agent.adapters.agi_channel import AgiChannel, environment_end
from agent.adapters.agi_transport import SocketTransport
from agent.entrypoints import time_limits
from agent.entrypoints.agi_session import Handler, Observer, Refusal, answer, read_request
from agent.entrypoints.intake import Arrival, Intake
from agent.entrypoints.listening import open_listener
from agent.entrypoints.worker_pool import Worker, WorkerPool

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

LOOPBACK: tuple[Network, ...] = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """One script name's handler."""

    handle: Handler
    long: bool = False
    """A thread of its own, and time in the backlog does no harm."""
    deadline_ms: float = 1000
    """From the request's arrival to the moment the answer is due."""
    later: Refusal | None = None
    """What a long one does instead when no thread can be had for it: accept what it is told, for somebody else."""
    limit_s: float | None = None
    """What takes longer is stuck; None: it may take as long as it likes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much the server takes on."""

    workers: int = 8
    read_timeout_ms: float = 1000
    """For the whole environment, and for each exchange of command and answer."""
    half_open: int = time_limits.HALF_OPEN
    """Connections whose environment is not complete; one more, and the oldest goes."""
    stalled_sessions: int = 256
    long_sessions: int = 1000
    backlog: int = 1024
    """Cut to net.core.somaxconn by the kernel."""


class FastAgiServer:
    """Serves ``scripts`` on ``listen`` (host and port; port 0 takes a free one) to ``allowed_peers``.

    ``overloaded`` and ``failed`` answer in a handler's stead. ``exhausted`` hears how many workers are stuck when it is
    half of them. A server starts once and stops once.
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
        exhausted: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._scripts = dict(scripts)
        self._overloaded = overloaded
        self._failed = failed
        self._allowed_peers = tuple(allowed_peers)
        self._limits = limits or Limits()
        self._observer = observer or Observer()
        self._known_peers: dict[str, bool] = {}
        self._lock = threading.Lock()
        self._long = 0
        self._listen = listen
        self._address: tuple[str, int] | None = None
        self._stopping = False
        self._intake: Intake | None = None
        self._pool = WorkerPool(
            self._limits.workers,
            self._turn,
            away=self._limits.stalled_sessions,
            stuck=lambda worker, where: self._observer.worker_stuck(worker.at, where),
            exhausted=exhausted,
        )

    @property
    def address(self) -> tuple[str, int]:
        """Host and port that are listened on, once started."""
        if self._address is None:
            raise RuntimeError("the server was not started")
        return self._address

    @property
    def listener(self) -> socket.socket | None:
        """The socket that is listened on, for a successor; None when the door is closed."""
        return self._intake.listener if self._intake is not None else None

    @property
    def stopping(self) -> bool:
        """True from the start of ``stop``; a long handler may ask it between two prompts."""
        return self._stopping

    def start(self) -> None:
        """Listen, serve, and return. Raises ``OSError``."""
        self.listen()
        self.open()

    def listen(self, listener: socket.socket | None = None) -> None:
        """Listen, on ``listener`` when the process before handed it over, and serve nobody yet. Raises ``OSError``."""
        if self._intake is not None or self._stopping:
            raise RuntimeError("a server starts once")
        listener = listener or open_listener(self._listen, self._limits.backlog)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # accepted connections inherit it
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, time_limits.DEFER_ACCEPT_S)
        host, port = listener.getsockname()[:2]
        self._address = str(host), int(port)
        self._intake = Intake(
            listener,
            lambda received: environment_end(received) >= 0,
            read_s=self._limits.read_timeout_ms / 1000,
            half_open=self._limits.half_open,
            admits=self._is_allowed,
            observer=self._observer,
        )

    def open(self) -> None:
        """Serve who has come, and who comes."""
        self._pool.start()

    @property
    def stuck(self) -> int:
        """Threads that hang now."""
        return self._pool.stuck

    def look(self, passed_s: float) -> None:
        """Look which workers are stuck; ``passed_s`` have passed since the last look, in which they could work."""
        self._pool.look(passed_s)

    def put(self, sock: socket.socket) -> None:
        """Serve a connection that this process made itself."""
        if self._intake is not None:
            self._intake.put(sock)

    def close_door(self, drain_s: float) -> None:
        """Accept no more connections, once those are taken that Asterisk has made, for at most ``drain_s``.

        What is left then is reset, and Asterisk goes on without a verdict; unless a successor has the same socket.
        """
        self._stopping = True
        if self._intake is not None:
            until = monotonic() + drain_s
            while self._intake.waiting and monotonic() < until:
                sleep(time_limits.DOOR_LOOK_S)
            self._intake.close_door()

    def is_over(self, wait_s: float) -> bool:
        """Whether all sessions have ended, but stuck ones; waits for that, with the door closed."""
        if self._intake is None:
            return True
        if not self._intake.incomplete:
            self._intake.close()
            self._pool.close()
        elif wait_s:
            sleep(wait_s)
        return self._pool.is_over(wait_s)

    def stop(self, grace_s: float) -> bool:
        """Close the door, let running sessions end for ``grace_s``; True when all have ended. May be called again.

        Sessions that outlive the grace are left to their own limits on daemon threads.
        """
        until = monotonic() + grace_s
        self.close_door(min(grace_s / 2, time_limits.DOOR_S))
        while not self.is_over(time_limits.DOOR_LOOK_S) and monotonic() < until:
            continue
        if self._intake is not None:
            self._intake.close()
            self._pool.close()
            if not self._pool.threads:
                self._intake.dispose()
        return not self._pool.threads

    def _is_allowed(self, peer: str) -> bool:
        known = self._known_peers.get(peer)
        if known is None:
            ip = ipaddress.ip_address(peer)
            ip = getattr(ip, "ipv4_mapped", None) or ip
            known = any(ip in network for network in self._allowed_peers)
            if len(self._known_peers) < 1000:
                self._known_peers[peer] = known
        return known

    def _turn(self, worker: Worker) -> bool:
        """Serve one request; False when there will be no more."""
        arrival = self._intake.take() if self._intake is not None else None
        if arrival is None:
            return False
        kept = False
        try:
            kept = self._serve(arrival, worker)
        finally:
            worker.end()
            if not kept:
                arrival.sock.close()
        return True

    def _serve(self, arrival: Arrival, worker: Worker) -> bool:
        """Have a complete request answered; True when a long session keeps the socket."""
        waited_ms = arrival.waited_ms()
        due_from = monotonic() - waited_ms / 1000
        channel = AgiChannel(
            SocketTransport(arrival.sock),
            timeout_ms=self._limits.read_timeout_ms,
            stalled=worker.give_up,
            received=arrival.head,
        )
        request = read_request(channel, arrival.peer, self._observer)
        if request is None:
            return False
        script = self._scripts.get(request.script)
        if script is None:
            channel.end()
            self._observer.unknown_script(request)
            return False
        due = due_from + script.deadline_ms / 1000

        def serve(worker: Worker, handle: Callable[[], None] = lambda: script.handle(request, channel, due)) -> None:
            worker.begin(request.script, script.limit_s)
            answer(handle, lambda: self._failed(request, channel), request, channel, arrival.peer, self._observer)

        if script.long:
            channel.stalled = None  # from here on it keeps no worker
            if self._hand_over(arrival.sock, serve):
                return True
            if (later := script.later) is not None:
                serve(worker, lambda: later(request, channel))
                return False
        elif waited_ms < script.deadline_ms:
            serve(worker)
            return False
        serve(worker, lambda: self._overloaded(request, channel))
        self._observer.overloaded(request, waited_ms)
        return False

    def _hand_over(self, sock: socket.socket, serve: Callable[[Worker], None]) -> bool:
        """Serve a long session on a thread of its own; False when there are too many."""

        def serve_and_close(worker: Worker) -> None:
            try:
                serve(worker)
            finally:
                sock.close()
                with self._lock:
                    self._long -= 1

        with self._lock, suppress(RuntimeError):
            if self._long < self._limits.long_sessions:
                self._pool.run_beside(serve_and_close)
                self._long += 1
                return True
        return False
