"""`bmn doctor` as a process, on a real Redis, a real journal and real files."""

from __future__ import annotations

import json
import socket
import sqlite3
import subprocess
import threading
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import redis

from agent.adapters.agi_health import ask_health
from agent.adapters.journal_condition import condition_of
from agent.adapters.sqlite_journal import SqliteJournal
from agent.adapters.system_clock import synchronised
from agent.config import load_settings
from agent.dialplan_names import BMN_HEALTH, DIALPLAN_REASONS, SCRIPT_HEALTH
from agent.domain.condition import ServiceUnavailable
from agent.domain.deadline import Deadline
from agent.domain.dialogue import NL_BMNR_NOTICE, prompt_names
from agent.domain.journal_events import Event, EventType
from agent.entrypoints.expected_dialplan import EXPECTED
from agent.health_checks import agent_prompt_names
from deploy.lab.agent_service import AgentService, bmn
from deploy.lab.redis_server import PrivateRedis
from tests.conftest import write_configuration
from tests.integration.test_journal_versions import an_old_journal
from tests.unit.builders import write_wav

ASTERISK = """#!/bin/sh
case "$2" in
  "features show") for name in {features}; do echo "$name  no def  *70"; done;;
  "module show") for name in {modules}; do echo "$name.so  $name  0  Running  core"; done;;
  "dialplan show globals")
    for name in {settings}; do echo "   $name=agi://127.0.0.1:1"; done; echo "   BMN_SCREEN_TIMEOUT=3";;
  *) echo "[ Context '${{2##* }}' created by 'pbx_config' ]";;
esac
""".format(
    features=" ".join(EXPECTED.features), settings=" ".join(EXPECTED.globals), modules=" ".join(EXPECTED.modules)
)
"""What answers for Asterisk's console."""


class Patient:
    """A site that can be made ill."""

    def __init__(self, folder: Path, redis_url: str) -> None:
        self.sounds = folder / "audio"
        self.journal = folder / "journal.db"
        config = write_configuration(folder)
        config.write_text(config.read_text() + '[sounds]\npath = "audio"\n')
        self.config = config
        self.environment = {"BMN_CONFIG": str(config), "BMN_REDIS_URL": redis_url, "BMN_AGI_LISTEN": "127.0.0.1:1"}
        self.asterisk = folder / "asterisk"
        self.asterisk.write_text(ASTERISK)
        self.asterisk.chmod(0o755)
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
        """What `bmn doctor --json` finds besides what is well; of the lists and files, not of what runs beside."""
        done = self.run("doctor", "--asterisk-command", str(self.asterisk), "--json")
        assert done.returncode == code, done.stdout + done.stderr
        return [
            finding
            for finding in json.loads(done.stdout)
            if finding["state"] != "ok" and finding["check"] not in ("clock", "service")
        ]


@pytest.fixture
def patient(tmp_path: Path, redis_url: str) -> Patient:
    """A site in good health."""
    found = Patient(tmp_path, redis_url)
    found.load(date.today())
    return found


