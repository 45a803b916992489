"""Workers that hang: their places go to others, they are counted, and with half of them lost the server says so."""

from __future__ import annotations

import threading
from queue import SimpleQueue

import pytest

from agent.adapters.agi_channel import AgiChannel
from agent.adapters.agi_values import AgiRequest
from agent.entrypoints.fastagi import Limits, Script
from tests.agi.fake_asterisk import FakeAsterisk
from tests.agi.test_fastagi_server import ALLOWED, WAIT_S, Bench, bench, screen
from tests.waiting import until

__all__ = ["bench"]

LIMIT_S = 5.0


class Hanging:
    """Scripts of which some hang in our own code, and how many workers the server called stuck."""

    def __init__(self, bench: Bench) -> None:
        self.exhausted: SimpleQueue[int] = SimpleQueue()
        self._bench = bench
        self.scripts = {
            "hang": Script(handle=self.hang, limit_s=LIMIT_S),
            "finish": Script(handle=self.hang, long=True, limit_s=LIMIT_S),
            "notice": Script(handle=self.hang, long=True),
            "screen": Script(handle=bench.screen, limit_s=LIMIT_S),
        }

    def hang(self, request: AgiRequest, channel: AgiChannel, due: float) -> None:
        """Wait for a lock that nobody gives back, and answer when it is given back all the same."""
        self._bench.entered.put(request)
        self._bench.release.wait()
        channel.set_variables(ALLOWED)

    def enter(self, address: tuple[str, int], script: str = "hang") -> FakeAsterisk:
        """A call whose handler hangs by now."""
        asterisk = FakeAsterisk.call(address, script)
        self._bench.entered.get(timeout=WAIT_S)
        return asterisk


@pytest.fixture
def hanging(bench: Bench) -> Hanging:
    """Nothing hangs yet."""
    return Hanging(bench)


def test_a_stuck_worker_gives_its_place_to_another(bench: Bench, hanging: Hanging) -> None:
    """It is reported with the functions that it hangs in, once."""
    server = bench.start(limits=Limits(workers=1), scripts=hanging.scripts)
    asterisk = hanging.enter(server.address)
    server.look(LIMIT_S - 1)
    assert bench.seen.nothing()
    server.look(2)
    server.look(2)
    assert screen(server.address) == ALLOWED
    name, (script, where) = bench.seen.next()
    assert (name, script) == ("worker_stuck", "hang")
    assert "Hanging.hang (test_stuck_workers.py:" in str(where)
    assert bench.seen.nothing()
    bench.release.set()
    with asterisk:
        asterisk.expect_variables(**ALLOWED).confirm()


def test_with_half_of_the_pool_stuck_the_server_says_so(bench: Bench, hanging: Hanging) -> None:
    """Once for each that is one more; before that it goes on in silence."""
    server = bench.start(limits=Limits(workers=4), scripts=hanging.scripts, exhausted=hanging.exhausted.put)
    for stuck in (1, 2, 3):
        hanging.enter(server.address).hang_up()
        server.look(LIMIT_S)
        assert bench.seen.next()[0] == "worker_stuck"
        assert hanging.exhausted.empty() is (stuck < 2)
        if stuck >= 2:
            assert hanging.exhausted.get_nowait() == stuck
        assert screen(server.address) == ALLOWED


def test_a_worker_that_comes_back_is_not_lost_any_more(bench: Bench, hanging: Hanging) -> None:
    """One after the other, ten slow sessions are no reason to end; the pool is as large as before."""
    server = bench.start(limits=Limits(workers=3), scripts=hanging.scripts, exhausted=hanging.exhausted.put)
    for _ in range(10):
        bench.release.clear()
        with hanging.enter(server.address) as asterisk:
            server.look(LIMIT_S)
            assert bench.seen.next()[0] == "worker_stuck"
            bench.release.set()
            asterisk.expect_variables(**ALLOWED).confirm().expect_end()
        until(lambda: server.stuck == 0)
    assert hanging.exhausted.empty()
    bench.release.clear()
    calls = [hanging.enter(server.address) for _ in range(3)]  # all of the places, and no more
    waiting = FakeAsterisk.call(server.address, "screen")
    assert bench.entered.empty()
    assert waiting.is_silent()
    bench.release.set()
    for asterisk in calls:
        asterisk.expect_variables(**ALLOWED).confirm().expect_end()
    waiting.expect_variables(**ALLOWED).confirm().expect_end()


def test_a_long_session_with_a_limit_is_stuck_after_it_and_one_without_is_not(bench: Bench, hanging: Hanging) -> None:
    """A dialogue takes as long as a person does; recording the end of a call does not."""
    server = bench.start(limits=Limits(workers=2), scripts=hanging.scripts, exhausted=hanging.exhausted.put)
    hanging.enter(server.address, "notice").hang_up()
    server.look(1000)
    assert bench.seen.nothing()
    hanging.enter(server.address, "finish").hang_up()
    server.look(LIMIT_S)
    assert bench.seen.next()[1][0] == "finish"
    assert hanging.exhausted.get(timeout=WAIT_S) == 1


def test_a_server_stops_without_those_that_hang(bench: Bench, hanging: Hanging) -> None:
    """It does not wait for them, and says that not everything came to its end."""
    server = bench.start(limits=Limits(workers=1), scripts=hanging.scripts)
    hanging.enter(server.address).hang_up()
    server.look(LIMIT_S)
    assert screen(server.address) == ALLOWED
    stopped: SimpleQueue[bool] = SimpleQueue()
    stopping = threading.Thread(target=lambda: stopped.put(server.stop(600)))
    stopping.start()
    assert stopped.get(timeout=WAIT_S) is False
    stopping.join()


def test_a_stalled_peer_leaves_a_worker_that_others_use(bench: Bench) -> None:
    """What it has is warm: no thread is made for the next one, however often a peer lets us wait."""
    server = bench.start(limits=Limits(workers=1))
    for _ in range(5):
        asterisk = FakeAsterisk.call(server.address, "screen")
        expected = asterisk.expect_variables(**ALLOWED)
        assert screen(server.address) == ALLOWED  # by another worker, since the first one waits
        expected.confirm().expect_end()
    assert len({bench.threads.get(timeout=WAIT_S) for _ in range(10)}) == 2
