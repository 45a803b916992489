"""Journals of older and newer versions: brought up to date whole, or left alone."""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
from pathlib import Path

import pytest

from agent.adapters import journal_file, journal_schema
from agent.adapters.journal_check import verify
from agent.adapters.journal_history import JournalHistory
from agent.adapters.journal_objections import JournalObjections
from agent.adapters.journal_views import JournalCalls
from agent.adapters.sqlite_journal import SqliteJournal
from agent.domain.deadline import Deadline
from agent.domain.errors import JournalUnavailable
from agent.domain.history import HistoryFilter
from agent.domain.journal_events import Event, EventType, Record
from agent.domain.model import Reason
from tests.bench.journal_maker import fill
from tests.integration.test_history import UNTIL, empty, key_of, paged, screen

__all__ = ["empty"]


def test_what_was_released_is_never_changed() -> None:
    """Else journals of that version are taken for tampered with. Add a version, and its digest here."""
    assert [
        hashlib.sha256(repr(sorted(journal_file.definitions_of(version))).encode()).hexdigest()[:16]
        for version in range(1, journal_schema.SCHEMA_VERSION + 1)
    ] == ["bafaada0c0f4f61e", "77d41768efefa384", "647b34fd2caeb152"]


def an_old_journal(path: Path, monkeypatch: pytest.MonkeyPatch, records: int) -> list[Record]:
    """A journal as version 1 made it, with its records."""
    with monkeypatch.context() as patch:
        patch.setattr(journal_file, "VERSIONS", journal_schema.VERSIONS[:1])
        patch.setattr(journal_file, "SCHEMA_VERSION", 1)
        with SqliteJournal(path, key_of(path)):
            pass
        fill(path, records, UNTIL, lambda *_: None)
        with SqliteJournal(path, key_of(path)) as journal:
            return list(journal.records())


def test_an_older_journal_is_brought_up_to_date_and_says_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its records, its chain, and what is counted of them as if this version had written it."""
    path = tmp_path / "journal.db"
    records = an_old_journal(path, monkeypatch, 400)
    steps: list[tuple[str, int, int | None]] = []
    with SqliteJournal(path, key_of(path), progress=lambda *step: steps.append(step)) as journal:
        assert list(journal.records()) == records
        found = set(journal.query("SELECT * FROM tally", ())), set(journal.query("SELECT * FROM open_calls", ()))
    assert steps[0] == ("updating the journal", 0, steps[-1][2])
    assert steps[-1][1] == steps[-1][2]
    assert verify(path, key_of(path), lambda *_: None).whole
    new = tmp_path / "new.db"
    with SqliteJournal(new, key_of(new)):
        pass
    fill(new, 400, UNTIL, lambda *_: None)
    with SqliteJournal(new, key_of(new)) as journal:
        assert found == (
            set(journal.query("SELECT * FROM tally", ())),
            set(journal.query("SELECT * FROM open_calls", ())),
        )


def test_objections_of_an_older_journal_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that were there before it was brought up to date, and those that an older process appends."""
    path = tmp_path / "journal.db"
    with monkeypatch.context() as patch:
        patch.setattr(journal_file, "VERSIONS", journal_schema.VERSIONS[:1])
        patch.setattr(journal_file, "SCHEMA_VERSION", 1)
        older = SqliteJournal(path, key_of(path))
    with older:
        object_to(older, "acme")
        with SqliteJournal(path, key_of(path)) as journal:
            objections = JournalObjections(journal, JournalCalls(journal))
            assert objections.sellers() == ["acme"]
            object_to(older, "hart")
            assert objections.sellers() == ["acme", "hart"]
            assert [objections.any_in_force(seller, 0) for seller in ("acme", "hart", "bank")] == [True, True, False]


def object_to(journal: SqliteJournal, seller: str) -> None:
    """Somebody writes a letter to a seller."""
    body = {"seller": seller, "number": "+31612345678", "source": "letter", "by": "tests"}
    journal.append([Event.of(EventType.OPTOUT_ADDED, body)], Deadline.after_ms(5_000))


def test_an_older_process_goes_on_while_a_short_journal_is_brought_up_to_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it appends afterwards is counted, too."""
    path = tmp_path / "journal.db"
    an_old_journal(path, monkeypatch, 100)
    with monkeypatch.context() as patch:
        patch.setattr(journal_file, "VERSIONS", journal_schema.VERSIONS[:1])
        patch.setattr(journal_file, "SCHEMA_VERSION", 1)
        older = SqliteJournal(path, key_of(path))
    screen(older, "before", Reason.REGISTERED)
    with SqliteJournal(path, key_of(path)) as journal, older:
        screen(older, "after", Reason.REGISTERED)
        page = JournalHistory(journal).page(HistoryFilter(campaign="energy"), limit=10)
        assert [record.body["call"] for record in page.records] == ["after", "before"]
    assert verify(path, key_of(path), lambda *_: None).whole


def test_a_long_journal_is_not_brought_up_to_date_beside_another_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For as long as that takes, every call would be blocked."""
    path = tmp_path / "journal.db"
    an_old_journal(path, monkeypatch, 100)
    monkeypatch.setattr(journal_file, "_AT_ONCE", 50)
    monkeypatch.setattr(journal_file, "BUSY_MS", 20)
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute("SELECT * FROM state").fetchone()
        with pytest.raises(JournalUnavailable, match="stop whatever has it open"):
            SqliteJournal(path, key_of(path))
    with SqliteJournal(path, key_of(path)) as journal:
        assert len(paged(JournalHistory(journal), HistoryFilter(), 30)) == 100


def test_an_update_that_is_cut_off_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next start does it from the beginning."""
    path = tmp_path / "journal.db"
    an_old_journal(path, monkeypatch, 100)

    def cut_off(step: str, done: int, total: int | None) -> None:
        if total is not None and done == total - 1:
            raise KeyboardInterrupt(step)

    with pytest.raises(KeyboardInterrupt):
        SqliteJournal(path, key_of(path), progress=cut_off)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'tally'").fetchone() == (0,)
    with SqliteJournal(path, key_of(path)) as journal:
        assert len(list(journal.records())) == 100


def test_an_older_journal_that_was_tampered_with_is_not_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is not ours is named."""
    path = tmp_path / "journal.db"
    an_old_journal(path, monkeypatch, 100)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE VIEW lie AS SELECT 1")
    with pytest.raises(JournalUnavailable, match="its view 'lie' is not ours"):
        SqliteJournal(path, key_of(path))


def test_a_newer_journal_is_left_alone(empty: SqliteJournal) -> None:
    """Another version knows what it means."""
    empty.close()
    with contextlib.closing(sqlite3.connect(empty.path)) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(JournalUnavailable, match="newer version"):
        SqliteJournal(empty.path, key_of(empty.path))
