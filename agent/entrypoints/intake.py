"""Where connections come in: accepted, and read until each has said what it wants; only then it takes a thread.

Any number of threads ``take`` from one intake. They wait together in one ``epoll``: for the listening socket and for
every connection that is incomplete. So a peer that sends half a request costs a few microseconds each time it sends
something, and no thread while it does not. Of one event only one thread hears (EPOLLONESHOT).
"""

from __future__ import annotations

import os
import select
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic, sleep
from typing import Final

from agent.adapters.agi_values import AgiProtocolError
from agent.entrypoints import time_limits
from agent.entrypoints.agi_session import Observer

_ONCE: Final = select.EPOLLIN | select.EPOLLONESHOT
_READ_BYTES: Final = 16_384
_INSIDE: Final = "inside"
# Offsets in struct tcp_info (linux/tcp.h). For a listening socket, tcpi_unacked is the length of its accept queue.
_UNACKED: Final = struct.Struct("@24xI")
_LAST_DATA_RECEIVED_MS: Final = struct.Struct("@52xI")


@dataclass(slots=True, eq=False)
class Arrival:
    """A connection, and what it has said so far."""

    sock: socket.socket
    peer: str
    """Its address; ``inside`` when this process made the connection itself."""
    since: float
    """When it was accepted, in seconds on ``time.monotonic``."""
    head: bytes = b""
    parked: bool = False
    """It was incomplete, and is in the epoll."""
    reading: bool = True
    """A thread is at it: nobody else may close it."""

    def may_go(self) -> bool:
        """Whether it may be closed while it is incomplete."""
        return not self.reading and self.peer != _INSIDE

    def waited_ms(self) -> int:
        """How long ago its last bytes reached this machine."""
        return 0 if self.peer == _INSIDE else _tcp_info(self.sock, _LAST_DATA_RECEIVED_MS)


