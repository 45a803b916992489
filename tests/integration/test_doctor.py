"""`bmn doctor` as a process, on a real Redis, a real journal and real files."""

from __future__ import annotations

import json
import subprocess
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import redis

from agent.config import load_settings
from agent.dialplan_names import DIALPLAN_REASONS
from agent.domain.dialogue import NL_BMNR_NOTICE, prompt_names
from agent.health_checks import agent_prompt_names
from deploy.lab.agent_service import bmn
from deploy.lab.redis_server import PrivateRedis
from tests.conftest import write_configuration
from tests.unit.builders import write_wav


class Patient:
    """A site that can be made ill."""

    def __init__(self, folder: Path, redis_url: str) -> None:
        self.sounds = folder / "audio"
        self.journal = folder / "journal.db"
        config = write_configuration(folder)
        config.write_text(config.read_text() + '[sounds]\npath = "audio"\n')
        self.config = config
        self.environment = {"BMN_CONFIG": str(config), "BMN_REDIS_URL": redis_url}
        campaigns = load_settings(self.environment).domain_campaigns().values()
        for name in {name for item in campaigns for name in prompt_names(NL_BMNR_NOTICE, item)}:
            write_wav(self.sounds, name, samples=80)
        for name in agent_prompt_names(DIALPLAN_REASONS):
            write_wav(self.sounds, name, samples=80)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A command; no traceback, whatever it finds."""
        done = bmn(*arguments, environment=self.environment, check=False)
        assert "Traceback" not in done.stderr
        return done

    def load(self, as_of: date) -> None:
        """A register, and with it a journal."""
        path = self.config.with_name("register.csv")
        path.write_text("0612345678\n")
        assert self.run("register", "import", str(path), "--as-of", str(as_of)).returncode == 0

    def ailments(self, *, code: int) -> list[dict[str, Any]]:
        """What `bmn doctor --json` finds besides what is well."""
        done = self.run("doctor", "--json")
        assert done.returncode == code, done.stdout + done.stderr
        return [finding for finding in json.loads(done.stdout) if finding["state"] != "ok"]


@pytest.fixture
def patient(tmp_path: Path, redis_url: str) -> Patient:
    """A site in good health."""
    found = Patient(tmp_path, redis_url)
    found.load(date.today())
    return found


def test_a_healthy_site_ends_with_0_and_a_line_for_each_finding(patient: Patient) -> None:
    """For people a table: state, check, what, what to do."""
    done = patient.run("doctor")
    assert done.returncode == 0, done.stdout
    heading, _, *lines = [line.split() for line in done.stdout.splitlines() if line.strip()]
    assert heading == ["state", "check", "found", "what", "to", "do"]
    assert [line[:2] for line in lines] == [
        ["ok", "configuration"],
        ["ok", "journal"],
        ["ok", "redis"],
        ["ok", "register"],
        ["ok", "sounds"],
        ["ok", "sounds"],
    ]
    assert patient.ailments(code=0) == []


def test_a_broken_set_of_prompts_is_told_file_by_file(patient: Patient) -> None:
    """Consumers' prompts are problems, those of agents warnings."""
    folder = patient.sounds / "nl" / "bmn"
    (folder / "notice-acme.wav").unlink()
    (folder / "key-offered.wav").unlink()
    write_wav(patient.sounds, "menu-hart", peak=20)
    write_wav(patient.sounds, "goodbye", rate=16000)
    (folder / "scope.wav").write_bytes(b"no sound")
    (folder / "charities.wav16").touch()
    (folder / "blocked.wav16").touch()
    found = {finding["what"].split()[0]: finding for finding in patient.ailments(code=1)}
    told = {name: (finding["state"], finding["what"].split(" ", 1)[1]) for name, finding in found.items()}
    assert told == {
        "nl/bmn/notice-acme.wav": ("problem", "is missing"),
        "nl/bmn/menu-hart.wav": ("problem", "is silent"),
        "nl/bmn/goodbye.wav": ("problem", "is not 8 kHz, mono, 16-bit"),
        "nl/bmn/scope.wav": ("problem", "is no readable WAV file"),
        "nl/bmn/charities.wav": (
            "problem",
            "is there in another format too, so that what was heard of it cannot be proved",
        ),
        "nl/bmn/key-offered.wav": ("warning", "is missing"),
    }
    assert {finding["check"] for finding in found.values()} == {"sounds"}
    assert "remove the other files" in found["nl/bmn/charities.wav"]["todo"]
    assert "dialplan/sounds/build" in found["nl/bmn/notice-acme.wav"]["todo"]


def test_a_warning_alone_ends_with_0(patient: Patient) -> None:
    """The site still screens."""
    (patient.sounds / "nl" / "bmn" / "key-undo.wav").unlink()
    assert [finding["state"] for finding in patient.ailments(code=0)] == ["warning"]


def test_redis_and_journal_are_looked_at_each_on_its_own(patient: Patient) -> None:
    """One that is away does not hide the other."""
    patient.environment["BMN_REDIS_URL"] = "redis://127.0.0.1:1/0"
    patient.journal.with_name("journal.db.key").unlink()
    found = patient.ailments(code=1)
    assert [finding["check"] for finding in found] == ["journal", "redis", "register"]
    assert "its key" in found[0]["what"]
    assert "redis.url" in found[1]["what"]
    patient.journal.with_name("journal.db.key").write_text("00" * 32)
    assert "does not belong" in patient.ailments(code=1)[0]["what"]


def test_looking_makes_no_journal(tmp_path: Path, redis_url: str) -> None:
    """A doctor in the wrong folder must leave nothing behind; a key without its journal is a lost journal."""
    patient = Patient(tmp_path, redis_url)
    assert [(finding["check"], finding["state"]) for finding in patient.ailments(code=1)] == [
        ("journal", "warning"),
        ("register", "problem"),
    ]
    assert list(tmp_path.glob("journal.db*")) == []
    (tmp_path / "journal.db.key").write_text("00" * 32)
    assert patient.ailments(code=1)[0]["state"] == "problem"


@pytest.mark.parametrize(
    ("command", "state", "what"),
    [
        ("CONFIG SET maxmemory-policy allkeys-lru", "problem", "maxmemory-policy"),
        ("CONFIG SET set-max-intset-entries 512", "warning", "set-max-intset-entries is too low"),
        ("ACL SETUSER default -config", "warning", "CONFIG is forbidden"),
    ],
)
def test_a_redis_with_wrong_settings_is_found(
    tmp_path: Path, own_redis: PrivateRedis, command: str, state: str, what: str
) -> None:
    """Eviction loses numbers; unpacked sets cost memory."""
    with redis.Redis.from_url(own_redis.url) as client:
        client.execute_command(*command.split())
    patient = Patient(tmp_path, own_redis.url)
    found = [finding for finding in patient.ailments(code=1) if finding["check"] == "redis"]
    assert [finding["state"] for finding in found] == [state]
    assert what in found[0]["what"]


def test_a_wrong_configuration_is_told_mistake_by_mistake(patient: Patient) -> None:
    """As findings like all others."""
    patient.config.write_text("[agi]\nworkers = 0\n[reddis]\n")
    found = patient.ailments(code=1)
    assert [finding["check"] for finding in found] == ["configuration"] * 2
    assert "reddis: there is no such setting" in [finding["what"] for finding in found]
