"""The life of ``bmn serve``: what signals do to it, how it stops, and how a successor takes over without a gap."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from agent import dialplan_names as names
from agent.entrypoints import signals
from deploy.lab.agent_service import AgentService
from deploy.lab.service_manager import ServiceManager
from tests.agi.fake_asterisk import FakeAsterisk
from tests.agi.test_choice_scripts import Consumer, a_call, conduct
from tests.agi.test_metrics_page import MeasuredSite
from tests.waiting import until

WAIT_S = 20.0
STOPPING = ("SIGTERM", "SIGINT", "SIGQUIT", "SIGPWR", "SIGXCPU", "SIGABRT")
HARMLESS = (
    *("SIGUSR1", "SIGUSR2", "SIGALRM", "SIGVTALRM", "SIGPROF", "SIGIO", "SIGSTKFLT", "SIGRTMIN"),
    *("SIGPIPE", "SIGXFSZ", "SIGCHLD", "SIGURG", "SIGWINCH", "SIGCONT"),
)
BROKEN = ("SIGSEGV", "SIGBUS", "SIGILL", "SIGFPE", "SIGTRAP", "SIGSYS")
"""They say that the process is broken."""
BEYOND = ("SIGKILL", "SIGSTOP", "SIGTSTP", "SIGTTIN", "SIGTTOU")
"""Nobody can do anything about it, or it pauses only."""


@pytest.fixture
def manager() -> Iterator[ServiceManager]:
    """Somebody who follows the service from process to process."""
    with closing(ServiceManager()) as manager:
        yield manager


@pytest.fixture
def site(tmp_path: Path, redis_url: str, manager: ServiceManager, prompts: Path) -> Iterator[MeasuredSite]:
    """A service under that manager, with a register and prompts."""
    site = MeasuredSite(tmp_path, redis_url, BMN_SOUNDS__PATH=str(prompts))
    site.agent = AgentService(tmp_path, site.environment, manager)
    site.load("0612345678\n")
    with site.agent:
        yield site


def in_the_notice(site: MeasuredSite, number: str = "0612349999") -> Consumer:
    """A consumer who hears the notice now."""
    consumer = conduct(site, a_call(site, number))
    command = consumer.next()
    assert command.startswith("STREAM FILE bmn/notice-"), command
    return consumer


def choose(consumer: Consumer) -> None:
    """The notice is over; they press 1 and hang up."""
    consumer.asterisk.send(f"200 result=0 endpos={consumer.length('')}\n")
    consumer.hear("menu-acme", key="1")
    consumer.hear("chosen-seller-optout-acme")
    consumer.hang_up()


def stopped(site: MeasuredSite) -> list[tuple[bool, str]]:
    """Every recorded end of a service: whether it was clean, and why."""
    return [(record["clean"], record["why"]) for record in site.records("type = 'agent.stopped'")]


def test_every_signal_has_a_meaning() -> None:
    """Those that are left to the system are named here."""
    elsewhere = {"SIGPIPE", "SIGXFSZ", "SIGCHLD", "SIGURG", "SIGWINCH", "SIGCONT", *BROKEN, *BEYOND}
    left = {signals.name_of(number) for number in signal.valid_signals()} - {
        signals.name_of(number) for number in signals.MEANINGS
    }
    assert left == elsewhere
    assert signals.__doc__ is not None
    for name in (*STOPPING, *HARMLESS, *BROKEN, *BEYOND, "SIGHUP"):
        assert name in signals.__doc__ or name == "SIGRTMIN"


@pytest.mark.parametrize("name", STOPPING)
def test_a_signal_that_stops_the_service_leaves_its_records(site: MeasuredSite, name: str) -> None:
    """In the journal and in the log, with the signal's name; exit code 0, for nothing was cut off."""
    site.agent.send(signal.Signals[name])
    assert site.agent.ended() == 0
    assert stopped(site) == [(True, name)]
    assert [line["why"] for line in site.agent.log("agent.stopped")] == [name]


def test_other_signals_do_not_touch_the_service(site: MeasuredSite) -> None:
    """All of them, one after the other: it screens, and its end is recorded when it comes."""
    for name in HARMLESS:
        site.agent.send(signal.Signals[name])
        assert site.screen("0612349999", "energy", "agent-7")["BMN_VERDICT"] == "allow", name
    assert site.agent.stop() == 0
    assert stopped(site) == [(True, "SIGTERM")]
    assert {line["signal"] for line in site.agent.log("signal.ignored")} == set(HARMLESS[:8])


