"""Whoever reads the log of ``bmn serve``, or does not: no call waits for them, and what they missed is said."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from agent import dialplan_names as names
from deploy.lab.agent_service import AgentService
from tests.agi.fake_asterisk import FakeAsterisk, environment
from tests.agi.test_choice_scripts import a_call, press
from tests.agi.test_metrics_page import MeasuredSite
from tests.agi.test_screen_script import SCREEN_SETS
from tests.unit.test_line_writer import Pipe
from tests.waiting import until

WAIT_S = 20.0
CALLS = 40


class PipedService(AgentService):
    """A service whose stdout and stderr are given, so that its log cannot be looked at."""

    output: int | Any = subprocess.DEVNULL

    def start(self) -> None:
        """Start it and wait until it listens."""
        self._process = subprocess.Popen(
            self.program,
            env={**os.environ, **self.environment},
            stdin=subprocess.DEVNULL,
            stdout=self.output,
            stderr=self.output,
        )
        until(self._listens, WAIT_S)

    def _listens(self) -> bool:
        host, port = self.environment["BMN_AGI_LISTEN"].split(":")
        with socket.socket() as probe:
            return probe.connect_ex((host, int(port))) == 0


class PipedSite(MeasuredSite):
    """On addresses that are chosen beforehand."""

    def __init__(self, folder: Path, redis_url: str, output: Any, **settings: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
            self._agi: tuple[str, int] = one.getsockname()
            self._page: tuple[str, int] = other.getsockname()
        super().__init__(
            folder,
            redis_url,
            BMN_AGI_LISTEN="{}:{}".format(*self._agi),
            BMN_METRICS__LISTEN="{}:{}".format(*self._page),
            **settings,
        )
        self.agent = PipedService(folder, self.environment)
        self.agent.output = output
        self.load("0612345678\n")

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        return self._agi

    @property
    def metrics_address(self) -> tuple[str, int]:
        """Where it tells."""
        return self._page

    def call_often(self) -> Counter[str]:
        """Forty screenings on eight lines; their verdicts."""
        with ThreadPoolExecutor(8) as lines:
            verdicts = lines.map(lambda _: self.screen("0612349999", "energy", "agent-7"), range(CALLS))
            return Counter(verdict["BMN_VERDICT"] for verdict in verdicts)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    """Nobody reads it yet."""
    with closing(Pipe()) as pipe:
        yield pipe


def lines_of(text: str, event: str) -> list[dict[str, Any]]:
    """The lines of one event."""
    entries = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    return [entry for entry in entries if entry["event"] == event]


def test_a_reader_who_stalls_decides_about_no_call(tmp_path: Path, redis_url: str, pipe: Pipe) -> None:
    """A full pipe that nobody reads: journald that hangs, a pager. All is answered, and each line is there later."""
    dots = pipe.fill()
    site = PipedSite(tmp_path, redis_url, pipe.writing)
    with site.agent:
        assert site.call_often() == {"allow": CALLS}
        assert press(site, a_call(site), "offered") == "recorded"
        with FakeAsterisk.call(site.address, names.SCRIPT_HEALTH) as asterisk:
            asterisk.expect_variables(BMN_HEALTH="ok").confirm()
        site.wait_for("bmn_verdicts_total", {("energy", "not_registered", "allow"): CALLS + 1})
        assert site.values("bmn_log_lines_dropped_total") == {}
        text = pipe.read('"key.pressed"')[dots:]
        assert site.agent.stop() == 0
        text += pipe.read('"agent.stopped"')
    screened = lines_of(text, "call.screened")
    assert len(screened) == len({line["call"] for line in screened}) == CALLS + 1
    assert lines_of(text, "log.dropped") == []


def test_what_finds_no_room_is_dropped_and_said_once_it_flows_again(tmp_path: Path, redis_url: str, pipe: Pipe) -> None:
    """In the metrics at once; the line that says it is the first one to be taken after that."""
    dots = pipe.fill()
    site = PipedSite(tmp_path, redis_url, pipe.writing)
    code = "from agent.entrypoints import cli, time_limits; time_limits.LOG_LINES = 5; cli.main()"
    site.agent.program = [sys.executable, "-c", code, "serve"]
    with site.agent:
        assert site.call_often() == {"allow": CALLS}
        site.wait_for("bmn_verdicts_total", {("energy", "not_registered", "allow"): CALLS})
        dropped = int(site.values("bmn_log_lines_dropped_total")[()])
        assert 0 < dropped < CALLS
        text = pipe.read('"log.dropped"')[dots:]
        assert site.agent.stop() == 0
        text += pipe.read('"agent.stopped"')
    (line,) = lines_of(text, "log.dropped")
    assert (line["count"], line["level"]) == (dropped, "warning")
    # Nothing is gone that was not counted. A line of another kind may be among what was dropped.
    assert CALLS - dropped <= len(lines_of(text, "call.screened")) < CALLS


def test_a_reader_who_left_decides_about_no_call(tmp_path: Path, redis_url: str, pipe: Pipe) -> None:
    """A broken pipe; it ends without complaint, and is recorded."""
    site = PipedSite(tmp_path, redis_url, pipe.writing)
    with site.agent:
        pipe.close_reader()
        assert site.call_often() == {"allow": CALLS}
        until(lambda: site.values("bmn_log_lines_dropped_total").get((), 0) >= CALLS, WAIT_S)
        assert site.agent.stop() == 0
    assert [record["clean"] for record in site.records("type = 'agent.stopped'")] == [True]


def test_a_full_disk_under_the_log_decides_about_no_call(tmp_path: Path, redis_url: str) -> None:
    """The device that is always full."""
    with Path("/dev/full").open("wb") as full:
        site = PipedSite(tmp_path, redis_url, full)
        with site.agent:
            assert site.call_often() == {"allow": CALLS}
            assert site.agent.stop() == 0


def test_a_service_ends_though_nobody_takes_its_last_lines(tmp_path: Path, redis_url: str, pipe: Pipe) -> None:
    """In bounded time, with its record."""
    pipe.fill()
    site = PipedSite(tmp_path, redis_url, pipe.writing)
    with site.agent:
        assert site.call_often() == {"allow": CALLS}
        assert site.agent.stop() == 0
    assert [record["clean"] for record in site.records("type = 'agent.stopped'")] == [True]


def test_a_classic_script_whose_stderr_is_full_answers_and_ends_well(tmp_path: Path, redis_url: str) -> None:
    """A line that cannot be written is no failure of the screening."""
    site = MeasuredSite(tmp_path, redis_url)
    site.load("0612345678\n")
    lines = environment("bmn", "0612349999", "energy", "agent-1", classic=True)
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [*site.agent.program[:1], "agi", "screen"],
            env={**os.environ, **site.environment},
            input="\n".join([*lines, "", ""]) + "200 result=1\n" * 3,
            stdout=subprocess.PIPE,
            stderr=full,
            text=True,
            timeout=WAIT_S,
        )
    assert done.stdout.count("SET VARIABLE") == 1
    assert SCREEN_SETS + '"allow,' in done.stdout
    assert done.returncode == 0
    assert [record["verdict"] for record in site.records("type = 'call.screened'")] == ["allow"]


HANGING_SINK = """
import threading
from agent.adapters.line_writer import LineWriter
from agent.entrypoints import cli
put = LineWriter.put
def hang(self, text):
    if '"agent.' not in text:
        threading.Event().wait()
    put(self, text)