class Intake:
    """Accepts on ``listener``, which it owns from now on, and reads each connection until ``complete`` says so.

    ``complete`` gets what was read so far; it may raise ``AgiProtocolError``. A connection that is not complete
    ``read_s`` seconds after it was accepted is closed, and so is the oldest one when there are more than ``half_open``,
    or no descriptor is left for another.
    """

    def __init__(
        self,
        listener: socket.socket,
        complete: Callable[[bytes], bool],
        *,
        read_s: float,
        half_open: int,
        admits: Callable[[str], bool] = lambda _: True,
        observer: Observer | None = None,
    ) -> None:
        self.listener: socket.socket | None = listener
        """What is accepted on; None when the door is closed."""
        self._door = listener.fileno()
        self._complete = complete
        self._read_s = read_s
        self._most = half_open
        self._admits = admits
        self._observer = observer or Observer()
        self._incomplete: dict[int, Arrival] = {}
        self._lock = threading.Lock()
        self._closed = False
        self._waiting: set[int] = set()
        """Threads that wait for something to happen."""
        self._accepting: set[int] = set()
        """Threads that accept a connection, or read it for the first time."""
        self._expire_at = 0.0
        listener.setblocking(False)
        # What is accepted inherits it.
        patience = struct.pack("@ll", 0, int(time_limits.HEAD_PATIENCE_S * 1_000_000))
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, patience)
        self._bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._epoll = select.epoll()
        self._epoll.register(self._bell, select.EPOLLIN)
        self._epoll.register(self._door, _ONCE)

    @property
    def incomplete(self) -> int:
        """Connections that have not said everything yet."""
        return len(self._accepting) + len(self._incomplete)

    @property
    def waiting(self) -> int:
        """Connections that wait to be accepted."""
        with self._lock:
            return _tcp_info(self.listener, _UNACKED) if self.listener else 0

    def take(self) -> Arrival | None:
        """The next connection that has said what it wants, which the caller closes; None when there will be no more."""
        if not self._waiting and not self._incomplete:
            # Every thread is busy, so that another connection waits as a rule: the epoll need not be asked.
            arrival = self._new(self._accepted)
            if arrival is not None:
                return arrival
        while (at := self._event()) != self._bell:
            arrival = self._new(self._let_in) if at == self._door else self._resumed(at)
            if arrival is not None:
                return arrival
        return None

    def put(self, sock: socket.socket) -> None:
        """Let a connection come in that this process made itself."""
        self._park(Arrival(sock=sock, peer=_INSIDE, since=monotonic()))

    def close_door(self) -> None:
        """Accept no more. What waits to be accepted is reset, unless another process listens on the same socket."""
        with self._lock:
            listener, self.listener = self.listener, None
            if listener is not None:
                self._epoll.unregister(listener)
                listener.close()

    def close(self) -> None:
        """Let every ``take`` end, now and from now on, and close what is incomplete.

        With the door closed and nothing ``incomplete``, nobody is cut off by that.
        """
        self.close_door()
        with self._lock:
            if self._closed:
                return
            self._closed = True
            os.eventfd_write(self._bell, 1)
            for arrival in self._incomplete.values():
                if not arrival.reading:
                    arrival.sock.close()
            self._incomplete.clear()

    def dispose(self) -> None:
        """Give back what is left, after ``close`` and when no thread is in ``take`` any more."""
        if not self._epoll.closed:
            self._epoll.close()
            os.close(self._bell)

    def _event(self) -> int:
        """The file descriptor that something happened at; -1 when nothing did."""
        me = threading.get_ident()
        self._waiting.add(me)
        try:
            ready = self._epoll.poll(time_limits.EXPIRE_EVERY_S if self._incomplete else None, 1)
        finally:
            self._waiting.discard(me)
        if self._incomplete and monotonic() >= self._expire_at:
            self._expire()
        return ready[0][0] if ready else -1

    def _new(self, accept: Callable[[], Arrival | None]) -> Arrival | None:
        """A new connection, when it has said everything."""
        me = threading.get_ident()
        self._accepting.add(me)  # before it looks whether the door is open: see ``close``
        try:
            arrival = accept()
            return arrival if arrival is not None and self._is_complete(arrival) else None
        finally:
            self._accepting.discard(me)

    def _let_in(self) -> Arrival | None:
        try:
            return self._accepted()
        finally:
            with suppress(OSError, ValueError):  # the door was closed meanwhile
                self._epoll.modify(self._door, _ONCE)

    def _accepted(self) -> Arrival | None:
        listener = self.listener
        if listener is None:
            return None
        try:
            sock, address = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return None  # it has gone again
        except OSError as error:
            if self.listener is not None:
                self._observer.accept_failed(error)
                if not self._let_oldest_go():
                    sleep(time_limits.ACCEPT_AGAIN_S)
            return None
        if not self._admits(address[0]):
            sock.close()
            self._observer.peer_refused(address[0])
            return None
        return Arrival(sock=sock, peer=address[0], since=monotonic())

    def _resumed(self, at: int) -> Arrival | None:
        """A connection that was incomplete, when it has said everything now."""
        with self._lock:
            arrival = self._incomplete.get(at)
            if arrival is None or arrival.reading:
                return None  # it has gone, or another thread is at it
            arrival.reading = True
        return arrival if self._is_complete(arrival) else None

    def _is_complete(self, arrival: Arrival) -> bool:
        """Read on. What is not complete then is parked, or closed and reported."""
        patient = not arrival.parked and len(self._incomplete) < time_limits.PATIENT_BELOW
        try:
            while True:
                data = arrival.sock.recv(_READ_BYTES, 0 if patient else socket.MSG_DONTWAIT)
                if not data:
                    self._drop(arrival)
                    self._observer.hung_up(arrival.peer, None)
                    return False
                arrival.head += data
                if self._complete(arrival.head):
                    self._forget(arrival)
                    return True
                if not patient or monotonic() - arrival.since > time_limits.HEAD_PATIENCE_S:
                    break
        except BlockingIOError:
            pass
        except AgiProtocolError as error:
            self._drop(arrival)
            self._observer.protocol_violated(arrival.peer, None, error)
            return False
        except OSError:
            self._drop(arrival)
            self._observer.hung_up(arrival.peer, None)
            return False
        self._park(arrival)
        return False

    def _park(self, arrival: Arrival) -> None:
        """Wait for more, on no thread."""
        oldest: Arrival | None = None
        at = arrival.sock.fileno()
        with self._lock:
            arrival.reading = False
            if self._closed:
                arrival.sock.close()
            elif arrival.parked:
                self._epoll.modify(at, _ONCE)
            else:
                if len(self._incomplete) >= self._most:
                    oldest = self._taken_out()
                arrival.parked = True
                self._incomplete[at] = arrival
                self._epoll.register(at, _ONCE)
        if oldest is not None:
            self._time_out(oldest)

    def _let_oldest_go(self) -> bool:
        """Make room for another connection; False when there is none that may go."""
        with self._lock:
            oldest = self._taken_out()
        if oldest is not None:
            self._time_out(oldest)
        return oldest is not None

    def _taken_out(self) -> Arrival | None:
        """The oldest that may go, which the caller closes, without the lock that the caller holds now."""
        oldest = next((one for one in self._incomplete.values() if one.may_go()), None)
        if oldest is not None:
            del self._incomplete[oldest.sock.fileno()]
        return oldest

    def _expire(self) -> None:
        """Close those whose time is over; they stand in the order of their arrival."""
        now = monotonic()
        late: list[Arrival] = []
        with self._lock:
            self._expire_at = now + time_limits.EXPIRE_EVERY_S
            for at, arrival in list(self._incomplete.items()):
                if arrival.since + self._read_s > now:
                    break
                if arrival.may_go():
                    del self._incomplete[at]
                    late.append(arrival)
        for arrival in late:
            self._time_out(arrival)

    def _time_out(self, arrival: Arrival) -> None:
        arrival.sock.close()
        self._observer.session_timed_out(arrival.peer, None)

    def _forget(self, arrival: Arrival) -> None:
        """It is nothing to wait for any more: whoever closes it takes it out of the epoll."""
        if arrival.parked:
            with self._lock:
                self._incomplete.pop(arrival.sock.fileno(), None)

    def _drop(self, arrival: Arrival) -> None:
        self._forget(arrival)
        arrival.sock.close()


def _tcp_info(sock: socket.socket, field: struct.Struct) -> int:
    return int(field.unpack(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, field.size))[0])