def test_a_hangup_of_a_terminal_or_of_logrotate_ends_nothing(tmp_path: Path, redis_url: str) -> None:
    """Nobody follows a successor here, so there is none; it goes on, and says why."""
    site = MeasuredSite(tmp_path, redis_url)
    site.load("0612345678\n")
    with site.agent:
        site.agent.send(signal.SIGHUP)
        (line,) = until(lambda: site.agent.logged("signal.ignored"))
        assert (line["signal"], line["why"]) == ("SIGHUP", "no service manager follows a successor")
        assert site.screen("0612349999", "energy", "agent-7")["BMN_VERDICT"] == "allow"
        assert site.agent.stop() == 0
    assert stopped(site) == [(True, "SIGTERM")]


@contextmanager
def constant_calls(site: MeasuredSite) -> Iterator[Counter[str]]:
    """Screenings on four lines without a pause; verdicts by reason, and connections that failed by their error."""
    seen: Counter[str] = Counter()
    ending = threading.Event()
    address = site.address

    def call() -> None:
        while not ending.is_set():
            try:
                with FakeAsterisk.call(address, names.SCRIPT_SCREEN, "0687654321", "energy", "agent-7") as asterisk:
                    command = asterisk.read_command()
                    asterisk.send("200 result=1\n")
                seen[command.split('"')[1].split(",")[1]] += 1
            except (OSError, AssertionError) as error:
                seen[repr(error)] += 1

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        ending.set()
        for thread in threads:
            thread.join()


def test_a_successor_takes_over_without_a_gap(site: MeasuredSite, manager: ServiceManager) -> None:
    """A consumer is in the notice and calls go on; three times in a row. No call is lost, no dialogue is cut off."""
    with constant_calls(site) as seen:
        for turn in range(3):
            until(lambda: seen["not_registered"] > 20 * (turn + 1), WAIT_S)  # noqa: B023  # asked at once
            consumer = in_the_notice(site, f"061234000{turn}")
            before = site.agent.hand_over()
            until(lambda: seen["not_registered"] > 40 * (turn + 1), WAIT_S)  # noqa: B023
            assert before.poll() is None, "its dialogue is not over"
            until(lambda: len(site.agent.logged("agent.stopping")) == turn + 1)  # noqa: B023
            assert site.agent.logged("agent.stopping")[-1]["why"] == f"process {site.agent.pid} took over"
            choose(consumer)
            assert before.wait(WAIT_S) == 0
            assert site.values("bmn_notices_total") == {}, "the page is the successor's"
    failures = [record["failure"] for record in site.records("type = 'call.screened'") if record["failure"]]
    assert set(seen) == {"not_registered"}, (seen, failures)
    assert site.agent.stop() == 0
    assert [line["choice"] for line in site.agent.log("notice.played")] == ["seller_optout"] * 3
    assert [clean for clean, _ in stopped(site)] == [True] * 4
    assert len(site.records("type = 'agent.started'")) == 4
    assert manager.main_pid() is not None


def test_the_service_manager_hears_of_each_step(site: MeasuredSite, manager: ServiceManager) -> None:
    """Ready, reloading, whose turn it is, ready again, stopping; the process that leaves says nothing more."""
    first = site.agent.pid
    site.agent.hand_over().wait(WAIT_S)
    second = site.agent.pid
    assert second != first
    site.agent.stop()
    said = [set(message) - {"STATUS", "MONOTONIC_USEC"} for message in manager.heard()]
    assert said == [{"READY"}, {"RELOADING"}, {"MAINPID", "READY"}, {"STOPPING"}]
    assert manager.main_pid() == second


def test_a_successor_is_the_child_of_the_service_manager(site: MeasuredSite) -> None:
    """While the process before still lives: another main process systemd kills in the moment it asks it to stop."""
    consumer = in_the_notice(site)
    before = site.agent.hand_over()
    assert before.poll() is None
    status = Path(f"/proc/{site.agent.pid}/status").read_text()
    assert f"PPid:\t{os.getpid()}\n" in status
    consumer.hang_up()