LineWriter.put = hang
cli.main()
"""


def test_a_session_is_over_before_anything_is_logged_of_it(tmp_path: Path, redis_url: str) -> None:
    """Of each script, and of each way in which a session goes wrong: whoever logs hangs, and Asterisk goes on."""
    site = MeasuredSite(tmp_path, redis_url, BMN_AGI__WORKERS="32", BMN_AGI__SHUTDOWN_GRACE_MS="1")
    site.agent.program = [sys.executable, "-c", HANGING_SINK, "serve"]
    with site.agent:
        with FakeAsterisk.call(site.address, names.SCRIPT_HEALTH) as asterisk:
            asterisk.expect_variables(BMN_HEALTH="degraded").confirm()  # which is logged
        site.load("0612345678\n")
        call, passed_on = screened(site), screened(site)
        for script, *arguments in (
            (names.SCRIPT_KEY, call, "offered", names.CONNECTED),
            (names.SCRIPT_NOTICE, call),
            (names.SCRIPT_FINISH, call, "ANSWER", "12", "16", "2", "consumer"),
            (names.SCRIPT_FINISH, passed_on, "ANSWER", "12", "16", "2", "transferred"),
            (names.SCRIPT_LEFT, passed_on, "consumer"),
            ("nonsense",),
        ):
            with FakeAsterisk.call(site.address, script, *arguments) as asterisk:
                while asterisk.next_command():
                    asterisk.send("200 result=0\n" if script == names.SCRIPT_NOTICE else "200 result=1\n")
        recorded = Counter(record["call"] for record in site.records("type IN ('call.finished', 'notice.played')"))
        assert recorded == {call: 2, passed_on: 2}, "each of them had something to say"
        for reply in (
            "510 Invalid or unknown command\n",
            "511 Command Not Permitted on a dead channel\n",
            "nonsense\n",
        ):
            with FakeAsterisk.call(site.address, names.SCRIPT_SCREEN, "0612349999", "energy", "agent-7") as asterisk:
                asterisk.read_command()
                asterisk.send(reply)
                asterisk.expect_end()
        for request in ("GET / HTTP/1.1\n\n", "agi_request: yes\n\n", "agi_network: yes\nnonsense\n\n"):
            with FakeAsterisk.connect(site.address) as asterisk:
                asterisk.send(request)
                asterisk.expect_end()


def screened(site: MeasuredSite) -> str:
    """An allowed call; its id."""
    with FakeAsterisk.call(site.address, names.SCRIPT_SCREEN, "0612349999", "energy", "agent-7") as asterisk:
        command = asterisk.read_command()
        asterisk.send("200 result=1\n")
        asterisk.expect_end()
    return command.strip('"').split(",")[-2]


NASTY = """
from agent.entrypoints import cli, service
from agent.outbox import Outbox
class Nasty(Exception):
    def __str__(self):
        raise RuntimeError("not even its text can be had")