def test_a_healthy_site_ends_with_0_and_a_line_for_each_finding(patient: Patient, tmp_path: Path) -> None:
    """For people a table: state, check, what, what to do. The clock is this machine's, whatever it is like."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        patient.environment["BMN_AGI_LISTEN"] = f"127.0.0.1:{probe.getsockname()[1]}"
    patient.asterisk.write_text(ASTERISK.replace("127.0.0.1:1", patient.environment["BMN_AGI_LISTEN"]))
    with AgentService(tmp_path, patient.environment):
        done = patient.run("doctor", "--asterisk-command", str(patient.asterisk))
    assert done.returncode == 0, done.stdout
    heading, _, *lines = [line.split() for line in done.stdout.splitlines() if line.strip()]
    assert heading == ["state", "check", "found", "what", "to", "do"]
    assert [line[:2] for line in lines if line[1] != "clock"] == [
        ["ok", "configuration"],
        ["ok", "journal"],
        ["ok", "sellers"],
        ["ok", "redis"],
        ["ok", "lists"],
        ["ok", "outbox"],
        ["ok", "register"],
        ["ok", "calls"],
        ["ok", "registrations"],
        ["ok", "sounds"],
        ["ok", "sounds"],
        ["ok", "asterisk"],
        ["ok", "service"],
    ]


def test_a_service_and_an_asterisk_that_are_away_are_told(patient: Patient) -> None:
    """Each with what to do."""
    patient.asterisk.write_text("#!/bin/sh\necho 'Unable to connect to remote asterisk' >&2; exit 1\n")
    found = json.loads(patient.run("doctor", "--json", "--asterisk-command", f"env {patient.asterisk}").stdout)
    told = {finding["check"]: finding for finding in found}
    assert told["service"]["state"] == "warning"
    assert "systemctl start bmn" in told["service"]["todo"]
    assert told["asterisk"]["what"] == "cannot be asked: Unable to connect to remote asterisk"
    assert "quotation" in patient.run("doctor", "--asterisk-command", "'asterisk").stderr
    found = json.loads(patient.run("doctor", "--json", "--asterisk-command", "/nowhere/asterisk").stdout)
    assert "/nowhere/asterisk: No such file" in next(one["what"] for one in found if one["check"] == "asterisk")


def test_something_else_on_the_port_of_the_service_is_told(patient: Patient) -> None:
    """It answers, and is not ours."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]

        def greet() -> None:
            connection, _ = other.accept()
            with connection:
                connection.sendall(b"SSH-2.0\n")
                connection.recv(1_000)

        greeter = threading.Thread(target=greet)
        greeter.start()
        with pytest.raises(ServiceUnavailable, match="something else"):
            ask_health(("127.0.0.1", port), SCRIPT_HEALTH, BMN_HEALTH)
        greeter.join()


def test_a_journal_that_was_altered_or_exposed_is_told(patient: Patient) -> None:
    """Its newest records are looked at each time; the whole chain is for bmn journal verify."""
    patient.journal.chmod(0o644)
    assert f"chmod 600 {patient.journal}" in [found["todo"] for found in patient.ailments(code=0)]
    patient.journal.chmod(0o600)
    with closing(sqlite3.connect(patient.journal)) as journal, journal:
        journal.execute("UPDATE records SET body = replace(body, 'register.csv', 'register.txt')")
    (found,) = patient.ailments(code=1)
    assert found["what"] == "record 1 of the journal was altered"


@pytest.mark.parametrize("salt", ["NULL", "zeroblob(32)", "salt"])
def test_a_body_that_was_torn_out_is_told(patient: Patient, salt: str) -> None:
    """One that a purge took has its mark, and no other."""
    with closing(sqlite3.connect(patient.journal)) as journal, journal:
        journal.execute(f"UPDATE records SET body = NULL, salt = {salt} WHERE seq = 1")
    told = [found["what"] for found in patient.ailments(code=1)]
    assert "record 1 of the journal has no body, and no purge took it" in told


@pytest.mark.parametrize("records", [0, 1, 999, 1_000, 1_001, 1_500])
def test_the_newest_thousand_records_are_looked_at(tmp_path: Path, records: int) -> None:
    """With the link of the one before, and no more; those that were purged hold."""
    path, key_path = tmp_path / "journal.db", tmp_path / "journal.key"
    with SqliteJournal(path, key_path) as journal:
        stopped = Event.of(EventType.AGENT_STOPPED, {})
        if records:
            journal.append([stopped] * records, Deadline.after_ms(5_000))
        if records > 5:
            purged = Event.of(EventType.JOURNAL_PURGED, {"count": 1})
            journal.purge(purged, [records - 3], Deadline.after_ms(5_000))
            records += 1
    found = condition_of(path, key_path)
    assert (found.problem, found.checked) == ("", min(records, 1_000))
    first = max(1, records - 999)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE records SET at = at + 1 WHERE seq = ?", (first,))
    wrong = "" if records == 0 else f"record {first} of the journal was altered, replaced or moved"
    assert condition_of(path, key_path).problem == wrong


def test_what_waits_in_the_outbox_is_told(patient: Patient, redis_url: str) -> None:
    """A Redis that was set back, seen from outside: nothing is brought forward by looking."""
    with redis.Redis.from_url(redis_url) as client:
        before = client.get("bmn:applied")
        patient.run("optout", "add", "0612345678", "--seller", "acme")
        client.set("bmn:applied", before or "")
        (found,) = patient.ailments(code=0)
        assert (found["check"], found["what"].split(",")[0]) == ("outbox", "1 change not in Redis yet")
        assert client.get("bmn:applied") == before


