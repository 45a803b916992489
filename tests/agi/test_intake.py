"""Where connections come in, seen from a thread that takes them: nothing is lost between accepting and reading."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from queue import SimpleQueue

import pytest

from agent.entrypoints.intake import Arrival, Intake
from agent.entrypoints.listening import open_listener
from tests.waiting import until

WAIT_S = 5.0


class Door:
    """An intake with one thread that takes what comes."""

    def __init__(self, complete: Callable[[bytes], bool]) -> None:
        listener = open_listener(("127.0.0.1", 0), 16)
        self.address = listener.getsockname()
        self.intake = Intake(listener, complete, read_s=60, half_open=4)
        self._taker = ThreadPoolExecutor(1)
        self._peers = ExitStack()

    def connect(self, text: bytes) -> socket.socket:
        """A peer that has said this."""
        peer = self._peers.enter_context(socket.create_connection(self.address, timeout=WAIT_S))
        peer.sendall(text)
        return peer

    def take(self) -> Future[Arrival | None]:
        """What the thread takes next."""
        return self._taker.submit(self.intake.take)

    def close(self) -> None:
        """Let the thread go and close everything."""
        self.intake.close()
        self._taker.shutdown()
        self.intake.dispose()
        self._peers.close()


@pytest.fixture
def doors() -> Iterator[Callable[[Callable[[bytes], bool]], Door]]:
    """Makes doors that are closed at the end."""
    with ExitStack() as stack:

        def make(complete: Callable[[bytes], bool]) -> Door:
            door = Door(complete)
            stack.callback(door.close)
            return door

        yield make


def test_a_connection_that_is_just_being_read_is_incomplete(doors: Callable[..., Door]) -> None:
    """Else a server that stops in this moment would close it, although it was accepted."""
    reading, go_on = threading.Event(), threading.Event()

    def complete(received: bytes) -> bool:
        reading.set()
        go_on.wait(WAIT_S)
        return received.endswith(b"!")

    door = doors(complete)
    taken = door.take()
    peer = door.connect(b"half")
    assert reading.wait(WAIT_S)
    door.intake.close_door()
    assert door.intake.incomplete == 1
    go_on.set()
    peer.sendall(b" and whole!")
    arrival = taken.result(WAIT_S)
    assert arrival is not None
    with arrival.sock:
        assert arrival.head == b"half and whole!"
        assert door.intake.incomplete == 0


def test_a_door_that_closes_leaves_the_socket_to_whoever_has_it_too(doors: Callable[..., Door]) -> None:
    """What waits there is accepted by the successor, as if nothing had happened."""
    door = doors(lambda received: received.endswith(b"!"))
    assert door.intake.listener is not None
    successor = door.intake.listener.dup()
    door.intake.close_door()
    with successor, door.connect(b"hello!") as peer:
        successor.settimeout(WAIT_S)
        accepted, _ = successor.accept()
        with accepted:
            accepted.sendall(b"here")
            assert peer.recv(10) == b"here"


def test_a_thread_that_takes_ends_when_the_intake_closes(doors: Callable[..., Door]) -> None:
    """Those that wait now, and those that come later."""
    door = doors(lambda _: True)
    waiting = door.take()
    door.intake.close()
    assert waiting.result(WAIT_S) is None
    assert door.take().result(WAIT_S) is None


def test_every_connection_is_taken_once(doors: Callable[..., Door]) -> None:
    """By eight threads, in pieces that come apart, with many of them incomplete at the same time."""
    door = doors(lambda received: received.endswith(b"!"))
    taken: SimpleQueue[bytes] = SimpleQueue()

    def take() -> None:
        while (arrival := door.intake.take()) is not None:
            with arrival.sock as sock:
                taken.put(arrival.head)
                sock.sendall(b"ok")

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    try:
        for turn in range(50):
            peers = [door.connect(f"{turn}".encode()) for _ in range(4)]
            for number, peer in enumerate(peers):
                peer.sendall(f" {number}!".encode())
            for peer in peers:
                assert peer.recv(2) == b"ok"
                peer.close()
        until(lambda: door.intake.incomplete == 0)
    finally:
        door.intake.close()
        for thread in threads:
            thread.join()
    seen = sorted(taken.get_nowait().decode() for _ in range(taken.qsize()))
    assert seen == sorted(f"{turn} {number}!" for turn in range(50) for number in range(4))
