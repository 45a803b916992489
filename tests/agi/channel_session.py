"""An AGI channel on a thread of its own, with a strict Asterisk on the other end."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import pytest

from agent.adapters.agi_channel import AgiChannel
from agent.adapters.agi_transport import SocketTransport
from agent.adapters.agi_values import AgiRequest
from tests.agi.fake_asterisk import FakeAsterisk

T = TypeVar("T")


class Session:
    """A channel on a thread of its own, with a strict Asterisk on the other end."""

    def __init__(self, timeout_ms: float = 5000) -> None:
        ours, theirs = socket.socketpair()
        self.socket = ours
        self.asterisk = FakeAsterisk.over(theirs)
        self.stalls: list[str] = []
        self.stalled = threading.Event()
        self.may_stall = True
        self.channel = AgiChannel(SocketTransport(ours), timeout_ms=timeout_ms, stalled=self._stalled)
        self._pool = ThreadPoolExecutor(1)
        self._theirs = theirs

    def _stalled(self) -> bool:
        self.stalls.append(threading.current_thread().name)
        self.stalled.set()
        return self.may_stall

    def start(self, work: Callable[[], T]) -> Future[T]:
        """Run ``work`` off the main thread, as the server does."""
        return self._pool.submit(work)

    def result(self, work: Future[T]) -> T:
        """What ``work`` returned or raised, in bounded time."""
        return work.result(timeout=10)

    def close(self) -> None:
        """End both sides."""
        self.socket.close()
        self.asterisk.hang_up()
        self._pool.shutdown()


@pytest.fixture
def session() -> Iterator[Session]:
    """A session whose environment has not been sent."""
    session = Session()
    yield session
    session.close()


@pytest.fixture
def hasty() -> Iterator[Session]:
    """A session that gives Asterisk 150 ms for each exchange."""
    session = Session(timeout_ms=150)
    yield session
    session.close()


def read(session: Session, *lines: str) -> AgiRequest:
    """The request made of these environment lines."""
    session.asterisk.send("\n".join([*lines, "", ""]))
    return session.channel.read_request()