drain, failures = Outbox.drain, iter(range(3))
def fail(self, progress=None):
    if next(failures, None) is not None:
        raise Nasty
    return drain(self, progress)
Outbox.drain = fail
cli.main()
"""


def test_the_upkeep_outlives_what_its_own_handlers_raise(tmp_path: Path, redis_url: str) -> None:
    """An error whose text is an error ended the thread, and with it all that Redis heard of other processes."""
    site = MeasuredSite(tmp_path, redis_url)
    site.agent.program = [sys.executable, "-c", NASTY, "serve"]
    site.load("0612345678\n")
    with site.agent:
        assert until(lambda: site.agent.logged("outbox.drained"), WAIT_S)
        assert len(site.agent.log("thread.failed")) + len(site.agent.log("outbox.blocked")) == 1


BROKEN_THREAD = """
import threading
from agent.entrypoints import cli, service
started = service.Service._record_start
def break_down():
    raise ValueError("for 0612345678")
def start(self, *arguments):
    started(self, *arguments)
    threading.Thread(target=break_down, name="spare").start()
service.Service._record_start = start
cli.main()
"""


def test_a_thread_that_dies_is_in_the_log_without_numbers(tmp_path: Path, redis_url: str) -> None:
    """And not on stderr, which somebody may have stopped reading."""
    site = MeasuredSite(tmp_path, redis_url)
    site.agent.program = [sys.executable, "-c", BROKEN_THREAD, "serve"]
    with site.agent:
        (line,) = until(lambda: site.agent.logged("thread.failed"), WAIT_S)
        assert (line["thread"], "ValueError" in line["exception"]) == ("spare", True)
        assert "0612345678" not in site.agent.log_path.read_text()
