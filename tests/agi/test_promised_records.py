"""What is true and could not be written is written later: the end of a conversation, whatever the disk does."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis

from agent.adapters import journal_writer, redis_keys
from agent.adapters.sqlite_journal import SqliteJournal
from agent.bootstrap import Application
from agent.domain.deadline import Deadline
from agent.domain.dossier import UnknownKind
from agent.domain.errors import JournalUnavailable
from agent.domain.journal_events import EventType
from agent.domain.premise import Premise
from agent.finishing import ENDED_WITHIN
from deploy.lab.agent_service import bmn
from deploy.lab.redis_server import PrivateRedis
from tests.agi.fake_asterisk import FakeAsterisk
from tests.agi.test_choice_scripts import a_call
from tests.agi.test_choice_scripts import press as press_key
from tests.agi.test_screen_script import Site
from tests.integration.test_choices import bodies, call, finish, loaded, press, soon
from tests.integration.test_journal import an_event, key_of
from tests.waiting import until

__all__ = ["loaded"]


@pytest.fixture
def site(tmp_path: Path, redis_url: str) -> Iterator[Site]:
    """A running service with a register that holds none of our numbers."""
    site = Site(tmp_path, redis_url)
    with site.agent:
        site.load("0611111111\n")
        yield site


@contextmanager
def locked(path: Path) -> Iterator[subprocess.Popen[str]]:
    """A shell that somebody forgot has the journal's lock."""
    shell = subprocess.Popen(["sqlite3", str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert shell.stdin is not None
    assert shell.stdout is not None
    shell.stdin.write("BEGIN IMMEDIATE; SELECT 'locked';\n")
    shell.stdin.flush()
    assert shell.stdout.readline() == "locked\n"
    try:
        yield shell
    finally:
        shell.communicate("ROLLBACK;")


def end(site: Site, call_id: str) -> None:
    """The hangup handler reports the end, and does not learn more than that it was heard."""
    with FakeAsterisk.call(site.address, "finish", call_id, "ANSWER", "31", "16", "2", "consumer") as asterisk:
        asterisk.expect_end()


def ends(site: Site) -> list[Any]:
    """The ends on record."""
    return site.records("type = 'call.finished'")


def test_the_end_of_a_conversation_survives_a_journal_that_is_locked(site: Site) -> None:
    """For longer than the caller, and SQLite itself, wait: the missing offer is seen afterwards."""
    call_id = a_call(site)
    with locked(site.folder / "journal.db"):
        end(site, call_id)
        for _ in range(4):  # a second each: the first attempts to write what was promised fail meanwhile
            assert site.screen("0612340000", "energy", "agent-7")["BMN_REASON"] == "journal_unavailable"
    until(lambda: ends(site))
    assert [(one["call"], one["answered"]) for one in ends(site)] == [(call_id, True)]
    until(lambda: site.records("type = 'notice.played'"))
    assert [one["ended"] for one in site.records("type = 'notice.played'")] == ["consumer_left"]
    missing = bmn("log", "--missing-offer", environment=site.environment).stdout
    assert call_id in missing


def test_a_service_that_stops_writes_what_it_promised(site: Site) -> None:
    """It waits for the lock a little."""
    call_id = a_call(site)
    with locked(site.folder / "journal.db"):
        end(site, call_id)
        until(lambda: site.agent.log("call.finished"))
        assert site.agent._process is not None
        site.agent._process.send_signal(signal.SIGTERM)
        until(lambda: site.agent.log("agent.stopped"), 15)
    site.agent.ended()
    assert [one["call"] for one in ends(site)] == [call_id]
    assert site.agent.log("records.lost") == []


def test_a_service_that_must_stop_says_what_is_lost(site: Site) -> None:
    """Bounded in time, and counted: nobody finds out by chance."""
    call_id = a_call(site)
    with locked(site.folder / "journal.db"):
        end(site, call_id)
        until(lambda: site.agent.log("call.finished"))
        site.agent.stop()
    assert site.agent.log("records.lost")[0]["count"] >= 2
    assert ends(site) == []


def test_since_when_a_choice_was_in_force_is_not_made_up(tmp_path: Path, own_redis: PrivateRedis) -> None:
    """Killed between the two, nobody knows; a Redis that gets it again, months later, is not since when."""
    site = Site(tmp_path, own_redis.url)
    with site.agent, redis.Redis.from_url(own_redis.url, decode_responses=True) as client:
        site.load("0611111111\n")
        first, second = a_call(site), a_call(site, "0612349998")
        own_redis.pause()
        assert press_key(site, first, "seller_optout") == "recorded"
        (chosen,) = site.sequences("type = 'choice.recorded'")
        with locked(site.folder / "journal.db"):
            own_redis.resume()
            until(lambda: client.get(redis_keys.APPLIED).split(":")[1] == str(chosen))
            site.agent.kill()
        site.agent.start()
        assert press_key(site, second, "seller_optout") == "recorded"
        until(lambda: site.records("type = 'choice.applied'"))
        site.agent.stop()
        client.flushall()
        site.agent.start()
        assert site.screen("0612349999", "energy", "agent-7")["BMN_REASON"] == "seller_optout"
    assert [one["call"] for one in site.records("type = 'choice.applied'")] == [second]


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[SqliteJournal]:
    """An empty journal."""
    with SqliteJournal(tmp_path / "journal.db", key_of(tmp_path / "journal.db")) as journal:
        yield journal


def test_a_disk_that_was_full_gets_what_was_promised_once(
    journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tried until it works; others are answered meanwhile."""
    commit, tries = journal._writer._commit, []

    def full(connection: sqlite3.Connection, batch: Any) -> int:
        tries.append(len(batch))
        if len(tries) < 4:
            raise sqlite3.OperationalError("database or disk is full")
        return commit(connection, batch)

    monkeypatch.setattr(journal._writer, "_commit", full)
    assert journal.append_later([an_event(1)])
    with pytest.raises(JournalUnavailable, match="disk is full"):
        journal.append([an_event(2)], soon())
    until(lambda: journal.unwritten == 0)
    assert [record.body["number"] for record in journal.records()] == ["+31612340001"]


def test_what_was_promised_first_is_on_record_first(journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when it had to be tried again; what was promised together stays together."""
    commit, tries = journal._writer._commit, []

    def busy(connection: sqlite3.Connection, batch: Any) -> int:
        tries.append(len(batch))
        if len(tries) == 1:
            raise sqlite3.OperationalError("database is locked")
        return commit(connection, batch)

    monkeypatch.setattr(journal._writer, "_commit", busy)
    assert journal.append_later([an_event(1), an_event(2)])
    until(lambda: journal._writer._promised)
    assert journal.append_later([an_event(3)])
    until(lambda: journal.unwritten == 0)
    assert [record.body["number"] for record in journal.records()] == [f"+3161234000{place}" for place in (1, 2, 3)]
    assert tries == [1, 2]


def test_what_is_promised_while_the_journal_is_closed_is_written_too(
    journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was accepted, so it must not stay behind the word that ends the writer."""
    commit, waiting, go = journal._writer._commit, threading.Event(), threading.Event()

    def held(connection: sqlite3.Connection, batch: Any) -> int:
        waiting.set()
        assert go.wait(10)
        return commit(connection, batch)

    monkeypatch.setattr(journal._writer, "_commit", held)
    assert journal.append_later([an_event(1)])
    assert waiting.wait(10)
    journal._writer._queue.put(None)
    assert journal.append_later([an_event(2), an_event(3)])
    assert journal.unwritten == 3
    go.set()
    assert journal._writer.close() == 0
    assert len(list(journal.records())) == 3


@pytest.mark.parametrize("fails", [False, True], ids=["and ends well", "and fails at first"])
def test_a_record_whose_commit_outlasts_its_caller_is_written_once(
    journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    """The caller promises it for later, and the disk that was slow takes it after all."""
    commit, begun, go, tries = journal._writer._commit, threading.Event(), threading.Event(), []

    def slow(connection: sqlite3.Connection, batch: Any) -> int:
        tries.append(len(batch))
        if fails and len(tries) == 1:
            assert all(entry.take() for entry in batch)
            begun.set()
            assert go.wait(10)
            raise sqlite3.OperationalError("disk I/O error")
        written = commit(connection, batch)
        begun.set()
        assert go.wait(10)
        return written

    monkeypatch.setattr(journal._writer, "_commit", slow)
    events = [an_event(1)]
    with pytest.raises(JournalUnavailable, match="in time"):
        journal.append(events, Deadline.after_ms(200))
    assert begun.is_set()
    assert journal.append_later(events)
    assert journal.append_later([an_event(2)])
    go.set()
    until(lambda: journal.unwritten == 0)
    assert [record.body["number"] for record in journal.records()] == ["+31612340001", "+31612340002"]


def test_no_more_is_promised_than_can_be_kept(journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch) -> None:
    """One more is refused, and counted."""
    lost: list[int] = []
    monkeypatch.setattr(journal_writer, "KEPT_FOR_LATER", 3)
    monkeypatch.setattr(journal._writer._watch, "records_lost", lost.append)
    with locked(journal.path):
        assert [journal.append_later([an_event(number)]) for number in range(5)] == [True] * 3 + [False] * 2
    assert lost == [1, 1]
    until(lambda: len(list(journal.records())) == 3)


def test_what_was_promised_and_is_no_longer_true_is_dropped(journal: SqliteJournal) -> None:
    """And does not stand in the way of the rest."""
    journal.append([an_event(1)], soon())
    assert journal.append_later([an_event(2)], Premise(upto=0, number="+31612340001"))
    assert journal.append_later([an_event(3)])
    until(lambda: journal.unwritten == 0)
    assert [record.body["number"] for record in journal.records()] == ["+31612340001", "+31612340003"]


# --- closing the books


def close_books(app: Application, monkeypatch: pytest.MonkeyPatch, after: timedelta = ENDED_WITHIN) -> int:
    """As the service does every minute, so much later."""
    monkeypatch.setattr(app.finishing, "_clock", lambda: datetime.now(UTC) + after + timedelta(minutes=1))
    return app.finishing.close_books(soon())


def test_a_call_that_never_ended_gets_an_end_that_says_so(loaded: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once, after some hours; what is not known is null."""
    call_id = call(loaded)
    assert close_books(loaded, monkeypatch, timedelta()) == 0
    assert [close_books(loaded, monkeypatch) for _ in range(2)] == [1, 0]
    (ended,) = bodies(loaded, EventType.CALL_FINISHED)
    assert (ended["call"], ended["ended_by"], ended["notice"]) == (call_id, "unknown", "unknown")
    assert [ended[name] for name in ("rang", "answered", "answered_s", "cause")] == [None] * 4


def test_a_conversation_without_an_end_still_misses_its_offer(
    loaded: Application, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key shows that they talked."""
    voicemail, undone = call(loaded), call(loaded)
    press(loaded, voicemail, "voicemail")
    press(loaded, undone, "offered")
    press(loaded, undone, "undo")
    assert close_books(loaded, monkeypatch) == 2
    answered = {one["call"]: one["answered"] for one in bodies(loaded, EventType.CALL_FINISHED)}
    assert answered == {voicemail: True, undone: True}
    told = bmn("log", "--missing-offer", environment={"BMN_CONFIG": str(tmp_path / "bmn.toml")}).stdout
    assert undone in told
    assert voicemail not in told


def test_an_end_that_comes_late_is_recorded_all_the_same(loaded: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is known beats what is not."""
    call_id = call(loaded)
    assert close_books(loaded, monkeypatch) == 1
    assert finish(loaded, call_id, "consumer").repeated is False
    assert finish(loaded, call_id, "consumer").repeated is True
    assert [one["ended_by"] for one in bodies(loaded, EventType.CALL_FINISHED)] == ["unknown", "consumer"]


def test_a_dossier_says_that_the_end_is_not_known(
    loaded: Application, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not that nobody answered."""
    call(loaded)
    close_books(loaded, monkeypatch)
    out = tmp_path / "d.json"
    environment = {"BMN_CONFIG": str(tmp_path / "bmn.toml"), "BMN_REDIS_URL": loaded.settings.redis.url}
    bmn("evidence", "0612345678", "--out", str(out), environment=environment)
    text = out.read_text()
    assert UnknownKind.NOT_FINISHED in text
    assert '"ending": null' in text


def test_calls_without_an_end_are_shown(loaded: Application, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that go on and those whose books were closed; not one whose end came after all."""
    closed, late = call(loaded), call(loaded)
    close_books(loaded, monkeypatch)
    finish(loaded, late)
    goes_on = call(loaded)
    finish(loaded, call(loaded))
    environment = {"BMN_CONFIG": str(tmp_path / "bmn.toml"), "BMN_REDIS_URL": loaded.settings.redis.url}
    done = bmn("log", "--without-end", "--json", environment=environment)
    assert [json.loads(line)["call"] for line in done.stdout.splitlines()] == [closed, goes_on]
    doctor = bmn("doctor", "--json", environment=environment, check=False)
    (found,) = [one for one in json.loads(doctor.stdout) if one["check"] == "calls"]
    assert (found["state"], found["what"][:15]) == ("warning", "1 allowed call ")
