"""What an operator runs and installs: the scripts explain themselves, the unit of systemd fits the product."""

from __future__ import annotations

import configparser
import itertools
import re
import subprocess
from pathlib import Path

import pytest

from agent.config import AgiSettings
from agent.domain.registration import Due
from agent.entrypoints import time_limits
from agent.entrypoints.dashboard.server import GRACE_S
from agent.entrypoints.watchdog import BEATS

ROOT = Path(__file__).parents[2]
SCRIPTS = ("tests/run", "deploy/demo", "deploy/prepare", "deploy/lab/get-asterisk")


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_teaches_and_does_nothing(script: str, tmp_path: Path) -> None:
    """From any folder: what it does, how to call it, its exit codes, which is the comment at its top; and no more."""
    top = itertools.takewhile(lambda line: line.startswith("#"), (ROOT / script).read_text().splitlines()[1:])
    done = subprocess.run([ROOT / script, "--help"], cwd=tmp_path, capture_output=True, text=True, timeout=10)
    assert (done.returncode, done.stderr) == (0, "")
    assert Path(script).name in done.stdout
    assert "Exit codes: 0 " in done.stdout
    assert done.stdout.splitlines() == [line[2:] for line in top]


def unit_of(name: str) -> configparser.ConfigParser:
    """A unit of systemd."""
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]  # systemd's names have capitals
    assert unit.read(ROOT / "deploy/systemd" / name)
    return unit


def filters_of(name: str) -> list[str]:
    """What a unit says of system calls, in order: later ones take from the ones before, or add to them."""
    return re.findall(r"^SystemCallFilter=(.*)$", (ROOT / "deploy/systemd" / name).read_text(), re.MULTILINE)


def test_the_unit_leaves_sessions_time_to_end() -> None:
    """What outlives TimeoutStopSec is killed: more than the grace of running sessions, and all that comes after it."""
    service = unit_of("bmn.service")["Service"]
    assert service["ExecStart"].endswith("/.venv/bin/bmn serve")
    needed_s = AgiSettings().shutdown_grace_ms / 1000 + time_limits.LAST_RESORT_S + 2 * time_limits.LOG_FLUSH_S
    assert int(service["TimeoutStopSec"]) > needed_s


def test_the_unit_is_one_of_a_service_that_says_how_it_is() -> None:
    """Ready once it listens, reloaded by a successor that becomes the main process, ended when its workers hang."""
    service = unit_of("bmn.service")["Service"]
    assert (service["Type"], service["NotifyAccess"]) == ("notify", "all")
    assert service["ExecReload"] == "/bin/kill -HUP $MAINPID"
    assert service.get("KillMode") is None, "a process that still has dialogues is asked to stop, too"
    assert "AF_UNIX" in service["RestrictAddressFamilies"]
    a_short_session_s = AgiSettings().deadline_ms / 1000 + time_limits.WATCHDOG_TICK_S
    assert int(service["WatchdogSec"]) > 3 * BEATS * a_short_session_s, "several signs may be late"


def test_a_process_of_the_service_may_give_way_to_calls() -> None:
    """One that loads a lost register again asks for less of the processor, which the filter would refuse otherwise."""
    assert filters_of("bmn.service") == ["@system-service", "~@privileged @resources", "setpriority"]
    assert unit_of("bmn.service")["Service"]["CapabilityBoundingSet"] == ""


def test_the_purge_runs_every_night_with_no_more_rights_than_the_service() -> None:
    """As the same user, in the same folder; a night in which the machine was off is made up for."""
    purge, service = unit_of("bmn-purge.service")["Service"], unit_of("bmn.service")["Service"]
    assert purge["ExecStart"] == service["ExecStart"].replace("bmn serve", "bmn journal purge")
    own = {"Type", "ExecStart", "Nice", "IOSchedulingClass", "SystemCallFilter"}
    of_service = {"ExecStart", "Restart", "RestartSec", "TimeoutStopSec", "LimitNOFILE"}
    of_service |= {"Type", "NotifyAccess", "TimeoutStartSec", "WatchdogSec", "ExecReload"}
    of_service |= {"ProtectClock", "SystemCallFilter"}
    assert {name: purge[name] for name in purge if name not in own} == {
        name: service[name] for name in service if name not in of_service
    }
    assert purge["CapabilityBoundingSet"] == "", "so that it cannot set the clock"
    timer = unit_of("bmn-purge.timer")["Timer"]
    assert (timer["OnCalendar"], timer["Persistent"]) == ("*-*-* 03:30", "yes")


def test_the_purge_waits_for_the_clock_and_may_ask_whether_it_is_right() -> None:
    """Filters that are named later take from the ones before or add to them; ProtectClock would beat them all."""
    unit = unit_of("bmn-purge.service")
    assert unit["Unit"]["After"] == "time-sync.target"
    assert "ProtectClock" not in unit["Service"]
    assert filters_of("bmn-purge.service") == [*filters_of("bmn.service")[:2], "adjtimex clock_adjtime"]


def test_the_alert_of_registrations_is_about_those_that_are_near_their_deadline() -> None:
    """As the doctor and the dashboard have it: a share of the metric that has all of them."""
    rules = (ROOT / "deploy/prometheus/bmn.rules.yml").read_text()
    (near,) = re.findall(r'bmn_registrations_pending\{due=~"([^"]+)"\}', rules)
    assert near.split("|") == [due for due in Due if due.is_near]


def test_the_dashboard_is_held_as_tight_as_the_agent_and_never_in_its_way() -> None:
    """It has passwords and browsers: nothing that the agent may not do, a process of its own, and calls go first."""
    agent, dashboard = unit_of("bmn.service"), unit_of("bmn-dashboard.service")
    service = dashboard["Service"]
    assert service["ExecStart"].endswith("/.venv/bin/bmn dashboard")
    assert service["User"] == agent["Service"]["User"], "who owns the journal"
    limits = {
        name: value for name, value in agent["Service"].items() if name.startswith(("Protect", "Restrict", "Priv"))
    }
    assert limits
    limits |= {name: agent["Service"][name] for name in ("CapabilityBoundingSet", "NoNewPrivileges", "UMask")}
    assert {name: service.get(name) for name in limits} == limits
    assert service["IPAddressDeny"] == "any"
    assert int(service["Nice"]) > 0
    assert int(service["TimeoutStopSec"]) > GRACE_S
    assert not {"Requires", "Wants", "BindsTo"} & set(dashboard["Unit"]), "one runs without the other"
