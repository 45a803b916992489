"""The journal: on disk before anyone hears "done", one chain over many processes, whatever fails."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.adapters import journal_file
from agent.adapters.journal_check import ChainCheck, verify
from agent.adapters.journal_writer import JournalWriter
from agent.adapters.sqlite_journal import SqliteJournal
from agent.domain import chain
from agent.domain.deadline import Deadline
from agent.domain.errors import InputRejected, JournalKeyMissing, JournalUnavailable
from agent.domain.journal_events import Event, EventType

RECORDS = 12


def an_event(number: int = 0, event_type: EventType = EventType.OPTOUT_ADDED) -> Event:
    """An opt-out of some number, or another event about it."""
    body = {"seller": "acme", "number": f"+3161234{number:04d}", "source": "test", "note": None, "by": "tests"}
    if event_type is EventType.OPTOUT_REMOVED:
        body = {"seller": "acme", "number": f"+3161234{number:04d}", "reason": "test", "by": "tests"}
    return Event.of(event_type, body)


def soon() -> Deadline:
    """Time enough."""
    return Deadline.after_ms(5_000)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the journal goes."""
    return tmp_path / "journal.db"


@pytest.fixture
def journal(path: Path) -> Iterator[SqliteJournal]:
    """A journal with some records."""
    with SqliteJournal(path, key_of(path)) as journal:
        for number in range(RECORDS):
            journal.append([an_event(number)], soon())
        yield journal


def key_of(path: Path) -> Path:
    """Where its key goes."""
    return path.with_name("journal.key")


def check(path: Path, anchor: chain.Anchor | None = None) -> ChainCheck:
    """What `bmn journal verify` says."""
    return verify(path, key_of(path), lambda *_: None, anchor)


def test_an_untouched_journal_is_whole(journal: SqliteJournal, path: Path) -> None:
    """While it is open, too."""
    head = str(journal.head())
    assert head.startswith(f"{RECORDS}:")
    assert check(path) == ChainCheck(journal=journal.id, records=RECORDS, first_bad=None, problem="", head=head)


def test_a_lost_key_is_named(journal: SqliteJournal, path: Path) -> None:
    """Nothing is appended under a new key."""
    journal.close()
    key_of(path).unlink()
    with pytest.raises(JournalKeyMissing, match="put the key back"):
        SqliteJournal(path, key_of(path))


def test_a_lost_journal_is_not_replaced_by_an_empty_one(journal: SqliteJournal, path: Path) -> None:
    """It held the opt-outs: starting afresh would call people who objected."""
    journal.close()
    path.unlink()
    with pytest.raises(JournalUnavailable, match="restore the journal"):
        SqliteJournal(path, key_of(path))
    assert not path.exists()


