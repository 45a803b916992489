"""Hand-overs that something comes between: another signal, a process or a thread that cannot be had."""

from __future__ import annotations

import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from time import monotonic

import pytest

from deploy.lab.service_manager import Heir, ServiceManager, adopt_orphans
from tests.agi.fake_asterisk import FakeAsterisk
from tests.agi.test_choice_scripts import a_call
from tests.agi.test_metrics_page import MeasuredSite
from tests.agi.test_promised_records import locked
from tests.agi.test_service_life import stopped
from tests.waiting import until

WAIT_S = 30.0
EVERY_S = 0.1

PATCHED = """
import os
heir = "BMN_SUCCEEDS" in os.environ
from agent.entrypoints import cli
{patch}
cli.main()
"""
WAITING = """
import pathlib, time
from agent.entrypoints.cli import serve
bootstrap, folder = serve.bootstrap, pathlib.Path({folder!r})
def wait(*arguments):
    if heir and not (folder / "go").exists():
        (folder / "waits").touch()
        while not (folder / "go").exists():
            time.sleep(0.01)
    return bootstrap(*arguments)
serve.bootstrap = wait
"""
"""A successor that has read its configuration waits until it may go on."""


@pytest.fixture
def manager() -> Iterator[ServiceManager]:
    """Somebody who follows the service from process to process."""
    adopt_orphans()
    with closing(ServiceManager()) as manager:
        yield manager


def a_site(folder: Path, redis_url: str, manager: ServiceManager, patch: str = "") -> MeasuredSite:
    """A service under that manager that is not started yet, with ``patch`` in it and in each successor."""
    site = MeasuredSite(folder, redis_url)
    site.load("0612345678\n")
    site.agent.environment.update(manager.environment)
    site.agent._manager = manager
    site.agent.program = [sys.executable, "-c", PATCHED.format(patch=patch), "serve"]
    return site


def serving(manager: ServiceManager) -> list[int]:
    """The processes that this manager has, whether they say so or not."""
    mine = manager.environment["NOTIFY_SOCKET"].encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mine in (folder / "environ").read_bytes() and b"serve" in (folder / "cmdline").read_bytes().split(b"\0"):
                found.append(int(folder.name))
        except OSError:  # it has ended
            continue
    return found


def is_refused(address: tuple[str, int]) -> bool:
    """Whether nobody has that address any more."""
    try:
        socket.create_connection(address, WAIT_S).close()
    except ConnectionRefusedError:
        return True
    return False


def test_a_stop_right_after_a_hand_over_was_asked_for_stops_both(
    tmp_path: Path, redis_url: str, manager: ServiceManager
) -> None:
    """The successor is not even a process yet when the service is to stop; it must not serve on, unknown to anybody."""
    site = a_site(tmp_path, redis_url, manager)
    with site.agent:
        address = site.address
        site.agent.pause()
        site.agent.send(signal.SIGHUP)
        site.agent.send(signal.SIGTERM)
        site.agent.resume()
        assert site.agent.ended() == 0
        try:
            until(lambda: is_refused(address), WAIT_S)
        finally:
            end_all(manager, 0)
    assert {why for _, why in stopped(site)} == {"SIGTERM"}


def test_a_change_after_the_successor_was_started_is_taken_up_as_well(
    tmp_path: Path, redis_url: str, manager: ServiceManager
) -> None:
    """Asked twice, with a change in between that the first successor has not seen: there is a second one."""
    site = a_site(tmp_path, redis_url, manager, WAITING.format(folder=str(tmp_path)))
    path = tmp_path / "bmn.toml"
    with site.agent:
        first = site.agent.pid
        assert site.screen("0612349999", "new", "agent-7")["BMN_REASON"] == "unknown_campaign"
        site.agent.send(signal.SIGHUP)
        until((tmp_path / "waits").exists, WAIT_S)
        path.write_text(path.read_text() + '[campaigns.new]\nseller = "acme"\npurpose = "research"\n')
        site.agent.send(signal.SIGHUP)
        (tmp_path / "go").touch()
        address = site.address
        try:
            until(lambda: reason(address, "new") == "exempt_research", WAIT_S)
        finally:
            end_all(manager, first)


def reason(address: tuple[str, int], campaign: str) -> str:
    """Of the verdict of a screening."""
    with FakeAsterisk.call(address, "screen", "0612349999", campaign, "agent-7") as asterisk:
        command = asterisk.read_command()
        asterisk.send("200 result=1\n")
    return command.split('"')[1].split(",")[1]


def end_all(manager: ServiceManager, first: int) -> None:
    """End every successor that there was."""
    for pid in serving(manager):
        if pid != first:
            heir = Heir(pid)
            heir.kill()
            until(lambda: heir.poll() is not None)  # noqa: B023  # asked at once


NO_DESCRIPTOR = """
import errno
def refuse(pid):
    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
if not heir:
    os.pidfd_open = refuse
"""
NO_THREAD = """
import threading
start = threading.Thread.start
def refuse(self):
    if self.name == "successor" and not heir:
        raise RuntimeError("can't start new thread")
    start(self)
threading.Thread.start = refuse
"""


@pytest.mark.parametrize("patch", [NO_DESCRIPTOR, NO_THREAD], ids=["no descriptor", "no thread"])
def test_what_is_missing_in_the_moment_of_a_hand_over_leaves_one_service(
    tmp_path: Path, redis_url: str, manager: ServiceManager, patch: str
) -> None:
    """The old one or the new one, and never both on one socket for good, half of the calls by old rules."""
    site = a_site(tmp_path, redis_url, manager, patch)
    with site.agent:
        address, first = site.address, site.agent.pid
        site.agent.send(signal.SIGHUP)
        try:
            until(lambda: manager.count("READY") >= 2, WAIT_S)
            until(lambda: len(serving(manager)) == 1, WAIT_S)
            assert (manager.main_pid() or first) == serving(manager)[0]
            assert reason(address, "energy") == "not_registered"
        finally:
            end_all(manager, first)


def test_a_successor_that_does_not_come_to_its_start_has_taken_nothing(
    tmp_path: Path, redis_url: str, manager: ServiceManager
) -> None:
    """The journal is locked for longer than it waits to record its start: every end is the old one's to keep."""
    site = a_site(tmp_path, redis_url, manager)
    with site.agent:
        calls = [a_call(site, f"06123400{number:02}") for number in range(40)]
        left, sent_at = iter(calls), [0.0]

        def sent_until_it_failed() -> bool:
            if monotonic() >= sent_at[0] + EVERY_S and (call := next(left, None)) is not None:
                sent_at[0] = monotonic()
                FakeAsterisk.call(site.address, "finish", call, "ANSWER", "31", "16", "2", "consumer").hang_up()
            return bool(site.agent.logged("agent.handover_failed"))

        with locked(tmp_path / "journal.db"):
            site.agent.send(signal.SIGHUP)
            until(sent_until_it_failed, WAIT_S)
        unsent = set(left)
        sent = [call for call in calls if call not in unsent]
        until(lambda: len(site.records("type = 'call.finished'")) == len(sent), WAIT_S)
        assert site.agent.stop() == 0
    assert {record["call"] for record in site.records("type = 'call.finished'")} == set(sent)
