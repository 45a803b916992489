"""The classic AGI script as Asterisk starts it: a process, two pipes and two signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.adapters.agi_channel import AgiChannel
from agent.adapters.agi_values import AgiRequest
from agent.entrypoints.classic_agi import run_classic
from tests.agi.fake_asterisk import FakeAsterisk, environment

ROOT = Path(__file__).parents[2]
WAIT_S = 5.0

SCRIPT = """
import sys
from agent.entrypoints.classic_agi import run_classic
from agent.entrypoints.agi_session import Observer

def screen(request, channel, due):
    channel.set_variables({"VERDICT": "allow", "NUMBER": request.arguments[0]})

def fail(request, channel, due):
    raise RuntimeError("broken handler")

def twice(request, channel, due):
    channel.noop()
    channel.set_variables({"HUNG_UP": "yes" if channel.hung_up else "no"})

def failed(request, channel):
    channel.set_variables({"VERDICT": "block"})

def tell(what):
    return lambda *arguments: print(what, arguments[0], file=sys.stderr, flush=True)

seen = Observer(hung_up=tell("hung_up"), session_timed_out=tell("timed_out"), protocol_violated=tell("violated"))
handler = {"screen": screen, "fail": fail, "twice": twice}[sys.argv[1]]
sys.exit(0 if run_classic(handler, failed=failed, read_timeout_ms=float(sys.argv[2]), observer=seen) else 1)
"""


class Script:
    """A running script and the Asterisk that started it."""

    def __init__(self, handler: str, read_timeout_ms: int) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, handler, str(read_timeout_ms)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.stdin, self.stdout = self.process.stdin, self.process.stdout
        self.asterisk = FakeAsterisk(self.stdout.fileno(), self.stdin.fileno(), self.hang_up)
        self.variables = self.asterisk.variables

    def hang_up(self) -> None:
        """Drop both pipes."""
        self.stdin.close()
        self.stdout.close()

    def send_environment(self, *arguments: str, bytewise: bool = False) -> None:
        """As Asterisk does for a script on this machine."""
        lines = environment("/var/lib/asterisk/agi-bin/screen", *arguments, classic=True)
        self.asterisk.send("\n".join([*lines, "", ""]), bytewise=bytewise)

    def end(self) -> tuple[int, str]:
        """The exit status and everything written to stderr, in bounded time."""
        assert self.process.stderr is not None
        status = self.process.wait(WAIT_S)
        return status, self.process.stderr.read().decode()

    def close(self) -> None:
        """Leave nothing running."""
        self.process.kill()
        self.process.wait(WAIT_S)
        self.asterisk.hang_up()
        assert self.process.stderr is not None
        self.process.stderr.close()


@pytest.fixture
def start() -> Iterator[Callable[..., Script]]:
    """Starts a script with one of its handlers."""
    scripts: list[Script] = []

    def start(handler: str, read_timeout_ms: int = 5000) -> Script:
        scripts.append(Script(handler, read_timeout_ms))
        return scripts[-1]

    yield start
    for script in scripts:
        script.close()


@pytest.mark.parametrize("bytewise", [False, True])
def test_a_classic_script_is_served_in_one_command(start: Callable[..., Script], bytewise: bool) -> None:
    """The same handler as over FastAGI, and not a word on stderr."""
    script = start("screen")
    script.send_environment("+31612345678", bytewise=bytewise)
    script.asterisk.expect_variables(VERDICT="allow", NUMBER="+31612345678").reply("200 result=1", bytewise=bytewise)
    script.asterisk.expect_end()
    assert script.variables == {"VERDICT": "allow", "NUMBER": "+31612345678"}
    assert script.end() == (0, "")


def test_a_broken_handler_is_answered_for(start: Callable[..., Script]) -> None:
    """The call is blocked."""
    script = start("fail")
    script.send_environment()
    script.asterisk.expect_variables(VERDICT="block").confirm().expect_end()
    assert script.end() == (1, "")


def test_sighup_marks_a_hangup_and_the_answer_still_counts(start: Callable[..., Script]) -> None:
    """Unhandled it would kill the process between two writes."""
    script = start("twice")
    script.send_environment()
    pending = script.asterisk.expect("NOOP")
    script.process.send_signal(signal.SIGHUP)
    pending.reply("200 result=0")
    script.asterisk.expect_variables(HUNG_UP="yes").confirm().expect_end()
    assert script.end() == (0, "")


@pytest.mark.parametrize("lines", [0, 1, 12, len(environment("x", classic=True))])
def test_a_hangup_at_any_line_of_the_environment_ends_the_script(start: Callable[..., Script], lines: int) -> None:
    """Without a traceback."""
    script = start("screen")
    script.asterisk.send("".join(f"{line}\n" for line in environment("x", classic=True)[:lines]) or "agi")
    script.asterisk.hang_up()
    assert script.end() == (1, "hung_up stdin\n")


def test_a_closed_pipe_ends_the_script(start: Callable[..., Script]) -> None:
    """SIGPIPE neither kills it silently nor leaves a traceback; here Asterisk goes away between two commands."""
    script = start("twice")
    script.send_environment()
    pending = script.asterisk.expect("NOOP")
    script.stdout.close()
    pending.reply("200 result=0")
    assert script.end() == (1, "hung_up stdin\n")


def test_an_asterisk_that_says_nothing_is_not_waited_for_without_end(start: Callable[..., Script]) -> None:
    """Scripts must not pile up."""
    assert start("screen", 100).end() == (1, "timed_out stdin\n")


def test_garbage_ends_the_script(start: Callable[..., Script]) -> None:
    """Somebody runs it by hand."""
    script = start("screen")
    script.asterisk.send("hello\n\n")
    assert script.end() == (1, "violated stdin\n")


def test_the_signal_handlers_are_put_back() -> None:
    """The command line has its own."""
    before = [signal.getsignal(number) for number in (signal.SIGHUP, signal.SIGPIPE)]
    incoming, asterisk_out = os.pipe()
    asterisk_in, outgoing = os.pipe()
    due: list[float] = []

    def screen(request: AgiRequest, channel: AgiChannel, when: float) -> None:
        due.append(when)
        channel.set_variables({"A": "x"})

    asterisk = FakeAsterisk(asterisk_in, asterisk_out, lambda: None)
    with os.fdopen(incoming, "rb") as stdin, os.fdopen(outgoing, "wb") as stdout:
        asterisk.send("\n".join([*environment("x", classic=True), "", "200 result=1\n"]))
        assert run_classic(screen, stdin, stdout, failed=lambda request, channel: None)
    asterisk.expect_variables(A="x")
    asterisk.expect_end()
    os.close(asterisk_in)
    os.close(asterisk_out)
    assert len(due) == 1
    assert [signal.getsignal(number) for number in (signal.SIGHUP, signal.SIGPIPE)] == before
