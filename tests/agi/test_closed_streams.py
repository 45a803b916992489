"""``bmn`` started with a standard stream closed, as a supervisor or an Asterisk that was started so hands them down."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from agent import dialplan_names as names
from tests.agi.fake_asterisk import environment
from tests.agi.test_classic_screen import BMN
from tests.agi.test_screen_script import SCREEN_SETS, Site
from tests.waiting import until

WAIT_S = 20.0
CONFIRMED = "200 result=1\n" * 3


@pytest.fixture
def site(tmp_path: Path, redis_url: str) -> Site:
    """A site with a register, and without the service."""
    site = Site(tmp_path, redis_url, BMN_AGI__CLASSIC_DEADLINE_MS="20000")
    site.load("0611111111\n")
    return site


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_service_without_a_standard_stream_serves(site: Site, closed: str) -> None:
    """It has a place for its log or none; whether calls are screened does not depend on that."""
    with (site.folder / "out").open("wb") as out:
        process = subprocess.Popen(
            ["sh", "-c", f"exec {BMN} serve {closed}"],
            env={**os.environ, **site.environment},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
        )
    try:
        until(lambda: site.records("type = 'agent.started'") or process.poll() is not None, WAIT_S)
        assert process.poll() is None, (site.folder / "out").read_text()
        for number in (0, 1, 2):
            target = str(Path(f"/proc/{process.pid}/fd/{number}").readlink())
            assert target in ("/dev/null", str(site.folder / "out")), "a file of ours where somebody may print"
        process.send_signal(signal.SIGTERM)
        assert process.wait(WAIT_S) == 0
    finally:
        process.kill()
        process.wait()
    assert [record["clean"] for record in site.records("type = 'agent.stopped'")] == [True]


def test_a_classic_script_without_stderr_answers(site: Site) -> None:
    """An Asterisk whose own stderr is closed starts its scripts without one."""
    request = "\n".join([*environment("bmn", "0612349999", "energy", "agent-7", classic=True), "", ""])
    done = subprocess.run(
        ["sh", "-c", f"exec {BMN} agi {names.SCRIPT_SCREEN} 2>&-"],
        env={**os.environ, **site.environment},
        input=request + CONFIRMED,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1].startswith(f'{SCREEN_SETS}"allow,not_registered,')
    assert [record["verdict"] for record in site.records("type = 'call.screened'")] == ["allow"]
