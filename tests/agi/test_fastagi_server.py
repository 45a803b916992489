"""The FastAGI server over real sockets: who is served, who is not, and what cannot stop it."""

from __future__ import annotations

import errno
import ipaddress
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import fields
from queue import Empty, SimpleQueue
from time import monotonic

import pytest

from agent.adapters.agi_channel import AgiChannel
from agent.adapters.agi_values import AgiRequest
from agent.entrypoints.agi_session import Observer
from agent.entrypoints.fastagi import FastAgiServer, Limits, Script
from tests.agi.fake_asterisk import FakeAsterisk, environment
from tests.waiting import until

WAIT_S = 5.0
ALLOWED = {"BMN_VERDICT": "allow", "BMN_REASON": "not_registered", "BMN_NUMBER": "+31612345678"}
FAILED = {"BMN_VERDICT": "block", "BMN_REASON": "internal_error", "BMN_NUMBER": ""}
OVERLOADED = {"BMN_VERDICT": "block", "BMN_REASON": "overloaded", "BMN_NUMBER": ""}


class Seen:
    """What the server reported: hook name and arguments, in order."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[tuple[str, tuple[object, ...]]] = SimpleQueue()
        self.observer = Observer(**{hook.name: self._hook(hook.name) for hook in fields(Observer)})

    def _hook(self, name: str) -> Callable[..., None]:
        return lambda *arguments: self._queue.put((name, arguments))

    def next(self) -> tuple[str, tuple[object, ...]]:
        """The next report, in bounded time."""
        return self._queue.get(timeout=WAIT_S)

    def nothing(self) -> bool:
        """True when nothing more was reported."""
        try:
            raise AssertionError(self._queue.get_nowait())
        except Empty:
            return True


class Bench:
    """A server with a few scripts, and what its handlers see."""

    def __init__(self) -> None:
        self.seen = Seen()
        self.release = threading.Event()
        self.entered: SimpleQueue[AgiRequest] = SimpleQueue()
        self.due: SimpleQueue[float] = SimpleQueue()
        self.threads: SimpleQueue[threading.Thread] = SimpleQueue()
        self._servers = ExitStack()

    def screen(self, request: AgiRequest, channel: AgiChannel, due: float) -> None:
        """Allow."""
        self.due.put(due)
        self.threads.put(threading.current_thread())
        channel.set_variables(ALLOWED)

    def wait(self, request: AgiRequest, channel: AgiChannel, due: float) -> None:
        """Answer when the test says so."""
        self.entered.put(request)
        assert self.release.wait(WAIT_S)
        channel.set_variables(ALLOWED)

    def fail(self, request: AgiRequest, channel: AgiChannel, due: float) -> None:
        """Be broken."""
        raise RuntimeError("broken handler")

    def mistake(self, request: AgiRequest, channel: AgiChannel, due: float) -> None:
        """Try to send what must not be sent."""
        channel.set_variables({"BMN_NUMBER": request.arguments[0] + '"'})

    def start(self, **changes: object) -> FastAgiServer:
        """A started server on a free port; stopped at the end of the test."""
        settings: dict[str, object] = {
            "listen": ("127.0.0.1", 0),
            "overloaded": lambda request, channel: channel.set_variables(OVERLOADED),
            "failed": lambda request, channel: channel.set_variables(FAILED),
            "observer": self.seen.observer,
            "scripts": {
                "screen": Script(handle=self.screen),
                "wait": Script(handle=self.wait),
                "fail": Script(handle=self.fail),
                "mistake": Script(handle=self.mistake),
                "notice": Script(handle=self.wait, long=True, deadline_ms=60_000),
            },
        }
        server = FastAgiServer(**(settings | changes))  # type: ignore[arg-type]  # a test's choice
        server.start()
        self._servers.callback(server.stop, WAIT_S)
        return server

    def close(self) -> None:
        """Let every handler go and stop every server."""
        self.release.set()
        self._servers.close()


@pytest.fixture
def bench() -> Iterator[Bench]:
    """No server yet."""
    bench = Bench()
    yield bench
    bench.close()


def screen(address: tuple[str, int]) -> dict[str, str]:
    """One screening, with the variables it left."""
    with FakeAsterisk.call(address, "screen", "+31612345678", "energy", "200") as asterisk:
        asterisk.expect_variables(**ALLOWED).confirm().expect_end()
        assert len(asterisk.commands) == 1
        return asterisk.variables


def test_one_screening_is_one_command(bench: Bench) -> None:
    """More would be a round trip each, and a window for a half-set verdict."""
    assert screen(bench.start().address) == ALLOWED
    assert bench.seen.nothing()


def test_an_environment_byte_by_byte_is_served(bench: Bench) -> None:
    """However the stream is cut."""
    with FakeAsterisk.connect(bench.start().address) as asterisk:
        asterisk.send_environment("screen", bytewise=True)
        asterisk.expect_variables(**ALLOWED).reply("HANGUP", "200 result=1", bytewise=True).expect_end()


def test_scripts_are_told_apart_and_an_unknown_one_sets_nothing(bench: Bench) -> None:
    """Asterisk goes on with the variables it emptied before."""
    address = bench.start().address
    with FakeAsterisk.call(address, "scren") as asterisk:
        asterisk.expect_end()
    name, (request,) = bench.seen.next()
    assert (name, isinstance(request, AgiRequest) and request.script) == ("unknown_script", "scren")


@pytest.mark.parametrize("lines", [0, 1, 12, len(environment("screen"))])
def test_a_hangup_at_any_line_of_the_environment_harms_nobody(bench: Bench, lines: int) -> None:
    """The next call is served as ever."""
    address = bench.start(limits=Limits(workers=1)).address
    asterisk = FakeAsterisk.connect(address)
    asterisk.send("".join(f"{line}\n" for line in environment("screen")[:lines]))
    asterisk.hang_up()
    assert screen(address) == ALLOWED
    if lines:
        assert bench.seen.next() == ("hung_up", ("127.0.0.1", None))


def test_a_hangup_during_a_command_harms_nobody(bench: Bench) -> None:
    """Reported as a hang-up, not as a failure, and nothing more is said to a dead line."""
    address = bench.start(limits=Limits(workers=1)).address
    asterisk = FakeAsterisk.call(address, "screen")
    asterisk.expect_variables(**ALLOWED)
    asterisk.hang_up()
    assert bench.seen.next()[0] == "hung_up"
    assert screen(address) == ALLOWED


def test_a_broken_handler_is_reported_and_answered_for(bench: Bench) -> None:
    """The call is blocked, and the worker lives."""
    address = bench.start(limits=Limits(workers=1)).address
    for script in ("fail", "mistake", "fail"):
        with FakeAsterisk.call(address, script, "+31612345678") as asterisk:
            asterisk.expect_variables(**FAILED).confirm().expect_end()
        name, (_, error) = bench.seen.next()
        assert name == "request_failed"
        assert "612345678" not in str(error)
    assert screen(address) == ALLOWED


def test_an_answer_in_its_stead_that_fails_too_ends_the_session_only(bench: Bench) -> None:
    """Nothing is set; the worker lives."""

    def failed(request: AgiRequest, channel: AgiChannel) -> None:
        raise ValueError("broken as well")

    address = bench.start(limits=Limits(workers=1), failed=failed).address
    with FakeAsterisk.call(address, "fail") as asterisk:
        asterisk.expect_end()
    errors = [bench.seen.next()[1][1], bench.seen.next()[1][1]]
    assert [type(error) for error in errors] == [RuntimeError, ValueError]
    assert screen(address) == ALLOWED


def test_a_hook_that_raises_does_not_shrink_the_pool(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a mistake of ours, and must not cost a worker all the same."""
    died: SimpleQueue[threading.ExceptHookArgs] = SimpleQueue()
    monkeypatch.setattr(threading, "excepthook", died.put)

    def break_down(request: AgiRequest) -> None:
        raise RuntimeError("broken hook")

    address = bench.start(limits=Limits(workers=1), observer=Observer(unknown_script=break_down)).address
    with FakeAsterisk.call(address, "scren") as asterisk:
        asterisk.expect_end()
    assert screen(address) == ALLOWED
    assert str(died.get(timeout=WAIT_S).exc_value) == "broken hook"


