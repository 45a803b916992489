"""The FastAGI server under slow peers, bursts and long sessions: nobody keeps a worker from the next call."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import ExitStack, closing, suppress
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
    """Else it would be the one incomplete connection that there may be, and make the next one go."""
    address = bench.start(limits=Limits(workers=1, half_open=1)).address
    with closing(Peer(address)), closing(Peer(address)) as begun:
        begun.fake.send("agi_network: yes\n")
        assert screen(address) == ALLOWED
        assert bench.seen.nothing()


def test_silent_connections_that_the_kernel_hands_out_after_all_do_not_stop_screening(bench: Bench) -> None:
    """After about a second they are incomplete connections like others; then each is cut off after the time-out."""
    address = bench.start(limits=Limits(workers=1, read_timeout_ms=300)).address
    with ExitStack() as peers:
        for _ in range(20):
            peers.enter_context(closing(Peer(address)))
        assert bench.seen.next() == ("session_timed_out", ("127.0.0.1", None))
        assert screen(address) == ALLOWED


def test_half_requests_take_no_worker(bench: Bench) -> None:
    """Two hundred of them on a pool of one, where none may keep a worker waiting for an answer either."""
    address = bench.start(limits=Limits(workers=1, read_timeout_ms=60_000, stalled_sessions=0)).address
    with ExitStack() as peers:
        half = [peers.enter_context(closing(Peer(address))) for _ in range(200)]
        for number, peer in enumerate(half):
            peer.fake.send("".join(f"{line}\n" for line in environment("screen")[: 1 + number % 20]))
        for _ in range(20):
            assert screen(address) == ALLOWED
        assert bench.seen.nothing()
        assert {bench.threads.get(timeout=WAIT_S) for _ in range(20)} == {bench_thread(bench, address)}


def test_a_half_request_is_served_once_it_is_whole(bench: Bench) -> None:
    """By a worker that others use too; its time counts from when the last of it arrived."""
    address = bench.start(limits=Limits(workers=1, read_timeout_ms=60_000)).address
    with closing(Peer(address)) as peer:
        peer.fake.send("agi_network: yes\n")
        until(lambda: peer.waits_ms() > 200)
        assert screen(address) == ALLOWED
        bench.due.get(timeout=WAIT_S)
        peer.fake.send("\n".join([*environment("screen")[1:], "", ""]))
        arrived = monotonic()
        peer.fake.expect_variables(**ALLOWED).confirm().expect_end()
    assert bench.due.get(timeout=WAIT_S) == pytest.approx(arrived + 1, abs=0.1)
    assert len({bench.threads.get(timeout=WAIT_S) for _ in range(2)}) == 1


def test_of_too_many_half_requests_the_oldest_goes(bench: Bench) -> None:
    """However many come, what is whole is served; the others keep their place."""
    address = bench.start(limits=Limits(workers=1, read_timeout_ms=60_000, half_open=3)).address
    with ExitStack() as peers:
        half = []
        for _ in range(5):
            half.append(peers.enter_context(closing(Peer(address))))
            half[-1].fake.send("agi_network: yes\n")
            assert screen(address) == ALLOWED  # so that they stand in this order
        for peer in half[:2]:
            peer.fake.expect_end()
            assert bench.seen.next() == ("session_timed_out", ("127.0.0.1", None))
        for peer in half[2:]:
            peer.fake.send("\n".join([*environment("screen")[1:], "", ""]))
            peer.fake.expect_variables(**ALLOWED).confirm().expect_end()


def test_half_requests_are_cut_off_after_their_time_in_order(bench: Bench) -> None:
    """From when they were accepted, whatever they send meanwhile."""
    address = bench.start(limits=Limits(workers=1, read_timeout_ms=400)).address
    with closing(Peer(address)) as peer:
        peer.fake.send("agi_network: yes\n")
        began = monotonic()
        while peer.fake.is_silent():
            with suppress(OSError):
                peer.fake.send("x")
            assert monotonic() - began < WAIT_S
    assert bench.seen.next()[0] in ("session_timed_out", "protocol_violated")
    assert screen(address) == ALLOWED


def test_an_endless_environment_is_refused(bench: Bench) -> None:
    """More than Asterisk ever sends, in lines that are each allowed."""
    address = bench.start(limits=Limits(workers=1, read_timeout_ms=60_000)).address
    with closing(Peer(address)) as peer:
        with suppress(OSError):
            for number in range(150):
                peer.fake.send(f"agi_{number}: {'x' * 1000}\n")
        assert bench.seen.next()[0] == "protocol_violated"
    assert screen(address) == ALLOWED


def test_dripping_peers_do_not_stop_screening(bench: Bench) -> None:
    """One byte now and then costs microseconds."""
    address = bench.start(limits=Limits(workers=1, read_timeout_ms=2000, stalled_sessions=0)).address
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
            peer.fake.send_environment("screen")
            peer.fake.expect_variables(**ALLOWED)
        name, (peer_address, request) = bench.seen.next()
        assert (name, peer_address, isinstance(request, AgiRequest)) == ("session_timed_out", "127.0.0.1", True)
        assert screen(address) == ALLOWED
        # The first goes on where it was, and its place is free again when it is done.
        first.fake.send("200 result=1\n")
        first.fake.expect_end()


def test_whole_requests_that_nobody_waits_for_do_not_stop_screening(bench: Bench) -> None:
    """The other half of a half request: an answer that is never confirmed. Four at a time on a pool of one."""
    address = bench.start(limits=Limits(workers=1, read_timeout_ms=60_000)).address
    with ExitStack() as peers:
        for _ in range(10):
            for _ in range(4):
                peer = peers.enter_context(closing(Peer(address)))
                peer.fake.send_environment("screen")
            assert screen(address) == ALLOWED
        assert bench.seen.nothing()


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


def bench_thread(bench: Bench, address: tuple[str, int]) -> threading.Thread:
    """The worker that serves the next call."""
    screen(address)
    return bench.threads.get(timeout=WAIT_S)


def served_long(address: tuple[str, int]) -> bool:
    """Whether a long session gets a place now."""
    with FakeAsterisk.call(address, "notice") as asterisk:
        command = asterisk.read_command()
        asterisk.send("200 result=1\n")
        return "not_registered" in command
