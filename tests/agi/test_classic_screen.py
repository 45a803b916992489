"""``bmn agi screen`` as Asterisk starts it: the start of the process counts, and Asterisk is asked before."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from agent import dialplan_names as names
from agent.adapters.process_age import process_age_s
from tests.agi.fake_asterisk import FakeAsterisk, environment
from tests.agi.fault_table import Line, run
from tests.agi.test_screen_script import Site

BMN = str(Path(sys.executable).parent / "bmn")
WAIT_S = 30.0
ROOT = Path(__file__).parents[2]


class Script:
    """One started script, and the Asterisk that waits for it."""

    def __init__(self, site: Site, number: str, program: tuple[str, ...] = (BMN, "agi", "screen")) -> None:
        self.process = subprocess.Popen(
            program,
            env={**os.environ, **site.environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        stdin, stdout, self.stderr = self.process.stdin, self.process.stdout, self.process.stderr

        def hang_up() -> None:
            stdin.close()
            stdout.close()

        self.asterisk = FakeAsterisk(stdout.fileno(), stdin.fileno(), hang_up)
        self.line = Line(self.asterisk, environment("bmn", number, "energy", "agent-7", classic=True))

    def log(self) -> list[str]:
        """The names of the events that it logged, once it has ended."""
        with self.stderr:
            text = self.stderr.read().decode()
        self.process.wait(WAIT_S)
        return [line.split('"event": "')[1].split('"')[0] for line in text.splitlines()]


@pytest.fixture
def site(tmp_path: Path, redis_url: str) -> Site:
    """A site with a register, and without the service."""
    site = Site(tmp_path, redis_url, BMN_AGI__CLASSIC_DEADLINE_MS="20000")
    site.load("0611111111\n")
    return site


@pytest.fixture
def screen(site: Site) -> Iterator[Callable[..., Script]]:
    """Starts the script."""
    scripts: list[Script] = []

    def start(number: str, **settings: str) -> Script:
        site.environment.update(settings)
        scripts.append(Script(site, number))
        return scripts[-1]

    yield start
    for script in scripts:
        script.asterisk.hang_up()
        script.process.kill()
        script.process.wait(WAIT_S)
        script.stderr.close()


def verdicts(site: Site) -> list[Any]:
    """Verdict and reason of each screening in the journal."""
    return [(one["verdict"], one["reason"]) for one in site.records("type = 'call.screened'")]


def test_an_allow_is_asked_for_recorded_told_and_over(site: Site, screen: Callable[..., Script]) -> None:
    """Asterisk sees the end of the session although the process has not ended."""
    script = screen("0612349999")
    script.line.begin(whole=True)
    script.asterisk.expect("CHANNEL STATUS")
    assert verdicts(site) == []
    script.asterisk.send("200 result=4\n")
    command = script.asterisk.read_command()
    assert command.startswith("SET VARIABLE ARRAY(BMN_VERDICT")
    assert verdicts(site) == [("allow", "not_registered")]
    script.asterisk.send("200 result=1\n")
    script.asterisk.expect_end()
    assert script.log() == ["call.screened"]
    assert site.records("type = 'verdict.undelivered'") == []


def test_an_asterisk_that_has_given_up_leaves_no_allow(site: Site, screen: Callable[..., Script]) -> None:
    """It was told by the end of its pipes, while the process was starting."""
    script = screen("0612349999")
    script.line.begin(whole=True)
    script.asterisk.hang_up()
    assert script.log() == ["call.screened", "session.aborted"]
    assert verdicts(site) == [("block", "undelivered")]
    assert site.records("type = 'verdict.undelivered'") == []


def test_a_channel_that_is_dead_gets_no_allow(site: Site, screen: Callable[..., Script]) -> None:
    """Though its session goes on: it would take the variables, and dial nothing."""
    script = screen("0612349999")
    script.line.begin(whole=True)
    script.asterisk.expect("CHANNEL STATUS").reply(
        "511 Command Not Permitted on a dead channel or intercept routine"
    ).expect_end()
    assert script.log() == ["call.screened", "session.aborted"]
    assert verdicts(site) == [("block", "undelivered")]


def test_a_script_that_took_its_whole_time_to_start_blocks(site: Site, screen: Callable[..., Script]) -> None:
    """A millisecond is over before Python has loaded anything; the reason is that of a machine that is too busy."""
    script = screen("0612349999", BMN_AGI__CLASSIC_DEADLINE_MS="1")
    assert run(script.line).line.confirmed["BMN_REASON"] == "overloaded"
    assert script.log() == ["call.screened", "request.overdue"]
    assert verdicts(site) == [("block", "overloaded")]


def test_a_key_is_not_too_late_because_the_process_was(site: Site, screen: Callable[..., Script]) -> None:
    """What somebody said counts whenever it came: only the time of its own work is limited."""
    call = run(screen("0612349999").line).line.confirmed["BMN_CALL"]
    script = Script(site, "", (BMN, "agi", "key"))
    script.line = Line(script.asterisk, environment("bmn", call, "offered", names.CONNECTED, classic=True))
    assert run(script.line).line.confirmed == {"BMN_KEY_RESULT": "recorded"}
    assert script.log() == ["key.pressed"]


def test_sixteen_at_once_leave_as_many_allows_as_asterisk_got(site: Site) -> None:
    """Asterisk gives up after 3 seconds, as the dialplan has it. Every allow on record is one that it has."""
    del site.environment["BMN_AGI__CLASSIC_DEADLINE_MS"]
    with ThreadPoolExecutor(16) as pool:
        scripts = [Script(site, f"06123490{serial:02d}") for serial in range(16)]
        sessions = list(pool.map(lambda script: run(script.line, gives_up_s=3.0), scripts))
        for script in scripts:
            script.log()
    had = {line.fake.variables["BMN_CALL"] for line in (one.line for one in sessions) if line.dials}
    lost = {one["call"] for one in site.records("type = 'verdict.undelivered'")}
    allowed = {one["call"] for one in site.records("type = 'call.screened' AND verdict = 'allow'")}
    assert len(verdicts(site)) == 16
    assert allowed - lost == had


def test_the_age_of_a_process_counts_from_before_it_became_another_program() -> None:
    """As a script does that a shell script has started: the shell's time counts."""
    began = monotonic()
    program = f"read go; exec {sys.executable} -c 'from agent.adapters.process_age import *; print(process_age_s())'"
    with subprocess.Popen(
        ["sh", "-c", program], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        started = monotonic()
        subprocess.run([sys.executable, "-c", ""], check=True)  # some time
        passed = monotonic() - started
        out, _ = process.communicate("go\n", timeout=WAIT_S)
    assert passed <= float(out) <= monotonic() - began + 0.02
    assert process_age_s() > passed
