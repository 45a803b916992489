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


def test_the_unit_leaves_sessions_time_to_end() -> None:
    """What outlives TimeoutStopSec is killed: more than the grace of running sessions."""
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]  # systemd's names have capitals
    unit.read(ROOT / "deploy/systemd/bmn.service")
    service = unit["Service"]
    assert service["ExecStart"].endswith("/.venv/bin/bmn serve")
    assert int(service["TimeoutStopSec"]) * 1000 >= AgiSettings().shutdown_grace_ms + 5_000
