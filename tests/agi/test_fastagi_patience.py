"""The FastAGI server under slow peers, bursts and long sessions: nobody keeps a worker from the next call."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import ExitStack, closing
from time import monotonic

import pytest

from agent.adapters.agi_values import AgiRequest
from agent.entrypoints.fastagi import Limits, Script
from tests.agi.fake_asterisk import FakeAsterisk, environment
from tests.agi.test_fastagi_server import ALLOWED, FAILED, OVERLOADED, WAIT_S, Bench, bench, screen
from tests.waiting import until

__all__ = ["bench"]


def test_fifty_silent_connections_do_not_stop_screening(bench: Bench) -> None:
    """Silent from the start, silent after a line, or silent instead of an answer: four seconds of time-out each."""
    address = bench.start(limits=Limits(workers=2, read_timeout_ms=4000)).address
    with ExitStack() as peers:
        silent = [peers.enter_context(closing(Peer(address))) for _ in range(50)]
        for peer in silent[:20]:
            peer.fake.send("agi_network: yes\n")
        for peer in silent[20:35]:
            peer.fake.send_environment("screen")
            peer.fake.expect_variables(**ALLOWED)
        began = monotonic()
        for _ in range(20):
            assert screen(address) == ALLOWED
        assert monotonic() - began < 2
        assert bench.seen.nothing()  # none of them has timed out: they are all still there


def test_a_silent_connection_is_not_even_handed_out(bench: Bench) -> None:
    """Else it would be dropped here, before the call, and reported: with no stall allowed and one worker."""
    address = bench.start(limits=Limits(workers=1, stalled_sessions=0)).address
    with closing(Peer(address)):
        assert screen(address) == ALLOWED
        assert bench.seen.nothing()


def test_silent_connections_that_the_kernel_hands_out_after_all_do_not_stop_screening(bench: Bench) -> None:
    """After about a second they occupy a worker, for 50 ms each; then each is cut off after the read time-out."""
    address = bench.start(limits=Limits(workers=1, read_timeout_ms=300)).address
    with ExitStack() as peers:
        for _ in range(20):
            peers.enter_context(closing(Peer(address)))
        assert bench.seen.next() == ("session_timed_out", ("127.0.0.1", None))
        assert screen(address) == ALLOWED


def test_dripping_peers_do_not_stop_screening(bench: Bench) -> None:
    """One byte now and then keeps a worker for 100 ms at most."""
    address = bench.start(limits=Limits(workers=1, read_timeout_ms=2000)).address
    ended = threading.Event()
    with ExitStack() as peers:
        dripping = [peers.enter_context(closing(Peer(address))) for _ in range(5)]
        for peer in dripping:  # so that all of them stand in the queue before the calls
            peer.fake.send("x")

        def drip() -> None:
            while not ended.wait(0.02):
                for peer in dripping:
                    peer.fake.send("x")

        thread = threading.Thread(target=drip)
        thread.start()
        began = monotonic()
        for _ in range(5):
            assert screen(address) == ALLOWED
        assert monotonic() - began < 1.5
        ended.set()
        thread.join()


def test_above_the_bound_a_stalled_peer_is_dropped_at_once(bench: Bench) -> None:
    """So threads stay bounded, and the pool stays free. The first keeps its place; the second is cut off early."""
    address = bench.start(limits=Limits(workers=1, read_timeout_ms=60_000, stalled_sessions=1)).address
    with closing(Peer(address)) as first, closing(Peer(address)) as second:
        for peer in (first, second):
            peer.fake.send("agi_network: yes\n")
        assert bench.seen.next() == ("session_timed_out", ("127.0.0.1", None))
        assert screen(address) == ALLOWED
        # The first goes on where it was, and its place is free again when it is done.
        rest = "\n".join([*environment("screen")[1:], "", ""])
        first.fake.send(rest)
        first.fake.expect_variables(**ALLOWED).confirm().expect_end()


def test_an_answer_that_never_comes_is_reported(bench: Bench) -> None:
    """With the request, so that it can be logged."""
    address = bench.start(limits=Limits(workers=1, read_timeout_ms=100)).address
    with FakeAsterisk.call(address, "screen") as asterisk:
        asterisk.expect_variables(**ALLOWED)
        asterisk.expect_end()
    name, (peer, request) = bench.seen.next()
    assert (name, peer, isinstance(request, AgiRequest)) == ("session_timed_out", "127.0.0.1", True)


def test_the_deadline_counts_from_the_arrival_not_from_the_worker(bench: Bench) -> None:
    """A request waits in the backlog behind a busy worker; the kernel remembers since when."""
    address = bench.start(limits=Limits(workers=1)).address
    busy = FakeAsterisk.call(address, "wait")
    bench.entered.get(timeout=WAIT_S)
    with closing(Peer(address)) as peer:
        peer.fake.send_environment("screen")
        arrived = monotonic()
        until(lambda: peer.waits_ms() > 200)
        bench.release.set()
        with busy:
            busy.expect_variables(**ALLOWED).confirm()
        peer.fake.expect_variables(**ALLOWED).confirm().expect_end()
    assert bench.due.get(timeout=WAIT_S) == pytest.approx(arrived + 1, abs=0.05)


def test_a_request_that_waited_too_long_is_answered_as_overloaded(bench: Bench) -> None:
    """Its handler is not even tried."""
    scripts = {"wait": Script(handle=bench.wait), "screen": Script(handle=bench.screen, deadline_ms=100)}
    address = bench.start(limits=Limits(workers=1), scripts=scripts).address
    busy = FakeAsterisk.call(address, "wait")
    bench.entered.get(timeout=WAIT_S)
    with closing(Peer(address)) as peer:
        peer.fake.send_environment("screen")
        until(lambda: peer.waits_ms() > 150)
        bench.release.set()
        with busy:
            busy.expect_variables(**ALLOWED).confirm()
        peer.fake.expect_variables(**OVERLOADED).confirm().expect_end()
    name, (_, waited_ms) = bench.seen.next()
    assert name == "overloaded"
    assert isinstance(waited_ms, int)
    assert 140 < waited_ms < 2000
    assert bench.due.empty()


def test_a_burst_beyond_the_workers_waits_and_is_served(bench: Bench) -> None:
    """A backlog of 5 or 20 lost calls elsewhere."""
    address = bench.start(limits=Limits(workers=1)).address
    busy = FakeAsterisk.call(address, "wait")
    bench.entered.get(timeout=WAIT_S)
    with ExitStack() as calls:
        burst = [calls.enter_context(FakeAsterisk.call(address, "screen")) for _ in range(200)]
        bench.release.set()
        with busy:
            busy.expect_variables(**ALLOWED).confirm()
        for asterisk in burst:
            asterisk.expect_variables(**ALLOWED).confirm().expect_end()


def test_long_sessions_keep_no_worker(bench: Bench) -> None:
    """Forty dialogues on a pool of one, and screening goes on; also when they stall, for that is what dialogues do."""
    address = bench.start(limits=Limits(workers=1, stalled_sessions=0)).address
    with ExitStack() as calls:
        dialogues = [calls.enter_context(FakeAsterisk.call(address, "notice", str(n))) for n in range(40)]
        entered = {bench.entered.get(timeout=WAIT_S).arguments for _ in range(40)}
        assert len(entered) == 40
        assert screen(address) == ALLOWED
        bench.release.set()
        for asterisk in dialogues:
            asterisk.expect_variables(**ALLOWED).confirm().expect_end()
    assert bench.seen.nothing()


def test_a_long_session_may_wait_for_a_person(bench: Bench) -> None:
    """Its thread is its own: a slow answer neither counts as a stall nor costs anyone else."""
    address = bench.start(limits=Limits(workers=1, stalled_sessions=0, read_timeout_ms=4000)).address
    bench.release.set()
    with FakeAsterisk.call(address, "notice") as asterisk:
        expected = asterisk.expect_variables(**ALLOWED)
        began = monotonic()
        while monotonic() - began < 0.15:
            assert screen(address) == ALLOWED
        expected.confirm().expect_end()
    assert bench.seen.nothing()


def test_too_many_long_sessions_are_answered_as_overloaded(bench: Bench) -> None:
    """And a place is free again when one ends."""
    address = bench.start(limits=Limits(workers=1, long_sessions=1)).address
    with FakeAsterisk.call(address, "notice") as first:
        bench.entered.get(timeout=WAIT_S)
        with FakeAsterisk.call(address, "notice") as second:
            second.expect_variables(**OVERLOADED).confirm().expect_end()
        assert bench.seen.next()[0] == "overloaded"
        bench.release.set()
        first.expect_variables(**ALLOWED).confirm().expect_end()
    until(lambda: served_long(address))


def test_a_broken_long_handler_is_answered_for_and_frees_its_place(bench: Bench) -> None:
    """The same promise as for a short one."""
    scripts = {"notice": Script(handle=bench.fail, long=True)}
    address = bench.start(limits=Limits(long_sessions=1), scripts=scripts).address
    with FakeAsterisk.call(address, "notice") as asterisk:
        asterisk.expect_variables(**FAILED).confirm().expect_end()
    assert bench.seen.next()[0] == "request_failed"


class Peer:
    """A connection that says what the test makes it say, and expects nothing at its end."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._socket = socket.create_connection(address, timeout=WAIT_S)
        self.fake = FakeAsterisk.over(self._socket)

    def waits_ms(self) -> int:
        """How long ago, by the kernel's clock, this side last sent something (tcpi_last_data_sent)."""
        return int(struct.unpack("@44xI", self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 48))[0])

    def close(self) -> None:
        """Drop the connection."""
        self.fake.hang_up()


def served_long(address: tuple[str, int]) -> bool:
    """Whether a long session gets a place now."""
    with FakeAsterisk.call(address, "notice") as asterisk:
        command = asterisk.read_command()
        asterisk.send("200 result=1\n")
        return "not_registered" in command
