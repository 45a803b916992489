"""What somebody changes in the journal's file, with any tool and without the key, is found."""

from __future__ import annotations

import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from agent.adapters.sqlite_journal import SqliteJournal
from agent.domain import chain
from agent.domain.errors import JournalUnavailable
from tests.integration.test_journal import RECORDS, an_event, check, journal, key_of, path, soon

__all__ = ["journal", "path"]


def shell(path: Path, sql: str) -> None:
    """What somebody with the file and the sqlite3 shell, but without the key, can do."""
    done = subprocess.run(["sqlite3", str(path), sql], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


TAMPERING = {
    "UPDATE records SET body = replace(body, 'acme', 'evil') WHERE seq = 5": 5,
    "UPDATE records SET at = at + 1 WHERE seq = 6": 6,
    "UPDATE records SET type = 'optout.removed' WHERE seq = 7": 7,
    "UPDATE records SET body = NULL, salt = NULL WHERE seq = 8": 8,
    "UPDATE records SET digest = randomblob(32) WHERE seq = 4": 4,
    "DELETE FROM records WHERE seq = 1": 1,
    "DELETE FROM records WHERE seq = 5": 5,
    "DELETE FROM records WHERE seq > 9": 10,
    "DELETE FROM records WHERE seq = 12": 12,
    "DELETE FROM records WHERE seq = 12; UPDATE state SET seq = 11": 11,
    """DELETE FROM records WHERE seq = 12;
       UPDATE state SET seq = 11, protective = 11, link = (SELECT link FROM records WHERE seq = 11)""": 11,
    "DELETE FROM records": 1,
    """DELETE FROM records WHERE seq = 5;
       UPDATE records SET seq = seq - 1 WHERE seq > 5;
       UPDATE state SET seq = 11""": 5,
    """UPDATE records SET seq = 99 WHERE seq = 3;
       UPDATE records SET seq = 3 WHERE seq = 4;
       UPDATE records SET seq = 4 WHERE seq = 99""": 3,
    """INSERT INTO records (seq, at, type, salt, body, digest, link)
       SELECT 13, at, type, salt, body, digest, link FROM records WHERE seq = 12""": 13,
    "UPDATE records SET body = replace(body, 'acme', CAST(x'ff' AS TEXT)) WHERE seq = 5": 5,
    "UPDATE records SET type = CAST(x'ff' AS TEXT) WHERE seq = 5": 5,
    "UPDATE state SET protective = 3": 12,
    "DELETE FROM state": 1,
}


@pytest.mark.parametrize(("sql", "first_bad"), TAMPERING.items())
def test_what_the_sqlite3_shell_changes_is_found(journal: SqliteJournal, path: Path, sql: str, first_bad: int) -> None:
    """Altered, removed, reordered, inserted, cut off: the first bad record is named."""
    journal.close()
    shell(path, sql)
    found = check(path)
    assert (found.first_bad, found.whole) == (first_bad, False)
    assert found.problem
    assert "3161234" not in found.problem


REDEFINING = {
    """CREATE TRIGGER lie BEFORE INSERT ON records BEGIN SELECT RAISE(IGNORE); END""": "trigger 'lie'",
    "CREATE VIEW lie AS SELECT 1": "view 'lie'",
    "DROP INDEX records_by_type": "index 'records_by_type'",
    """PRAGMA writable_schema = ON;
       UPDATE sqlite_schema SET sql = replace(sql, '$.number', '$.seller') WHERE name = 'records'""": "table 'records'",
}


@pytest.mark.parametrize(("sql", "what"), REDEFINING.items(), ids=REDEFINING.values())
def test_tables_that_would_lie_are_found(journal: SqliteJournal, path: Path, sql: str, what: str) -> None:
    """Every record is as it was, but what is shown or kept of them would not be; nothing is appended either."""
    journal.close()
    shell(path, sql)
    found = check(path)
    assert (found.first_bad, found.problem) == (1, f"the journal's {what} is not ours, so what it shows may be false")
    with pytest.raises(JournalUnavailable, match=f"tampered with: its {what} is not ours"):
        SqliteJournal(path, key_of(path))


def behind_the_schema(path: Path, sql: str) -> None:
    """Change records while no index follows and nothing is computed or checked; then the schema is as it was."""

    def writable() -> closing[sqlite3.Connection]:
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("PRAGMA writable_schema = ON")
        return closing(connection)

    with writable() as connection:
        schema = list(connection.execute("SELECT * FROM sqlite_schema"))
        connection.execute("DELETE FROM sqlite_schema WHERE type = 'index'")
        bare = "CREATE TABLE records (seq INTEGER PRIMARY KEY, at, type, salt, body, digest, link)"
        connection.execute("UPDATE sqlite_schema SET sql = ? WHERE name = 'records'", (bare,))
    shell(path, sql)
    with writable() as connection:
        connection.execute("DELETE FROM sqlite_schema")
        connection.executemany("INSERT INTO sqlite_schema VALUES (?, ?, ?, ?, ?)", schema)


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE records SET salt = CAST(salt || x'7b' AS BLOB), body = substr(body, 2) WHERE seq = 5",
        "UPDATE records SET body = CAST(body AS BLOB) WHERE seq = 5",
        "UPDATE records SET salt = substr(salt, 1, 15), body = CAST(substr(salt, 16) AS TEXT) || body WHERE seq = 5",
    ],
)
def test_a_body_that_begins_elsewhere_or_is_no_text_is_found(journal: SqliteJournal, path: Path, sql: str) -> None:
    """Bytes moved between salt and body leave the digest as it was, and so does another type."""
    journal.close()
    behind_the_schema(path, sql)
    assert check(path).first_bad == 5


