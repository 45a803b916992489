"""A classic AGI script that Asterisk is done with, or whose stderr nobody reads, while it still has something to do."""

from __future__ import annotations

import os
import select
import signal
import subprocess
from contextlib import closing
from pathlib import Path

import pytest
import redis

from agent import dialplan_names as names
from deploy.lab.agent_service import bmn
from tests.agi.fake_asterisk import environment
from tests.agi.test_classic_screen import BMN
from tests.agi.test_promised_records import ends, locked
from tests.agi.test_screen_script import SCREEN_SETS, Site
from tests.unit.test_line_writer import Pipe
from tests.waiting import until

WAIT_S = 30.0


@pytest.fixture
def site(tmp_path: Path, redis_url: str) -> Site:
    """A site with a register, and without the service."""
    site = Site(tmp_path, redis_url, BMN_AGI__CLASSIC_DEADLINE_MS="20000")
    site.load("0611111111\n")
    return site


def script(site: Site, name: str, *arguments: str, errors: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
    """A script that was started, and has its whole session to read."""
    process = subprocess.Popen(
        [BMN, "agi", name],
        env={**os.environ, **site.environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
    )
    assert process.stdin is not None
    process.stdin.write(("\n".join([*environment("bmn", *arguments, classic=True), "", ""])).encode())
    process.stdin.write(b"200 result=1\n" * 3)
    process.stdin.flush()
    return process


def said(process: subprocess.Popen[bytes]) -> str:
    """All that it says, until it ends its output; empty when it does not end that in time."""
    assert process.stdout is not None
    text = b""
    while select.select([process.stdout], [], [], WAIT_S)[0]:
        if not (data := os.read(process.stdout.fileno(), 65536)):
            return text.decode()
        text += data
    return ""


def closed(process: subprocess.Popen[bytes]) -> None:
    """Let it go."""
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with closing(stream):
                pass


def a_call(site: Site) -> str:
    """The id of a call that may be dialled."""
    process = script(site, names.SCRIPT_SCREEN, "0612349999", "energy", "agent-7")
    try:
        verdict = said(process).splitlines()[-1]
        process.wait(WAIT_S)
    finally:
        closed(process)
    assert verdict.startswith(f'{SCREEN_SETS}"allow,')
    return verdict.split(",")[-2]


def test_a_hangup_after_the_session_does_not_lose_what_was_promised(site: Site) -> None:
    """Asterisk sends SIGHUP when the session is over (AGISIGHUP), while the end of the call waits for the disk."""
    call_id = a_call(site)
    with locked(site.folder / "journal.db"):
        process = script(site, names.SCRIPT_FINISH, call_id, "ANSWER", "31", "16", "2", "consumer")
        assert said(process) == ""
        process.send_signal(signal.SIGHUP)
    try:
        assert process.wait(WAIT_S) == 0
    finally:
        closed(process)
    assert [one["call"] for one in ends(site)] == [call_id]


def test_a_hangup_before_the_session_does_not_lose_its_end(site: Site) -> None:
    """While the process is still being started: what Asterisk has to say is in the pipe already."""
    call_id = a_call(site)
    process = script(site, names.SCRIPT_FINISH, call_id, "ANSWER", "31", "16", "2", "consumer")
    try:
        until(lambda: "asterisk/agi" in loaded(process.pid) or "sqlite" in loaded(process.pid), WAIT_S)
        process.send_signal(signal.SIGHUP)
        assert process.wait(WAIT_S) == 0
    finally:
        closed(process)
    assert [one["call"] for one in ends(site)] == [call_id]


def loaded(pid: int) -> str:
    """What a process has mapped."""
    return Path(f"/proc/{pid}/maps").read_text()


def test_what_is_logged_in_a_session_makes_no_call_wait(site: Site, redis_url: str) -> None:
    """Redis has lost its lists, which is said at once: to a pipe that is full, and that nobody reads."""
    bmn("optout", "add", "0612340001", "--seller", "acme", environment=site.environment)
    with redis.Redis.from_url(redis_url) as client:
        for key in client.scan_iter("*"):
            if b"optout" in key or b":s:" in key:
                client.delete(key)
    with closing(Pipe()) as pipe:
        pipe.fill()
        process = script(site, names.SCRIPT_SCREEN, "0612340001", "energy", "agent-7", errors=pipe.writing)
        try:
            assert said(process).splitlines()[-1].startswith(SCREEN_SETS)
            process.wait(WAIT_S)  # nor does the process stay, one for each call
        finally:
            closed(process)