def test_garbage_is_reported_and_closed(bench: Bench) -> None:
    """A browser, a TLS client, a port scanner."""
    address = bench.start(limits=Limits(workers=1)).address
    with FakeAsterisk.connect(address) as asterisk:
        asterisk.send("GET / HTTP/1.1\nHost: x\n\n")
        asterisk.expect_end()
    assert bench.seen.next()[0] == "protocol_violated"
    assert screen(address) == ALLOWED


def test_a_peer_outside_the_allow_list_is_closed_unheard(bench: Bench) -> None:
    """Whatever it says."""
    address = bench.start(allowed_peers=[ipaddress.ip_network("192.0.2.0/24")]).address
    with FakeAsterisk.connect(address) as asterisk:
        asterisk.send_environment("screen")
        asterisk.expect_end()
    assert bench.seen.next() == ("peer_refused", ("127.0.0.1",))
    assert bench.due.empty()


@pytest.mark.parametrize("host", ["::1", "::"])
def test_ipv6_is_served_and_a_mapped_ipv4_peer_counts_as_ipv4(bench: Bench, host: str) -> None:
    """The allow-list speaks of 127.0.0.0/8 however the connection came in."""
    server = bench.start(listen=(host, 0))
    assert screen(("::1" if host == "::1" else "127.0.0.1", server.address[1])) == ALLOWED