def test_a_successor_has_the_configuration_of_now(site: MeasuredSite) -> None:
    """On the addresses of before."""
    old, page = site.address, site.metrics_address
    path = site.folder / "bmn.toml"
    path.write_text(path.read_text() + '[campaigns.new]\nseller = "acme"\npurpose = "research"\n')
    assert site.screen("0612349999", "new", "agent-7")["BMN_REASON"] == "unknown_campaign"
    site.agent.hand_over().wait(WAIT_S)
    assert (site.address, site.metrics_address) == (old, page)
    assert site.screen("0612349999", "new", "agent-7")["BMN_REASON"] == "exempt_research"


def test_a_successor_with_another_address_opens_it_and_the_old_one_closes(
    tmp_path: Path, redis_url: str, manager: ServiceManager
) -> None:
    """A mistake in the new one would leave the old one as it is."""
    site = MeasuredSite(tmp_path, redis_url)
    path = tmp_path / "bmn.toml"
    good = path.read_text()
    environment = {name: value for name, value in site.environment.items() if name != "BMN_AGI_LISTEN"}
    site.agent = AgentService(tmp_path, environment, manager)
    addresses = []
    for _ in range(2):
        with socket.create_server(("127.0.0.1", 0)) as free:
            addresses.append(free.getsockname())
    path.write_text(good + '[agi]\nlisten = "{}:{}"\n'.format(*addresses[0]))
    with site.agent:
        assert site.address == addresses[0]
        path.write_text(good + '[agi]\nlisten = "{}:{}"\n'.format(*addresses[1]))
        site.agent.hand_over().wait(WAIT_S)
        assert site.address == addresses[1]
        assert site.screen("0612349999", "energy", "agent-7")["BMN_REASON"] == "register_missing"
        with pytest.raises(ConnectionRefusedError):
            FakeAsterisk.connect(addresses[0])
        assert site.get()[0] == 200


def test_a_successor_that_cannot_start_leaves_the_service_as_it_is(site: MeasuredSite, manager: ServiceManager) -> None:
    """A mistake in the configuration: loud in the log, the service manager hears it; the next one may be better."""
    path = site.folder / "bmn.toml"
    good = path.read_text()
    path.write_text(good + "[agi]\nworkers = 0\n")
    first = site.agent.pid
    site.agent.send(signal.SIGHUP)
    (line,) = until(lambda: site.agent.logged("agent.handover_failed"), WAIT_S)
    assert line["level"] == "error"
    assert line["why"].endswith("ended before it listened")
    assert "agi.workers" in site.agent.log_path.read_text()
    assert site.screen("0612349999", "energy", "agent-7")["BMN_VERDICT"] == "allow"
    until(lambda: manager.count("READY") == 2)
    assert manager.main_pid() is None
    path.write_text(good)
    site.agent.hand_over().wait(WAIT_S)
    assert site.agent.pid != first
    assert site.screen("0612349999", "energy", "agent-7")["BMN_VERDICT"] == "allow"


def test_a_stop_cuts_the_time_of_a_hand_over_short(site: MeasuredSite) -> None:
    """The dialogues that were left get the grace of a stop, not that of a hand-over."""
    path = site.folder / "bmn.toml"
    path.write_text(path.read_text() + "[agi]\nshutdown_grace_ms = 100\n")
    site.agent.hand_over().wait(WAIT_S)  # to one with so little grace
    consumer = in_the_notice(site)
    before = site.agent.hand_over()
    before.send_signal(signal.SIGTERM)
    assert before.wait(WAIT_S) == 1
    consumer.hang_up()
    assert site.agent.stop() == 0
    assert sorted(clean for clean, _ in stopped(site)) == [False, True, True]


def test_a_service_that_is_stopped_lets_another_serve_at_once(site: MeasuredSite, redis_url: str) -> None:
    """While its dialogue goes on, one that is started beside it has both addresses."""
    own = {
        "BMN_AGI_LISTEN": "{}:{}".format(*site.address),
        "BMN_METRICS__LISTEN": "{}:{}".format(*site.metrics_address),
    }
    consumer = in_the_notice(site)
    site.agent.send(signal.SIGTERM)
    until(lambda: site.agent.logged("agent.stopping"), WAIT_S)
    other = MeasuredSite(site.folder, redis_url, **own)
    other.agent.log_path = site.folder / "other.log"
    with other.agent:
        assert other.screen("0612349999", "energy", "agent-7")["BMN_VERDICT"] == "allow"
        assert other.get()[0] == 200
        os.kill(site.agent.pid, 0)
        choose(consumer)
        assert site.agent.ended() == 0
        assert other.agent.stop() == 0
    assert stopped(site) == [(True, "SIGTERM"), (True, "SIGTERM")]