def test_an_index_that_hides_a_record_is_found(journal: SqliteJournal, path: Path) -> None:
    """Screening looks for opt-outs by an index: this one says that the newest is something else."""
    journal.close()
    shell(path, "UPDATE records SET type = 'optout.removed' WHERE seq = 12")
    behind_the_schema(path, "UPDATE records SET type = 'optout.added' WHERE seq = 12")
    assert check(path).problem.startswith("the journal's indexes do not show all its records: ")


def test_a_journal_set_back_to_an_older_state_is_found_by_an_anchor(journal: SqliteJournal, path: Path) -> None:
    """The file alone is whole; what somebody noted elsewhere is not in it, also when others were appended since."""
    older = journal.head()
    journal.close()
    copy = path.read_bytes()
    with SqliteJournal(path, key_of(path)) as ahead:
        ahead.append([an_event()], soon())
        newer = ahead.head()
    assert check(path, older).whole
    assert check(path, newer).whole
    path.write_bytes(copy)
    assert check(path).whole
    assert (check(path, newer).first_bad, check(path, newer).records) == (RECORDS + 1, RECORDS)
    with SqliteJournal(path, key_of(path)) as again:
        again.append([an_event()], soon())
    assert check(path).whole
    assert "not the one of the anchor" in check(path, newer).problem
    assert check(path, older).whole
    assert check(path, chain.Anchor(0, older.link)).first_bad == 1


def test_an_anchor_is_read_as_it_was_written(journal: SqliteJournal) -> None:
    """And nothing else is one."""
    assert chain.Anchor.parse(str(journal.head())) == journal.head()
    for text in ("", "12", "12:", "12:0F8C27D1A3B4E596", "-1:0f8c27d1a3b4e596", "12:0f8c27d1a3b4e596 "):
        with pytest.raises(ValueError, match="anchor"):
            chain.Anchor.parse(text)


def test_a_body_that_is_no_text_is_named_when_it_is_read(journal: SqliteJournal, path: Path) -> None:
    """By its record, and without what it holds."""
    journal.close()
    shell(path, "UPDATE records SET body = replace(body, 'acme', CAST(x'ff' AS TEXT)) WHERE seq = 5")
    with SqliteJournal(path, key_of(path)) as again, pytest.raises(JournalUnavailable, match="record 5 of") as caught:
        list(again.records())
    assert "3161234" not in str(caught.value)


def test_a_swap_of_two_bodies_with_their_digests_is_found(journal: SqliteJournal, path: Path) -> None:
    """Reordering that leaves every digest right."""
    journal.close()
    shell(
        path,
        "CREATE TABLE swap AS SELECT * FROM records WHERE seq IN (4, 9);"
        + ";".join(
            f"UPDATE records SET (at, type, salt, body, digest) ="
            f" (SELECT at, type, salt, body, digest FROM swap WHERE seq = {other}) WHERE seq = {seq}"
            for seq, other in ((4, 9), (9, 4))
        )
        + "; DROP TABLE swap",
    )
    assert check(path).first_bad == 4


def test_the_chain_cannot_be_rewritten_with_another_key(journal: SqliteJournal, path: Path) -> None:
    """Someone who has the file makes his own key: the true one does not accept it."""
    journal.close()
    key = "00" * 32
    key_of(path).write_text(key)
    for use in (check, lambda path: SqliteJournal(path, key_of(path))):
        with pytest.raises(JournalUnavailable, match="does not belong"):
            use(path)
    forged = chain.key_check(bytes.fromhex(key), journal.id)
    shell(path, f"UPDATE state SET key_check = x'{forged.hex()}'")
    assert check(path).first_bad == 1
    with pytest.raises(JournalUnavailable, match="tampered"):
        SqliteJournal(path, key_of(path))