def test_a_worker_serves_many_calls_on_the_same_thread(bench: Bench) -> None:
    """What a thread keeps, such as a Redis connection, stays warm."""
    address = bench.start(limits=Limits(workers=1)).address
    for _ in range(10):
        screen(address)
    assert len({bench.threads.get(timeout=WAIT_S) for _ in range(10)}) == 1


def test_stop_serves_the_backlog_and_frees_the_port(bench: Bench) -> None:
    """What Asterisk has already sent is answered; then the same port can be had at once."""
    server = bench.start(limits=Limits(workers=1))
    address = server.address
    with FakeAsterisk.call(address, "wait") as busy, FakeAsterisk.call(address, "screen") as waiting:
        bench.entered.get(timeout=WAIT_S)
        with ThreadPoolExecutor(1) as pool:
            stopped = pool.submit(server.stop, WAIT_S)
            until(lambda: server.stopping)
            bench.release.set()
            busy.expect_variables(**ALLOWED).confirm().expect_end()
            waiting.expect_variables(**ALLOWED).confirm().expect_end()
            assert stopped.result(WAIT_S) is True
    with pytest.raises(ConnectionRefusedError):
        FakeAsterisk.connect(address)
    again = bench.start(listen=address)
    assert again.address == address
    assert screen(address) == ALLOWED


@pytest.mark.parametrize("script", ["wait", "notice"])
def test_stop_says_when_sessions_did_not_end(bench: Bench, script: str) -> None:
    """The caller decides what then; asked again later, it is true."""
    server = bench.start()
    with FakeAsterisk.call(server.address, script) as asterisk:
        bench.entered.get(timeout=WAIT_S)
        assert server.stop(0.05) is False
        bench.release.set()
        asterisk.expect_variables(**ALLOWED).confirm().expect_end()
        assert server.stop(WAIT_S) is True


def test_an_idle_server_stops_at_once(bench: Bench) -> None:
    """Threads that wait for a connection are woken."""
    server = bench.start()
    began = monotonic()
    assert server.stop(WAIT_S) is True
    assert monotonic() - began < 1


def test_a_port_in_use_is_an_error_of_the_start(bench: Bench) -> None:
    """Not of some thread later."""
    address = bench.start().address
    nobody = FastAgiServer(address, {}, overloaded=lambda *_: None, failed=lambda *_: None)
    with pytest.raises(OSError, match=f"Errno {errno.EADDRINUSE}"):
        nobody.start()


def test_a_server_starts_once(bench: Bench) -> None:
    """A stopped one is thrown away."""
    server = bench.start()
    with pytest.raises(RuntimeError):
        server.start()
    server.stop(WAIT_S)
    with pytest.raises(RuntimeError):
        server.start()