def test_a_start_that_was_cut_off_anywhere_is_finished_by_the_next(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed before the journal is there, or after it and before the key is in its place: nobody must repair it."""

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    for step in ("_create_both", "publish_key"):
        with monkeypatch.context() as cut_off:
            cut_off.setattr(journal_file, step, killed)
            with pytest.raises(KeyboardInterrupt):
                SqliteJournal(path, key_of(path))
        with SqliteJournal(path, key_of(path)) as journal:
            assert journal.append([an_event()], soon()) == (1,)
        assert sorted(file.name for file in path.parent.iterdir()) == ["journal.db", "journal.key"]
        path.unlink()
        key_of(path).unlink()


def test_key_and_journal_are_on_disk_with_their_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file whose folder was not synced may be gone after a power cut: both folders are, after the last change."""
    path, key_path = tmp_path / "data" / "journal.db", tmp_path / "keys" / "journal.key"
    synced: dict[Path, set[str]] = {}
    fsync = os.fsync

    def watched(descriptor: int) -> None:
        fsync(descriptor)
        target = Path(f"/proc/self/fd/{descriptor}").readlink()
        if target.is_dir():
            synced[target] = {file.name for file in target.iterdir()}

    monkeypatch.setattr(os, "fsync", watched)
    SqliteJournal(path, key_path).close()
    assert synced[key_path.parent] == {"journal.key"}
    assert "journal.db" in synced[path.parent]


def test_a_journal_on_read_only_media_is_read_and_not_written(
    journal: SqliteJournal, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is made beside it; appending says so."""
    journal.close()
    monkeypatch.setattr(journal_file, "_is_on_read_only_media", lambda _: True)
    with SqliteJournal(path, key_of(path)) as again:
        assert len(list(again.records())) == RECORDS
        assert check(path).whole
        with pytest.raises(JournalUnavailable, match="readonly"):
            again.append([an_event()], soon())
        assert sorted(file.name for file in path.parent.iterdir()) == ["journal.db", "journal.key"]


def test_what_is_still_in_side_files_is_not_passed_over_on_read_only_media(
    journal: SqliteJournal, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy with its -wal file holds records that the journal file alone does not."""
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert path.with_name(path.name + "-wal").exists()
    assert check(path).records == RECORDS
    journal.close()
    assert journal_file._is_on_read_only_media(path)


def test_who_locks_the_journal_is_named_and_not_waited_for_without_end(journal: SqliteJournal, path: Path) -> None:
    """A shell that somebody forgot, whether the caller's time runs out first or SQLite's own."""
    shell = subprocess.Popen(["sqlite3", str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert shell.stdin is not None
    assert shell.stdout is not None
    shell.stdin.write("BEGIN IMMEDIATE; SELECT 'locked';\n")
    shell.stdin.flush()
    assert shell.stdout.readline() == "locked\n"
    for patience_ms in (100, 60_000):
        with pytest.raises(JournalUnavailable, match=rf"is locked by sqlite3 \(process {shell.pid}\): nothing can"):
            journal.append([an_event()], Deadline.after_ms(patience_ms))
    journal.append_later([an_event()])
    journal.close()
    assert journal._writer.alive, "close did not wait for the lock"
    shell.communicate("ROLLBACK;")
    journal._writer._thread.join(10)
    assert check(path).records == RECORDS + 1


def test_journal_and_key_are_for_their_owner_only(journal: SqliteJournal, path: Path) -> None:
    """They hold full numbers and the means to forge them; the side files of SQLite too."""
    for file in path.parent.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file.name


def test_opening_again_goes_on_with_the_chain(journal: SqliteJournal, path: Path) -> None:
    """Same id, next number."""
    journal.close()
    with SqliteJournal(path, key_of(path)) as again:
        assert again.id == journal.id
        assert again.append([an_event()], soon()) == (RECORDS + 1,)
    assert check(path).records == RECORDS + 1


def test_events_of_one_append_stand_next_to_each_other(journal: SqliteJournal) -> None:
    """Whoever else appends."""
    seqs: list[tuple[int, ...]] = []

    def append() -> None:
        for _ in range(20):
            seqs.append(journal.append([an_event(1), an_event(2), an_event(3)], soon()))  # noqa: PERF401

    threads = [threading.Thread(target=append) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seqs) == 80
    assert all(group == tuple(range(group[0], group[0] + 3)) for group in seqs)


_APPENDER = """
import sys
from pathlib import Path
from agent.adapters.sqlite_journal import SqliteJournal
from agent.domain import chain
from agent.domain.deadline import Deadline
from tests.integration.test_journal import an_event
path = Path(sys.argv[1])
with SqliteJournal(path, path.with_name("journal.key")) as journal:
    for number in range(int(sys.argv[2])):
        journal.append([an_event(number)], Deadline.after_ms(20_000))
        print(number, flush=True)
"""


def _appender(path: Path, count: int) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", _APPENDER, str(path), str(count)], stdout=subprocess.PIPE, text=True)


def test_processes_that_start_and_append_at_once_make_one_chain(path: Path) -> None:
    """Also when none of them found a journal."""
    processes = [_appender(path, 50) for _ in range(4)]
    for process in processes:
        process.communicate(timeout=60)
        assert process.returncode == 0
    found = check(path)
    assert (found.records, found.whole) == (200, True)


def test_what_was_confirmed_survives_kill_9(path: Path) -> None:
    """Every number that was printed after its append is there, and the chain is whole."""
    for _ in range(5):
        process = _appender(path, 100_000)
        assert process.stdout is not None
        confirmed = 0
        before = check(path).records if path.exists() else 0
        for _line in process.stdout:
            confirmed += 1
            if confirmed == 40:
                process.send_signal(signal.SIGKILL)
                confirmed += len(process.stdout.readlines())
                break
        process.wait(timeout=10)
        process.stdout.close()
        found = check(path)
        assert found.whole
        assert found.records - before >= confirmed


def test_a_commit_reaches_the_disk_before_append_returns(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection that writes has SQLite sync its write-ahead log at every commit: FULL is 2."""
    seen: list[tuple[object, ...]] = []
    commit = JournalWriter._commit

    def watched(writer: JournalWriter, connection: sqlite3.Connection, batch: list[Any]) -> int:
        seen.extend(connection.execute(f"PRAGMA {name}").fetchone() for name in ("journal_mode", "synchronous"))
        return commit(writer, connection, batch)

    monkeypatch.setattr(JournalWriter, "_commit", watched)
    with SqliteJournal(path, key_of(path)) as journal:
        journal.append([an_event()], soon())
    assert seen == [("wal",), (2,)]


def test_a_full_disk_is_an_answer_and_not_the_end(path: Path) -> None:
    """Appending fails with a sentence, the chain stays whole, and appending works again when there is room."""
    with SqliteJournal(path, key_of(path)) as journal:
        journal.append([an_event()], soon())
        import resource

        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        wal = path.with_name(path.name + "-wal")
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (wal.stat().st_size, limits[1]))
            with pytest.raises(JournalUnavailable):
                journal.append([an_event(number) for number in range(200)], soon())
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            signal.signal(signal.SIGXFSZ, previous)
        assert journal.append([an_event()], soon()) == (2,)
    assert check(path).records == 2


def test_text_that_is_no_unicode_is_an_error_of_its_caller_only(journal: SqliteJournal, path: Path) -> None:
    """The lone surrogate of an argument that was not UTF-8; the writer and everyone else go on."""
    body = dict(an_event().body) | {"note": "\udcff"}
    with pytest.raises(InputRejected, match="not Unicode"):
        journal.append([Event.of(EventType.OPTOUT_ADDED, body)], soon())
    assert journal.append([an_event()], soon()) == (RECORDS + 1,)
    assert check(path).records == RECORDS + 1


def test_no_error_whatsoever_ends_the_writer(journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller hears of it, and the next append is written."""

    def fail(*_: object) -> None:
        raise RuntimeError("nobody thought of this")

    with monkeypatch.context() as broken:
        broken.setattr(journal._writer, "_commit", fail)
        with pytest.raises(JournalUnavailable, match="nobody thought of this"):
            journal.append([an_event()], soon())
    assert journal.append([an_event()], soon()) == (RECORDS + 1,)


def test_appending_after_close_is_refused(journal: SqliteJournal) -> None:
    """Never silently dropped."""
    journal.close()
    with pytest.raises(JournalUnavailable, match="stopped"):
        journal.append([an_event()], soon())


def test_an_event_with_the_wrong_fields_is_refused() -> None:
    """The documented fields are the fields."""
    with pytest.raises(ValueError, match=r"optout\.added has the fields"):
        Event(EventType.OPTOUT_ADDED, {"seller": "acme"})


def test_protective_changes_are_told_apart(journal: SqliteJournal) -> None:
    """Removing an opt-out may lag; adding one may not."""
    assert journal.state().restriction_watermark == RECORDS
    journal.append([an_event(1, EventType.OPTOUT_REMOVED)], soon())
    assert journal.state().restriction_watermark == RECORDS
    (added,) = journal.append([an_event(1)], soon())
    assert journal.state().restriction_watermark == added


def test_a_damaged_file_is_an_error_in_words(path: Path) -> None:
    """Not a traceback."""
    with SqliteJournal(path, key_of(path)) as journal:
        journal.append([an_event()], soon())
    path.write_bytes(b"garbage" * 1_000)
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    with pytest.raises(JournalUnavailable):
        check(path)
    with pytest.raises(JournalUnavailable):
        SqliteJournal(path, key_of(path))
    assert path.read_bytes().startswith(b"garbage"), "never replaced by a new one"
