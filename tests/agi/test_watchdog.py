"""A service that stops serving ends, or is ended: workers that hang, signs of life, what is loaded beforehand."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from time import monotonic

import pytest

from agent import dialplan_names as names
from deploy.lab.agent_service import AgentService
from deploy.lab.redis_server import PrivateRedis
from deploy.lab.service_manager import ServiceManager
from tests.agi.fake_asterisk import FakeAsterisk
from tests.agi.test_choice_scripts import a_call, conduct, press
from tests.agi.test_metrics_page import MeasuredSite, finish
from tests.agi.test_service_life import in_the_notice
from tests.waiting import until

WAIT_S = 20.0
SOON = {"BMN_AGI__SHUTDOWN_GRACE_MS": "100"}
HANG = """
import threading, time
from agent.entrypoints import cli, time_limits
from agent.screening import Screening
time_limits.STUCK_DEADLINES, time_limits.STUCK_MARGIN_S = {deadlines}, {margin_s}
given_back = threading.Event()
screen = Screening.screen
def hang(self, request, *arguments):
    if request.number.startswith("hang"):
        given_back.wait()
    return screen(self, request, *arguments)
Screening.screen = hang
cli.main()
"""
"""A screening of ``hang…`` never ends, as with a lock that nobody gives back."""


@pytest.fixture
def manager() -> Iterator[ServiceManager]:
    """Somebody who hears what the service says."""
    with closing(ServiceManager()) as manager:
        yield manager


def pass_s(seconds: float) -> None:
    """Wait so long to see that something does not happen."""
    until(partial(passed, monotonic() + seconds), seconds + 5)


def passed(at: float) -> bool:
    """Whether it is later than that."""
    return monotonic() > at


def patched(
    folder: Path, redis_url: str, code: str, manager: ServiceManager | None = None, **settings: str
) -> MeasuredSite:
    """A service, not started yet, that begins with ``code``; it has a register and four workers."""
    site = MeasuredSite(folder, redis_url, BMN_AGI__WORKERS="4", BMN_AGI__DEADLINE_MS="500", **settings)
    site.agent = AgentService(folder, site.environment, manager)
    site.agent.program = [sys.executable, "-c", code, "serve"]
    site.load("0612345678\n")
    return site


def hang(site: MeasuredSite, serial: int) -> FakeAsterisk:
    """A call whose screening never ends."""
    return FakeAsterisk.call(site.address, names.SCRIPT_SCREEN, f"hang{serial}", "energy", "agent-7")


def test_workers_that_hang_are_replaced_until_half_of_them_do(tmp_path: Path, redis_url: str) -> None:
    """The first costs nobody anything; the second, of four, ends the service with its own exit code and its records."""
    site = patched(tmp_path, redis_url, HANG.format(deadlines=1, margin_s=0))
    with site.agent:
        first = hang(site, 1)
        (line,) = until(lambda: site.agent.logged("worker.stuck"), WAIT_S)
        assert (line["script"], line["level"]) == ("screen", "error")
        assert "hang (<string>:" in line["where"]
        site.wait_for("bmn_agi_workers_stuck_total", {(): 1})
        for _ in range(10):
            assert site.screen("0612349999", "energy", "agent-7")["BMN_VERDICT"] == "allow"
        second = hang(site, 2)
        assert site.agent.ended() == 5
        for asterisk in (first, second):
            asterisk.hang_up()
    (stopping,) = site.agent.log("agent.stopping")
    assert (stopping["why"], stopping["level"]) == ("2 of 4 workers are stuck", "error")
    assert [(record["clean"], record["why"]) for record in site.records("type = 'agent.stopped'")] == [
        (False, "2 of 4 workers are stuck")
    ]


def test_a_process_that_was_paused_is_not_stuck(tmp_path: Path, redis_url: str) -> None:
    """Nobody worked meanwhile: a machine that slept must not lose its service when it wakes."""
    site = patched(tmp_path, redis_url, HANG.format(deadlines=1, margin_s=2))
    with site.agent:
        with FakeAsterisk.call(site.address, names.SCRIPT_SCREEN, "0612349999", "energy", "agent-7") as asterisk:
            asterisk.read_command()
            site.agent.pause()
            pass_s(3.5)
            site.agent.resume()
            asterisk.hang_up()
        assert site.screen("0612349999", "energy", "agent-7")["BMN_VERDICT"] == "allow"
        assert site.agent.stop() == 0
    assert site.agent.log("worker.stuck") == []


def test_signs_of_life_are_given_while_the_pool_serves(tmp_path: Path, redis_url: str, manager: ServiceManager) -> None:
    """Again and again, also when Redis is away; none when all workers hang, and the log says so once."""
    site = patched(
        tmp_path, redis_url, HANG.format(deadlines=1000, margin_s=1000), manager, WATCHDOG_USEC="900000", **SOON
    )
    with site.agent:
        until(lambda: manager.count("WATCHDOG") >= 3, WAIT_S)
        calls = [hang(site, serial) for serial in range(4)]
        until(lambda: site.agent.logged("watchdog.withheld"), WAIT_S)
        given = manager.count("WATCHDOG")
        pass_s(1.0)
        assert manager.count("WATCHDOG") == given
        assert len(site.agent.log("watchdog.withheld")) == 1
        site.agent.send(signal.SIGABRT)  # as the service manager does now
        assert site.agent.ended() == 1
        for asterisk in calls:
            asterisk.hang_up()
    assert [record["why"] for record in site.records("type = 'agent.stopped'")] == ["SIGABRT"]


def test_only_one_of_two_processes_gives_signs_of_life(
    tmp_path: Path, redis_url: str, manager: ServiceManager, prompts: Path
) -> None:
    """The one that took over: the signs of the one that still has a dialogue would hide that the other one hangs."""
    code = HANG.format(deadlines=1000, margin_s=1000)
    site = patched(
        tmp_path, redis_url, code, manager, WATCHDOG_USEC="900000", WATCHDOG_PID="", BMN_SOUNDS__PATH=str(prompts)
    )
    del site.agent.environment["WATCHDOG_PID"]
    with site.agent:
        consumer = in_the_notice(site)
        before = site.agent.hand_over()
        until(lambda: site.agent.logged("agent.stopping"), WAIT_S)
        given = manager.count("WATCHDOG")
        until(lambda: manager.count("WATCHDOG") >= given + 3, WAIT_S)
        site.agent.pause()
        given = manager.count("WATCHDOG")
        pass_s(1.0)
        assert manager.count("WATCHDOG") == given
        assert before.poll() is None
        site.agent.resume()
        consumer.hang_up()


IMPORTS = """
import atexit, json, sys
from agent.entrypoints import cli, service
started = service.Service._record_start
def remember(self, *arguments):
    global before
    before = set(sys.modules)
    started(self, *arguments)