def test_what_redis_lost_is_told(patient: Patient, redis_url: str) -> None:
    """Although no call has asked for it yet; and once one has, that the register which was in force is not any more."""
    patient.run("optout", "add", "0612345679", "--seller", "acme")
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        client.delete("bmn:{3161234}:optout:acme")
        client.delete(client.keys("bmn:{3161234}:g:*")[0])
        first, second = patient.ailments(code=1)
        assert [one["check"] for one in (first, second)] == ["lists", "lists"]
        assert "opt-outs, customers and registrations" in first["what"]
        assert "the register in force" in second["what"]
        assert client.exists("bmn:applied", "bmn:current:nl-bmnr") == 2, "looking changes nothing"
        assert patient.run("screen", "0612345999", "--campaign", "energy").returncode == 1
        (missing,) = patient.ailments(code=1)
        assert (missing["check"], "Redis lost" in missing["what"]) == ("register", True)
        assert patient.run("rebuild").returncode == 0
        assert patient.ailments(code=0) == []


def test_keys_that_would_expire_are_told(patient: Patient, redis_url: str) -> None:
    """They are left as they are: the service makes them stay."""
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        (key,) = client.keys("bmn:{3161234}:g:*")
        client.expire(key, 3_600)
        client.expire("bmn:current:nl-bmnr", 3_600)
        (found,) = patient.ailments(code=0)
        assert (found["check"], found["state"]) == ("lists", "warning")
        assert found["what"].startswith("2 keys in Redis would expire")
        assert client.ttl(key) > 0


def test_no_room_for_the_next_load_is_told(tmp_path: Path, own_redis: PrivateRedis) -> None:
    """By maxmemory, which Redis keeps to by refusing the load."""
    patient = Patient(tmp_path, own_redis.url)
    patient.load(date.today())
    with redis.Redis.from_url(own_redis.url) as client:
        client.config_set("maxmemory", int(client.info("memory")["used_memory"]))
        (found,) = [finding for finding in patient.ailments(code=0) if finding["check"] == "redis"]
    assert "has no room for the next load" in found["what"]


def test_the_kernel_tells_of_its_clock() -> None:
    """Whatever it says, it is an answer."""
    assert synchronised() in (True, False, None)


def test_looking_at_an_older_journal_leaves_it_as_it_is(
    tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is brought up to date by whoever uses it."""
    patient = Patient(tmp_path, redis_url)
    an_old_journal(patient.journal, monkeypatch, 10)
    found = [one for one in patient.ailments(code=1) if one["check"] == "journal"]
    assert [(one["state"], "older version" in one["what"]) for one in found] == [("warning", True)]
    with closing(sqlite3.connect(patient.journal)) as journal:
        assert journal.execute("PRAGMA user_version").fetchone() == (1,)


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


def test_a_seller_of_the_journal_that_the_configuration_does_not_know_is_named(patient: Patient) -> None:
    """With how many objections it is about, and what to write; customers of a product group that is gone beside it."""
    sale = ("--sold-on", "2026-01-05", "--product", "Stroom")
    assert patient.run("optout", "add", "0612345999", "--seller", "hart").returncode == 0
    assert patient.run("optout", "add", "0612345888", "--seller", "hart").returncode == 0
    added = patient.run("customer", "add", "0612345777", "--seller", "acme", "--product-group", "gas", *sale)
    assert added.returncode == 0, added.stderr
    (warning,) = patient.ailments(code=0)
    assert (warning["check"], warning["state"]) == ("sellers", "warning")
    assert "acme: 1 customer on record for 'gas'" in warning["what"]
    whole = patient.config.read_text()
    patient.config.write_text(whole.replace("[sellers.hart]", "[sellers.harten]").replace('"hart"', '"harten"'))
    (problem,) = [
        item for item in patient.ailments(code=1) if item["check"] == "sellers" and item["state"] == "problem"
    ]
    assert "hart: 2 objections in force" in problem["what"]
    assert 'write formerly = ["hart"] under [sellers.harten]' in problem["todo"]
    patient.config.write_text(
        whole.replace("[sellers.hart]", '[sellers.harten]\nformerly = ["hart"]').replace('"hart"\np', '"harten"\np')
    )
    assert [item["what"] for item in patient.ailments(code=1) if item["check"] == "sellers"] == [warning["what"]]
