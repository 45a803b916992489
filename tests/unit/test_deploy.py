"""What an operator runs and installs: the scripts explain themselves, the unit of systemd fits the product."""

from __future__ import annotations

import configparser
import itertools
import subprocess
from pathlib import Path

import pytest

from agent.config import AgiSettings

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


def test_the_unit_leaves_sessions_time_to_end() -> None:
    """What outlives TimeoutStopSec is killed: more than the grace of running sessions."""
    service = unit_of("bmn.service")["Service"]
    assert service["ExecStart"].endswith("/.venv/bin/bmn serve")
    assert int(service["TimeoutStopSec"]) * 1000 >= AgiSettings().shutdown_grace_ms + 5_000


def test_the_purge_runs_every_night_with_no_more_rights_than_the_service() -> None:
    """As the same user, in the same folder; a night in which the machine was off is made up for."""
    purge, service = unit_of("bmn-purge.service")["Service"], unit_of("bmn.service")["Service"]
    assert purge["ExecStart"] == service["ExecStart"].replace("bmn serve", "bmn journal purge")
    own = {"Type", "ExecStart", "Nice", "IOSchedulingClass"}
    of_service = {"ExecStart", "Restart", "RestartSec", "TimeoutStopSec", "LimitNOFILE"}
    assert {name: purge[name] for name in purge if name not in own} == {
        name: service[name] for name in service if name not in of_service
    }
    timer = unit_of("bmn-purge.timer")["Timer"]
    assert (timer["OnCalendar"], timer["Persistent"]) == ("*-*-* 03:30", "yes")