service.Service._record_start = remember
atexit.register(lambda: json.dump(sorted(set(sys.modules) - before), open({out!r}, "w")))
cli.main()
"""


def test_nothing_is_imported_once_the_service_listens(tmp_path: Path, own_redis: PrivateRedis, prompts: Path) -> None:
    """By none of the scripts, nor by what fails: an import that goes wrong then may leave a lock behind."""
    out = tmp_path / "imported.json"
    site = patched(tmp_path, own_redis.url, IMPORTS.format(out=str(out)), BMN_SOUNDS__PATH=str(prompts))
    with site.agent:
        for number in ("0612345678", "0612349999", "+32470123456", "0014155552671", "+80012345678", "112", "06x", ""):
            site.screen(number, "energy", "agent-7")
        site.screen("0612349999", "misspelt", "agent-7")
        call = a_call(site)
        press(site, call, "offered")
        press(site, call, "no-such-key")
        consumer = conduct(site, call)
        consumer.hear("menu-acme", key="2")
        consumer.hang_up()
        finish(site, call, "ANSWER", "12", "16", "2", "consumer")
        for script, *arguments in ((names.SCRIPT_LEFT, call, "consumer"), (names.SCRIPT_HEALTH,), ("nonsense",)):
            with FakeAsterisk.call(site.address, script, *arguments) as asterisk:
                if script == names.SCRIPT_HEALTH:
                    asterisk.read_command()
                    asterisk.send("200 result=1\n")
        with FakeAsterisk.connect(site.address) as asterisk:
            asterisk.send("GET / HTTP/1.1\n\n")
            asterisk.expect_end()
        assert site.get()[0] == 200
        own_redis.stop()
        site.screen("0612349999", "energy", "agent-7")
        until(lambda: site.agent.logged("outbox.blocked"), WAIT_S)
        assert site.agent.stop() == 0
    assert json.loads(out.read_text()) == []


FAILING_IMPORT = """
import sys
from agent.entrypoints import cli, service
class Broken:
    def find_spec(self, name, path=None, target=None):
        if name.startswith("phonenumbers.data.region_"):
            raise OSError("too many open files")
started = service.Service._record_start
def remember(self, *arguments):
    started(self, *arguments)
    sys.meta_path.insert(0, Broken())
service.Service._record_start = remember
cli.main()
"""


def test_a_disk_that_fails_after_the_start_hangs_no_worker(tmp_path: Path, redis_url: str) -> None:
    """The first number of a country was an import, under a lock that its failure kept: every worker hung for ever."""
    site = patched(tmp_path, redis_url, FAILING_IMPORT)
    with site.agent:
        for number in ("+32470123456", "0014155552671", "+4915112345678", "+33612345678", "+80012345678"):
            assert site.screen(number, "energy", "agent-7")["BMN_REASON"] == "unsupported_country"
        assert site.screen("0612349999", "energy", "agent-7")["BMN_VERDICT"] == "allow"
        assert site.agent.stop() == 0
    assert site.agent.log("request.failed") == []
