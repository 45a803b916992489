"""A journal that is not the one at its path any more: nothing is allowed on its word, and the service ends."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from agent.adapters.journal_check import verify
from deploy.lab.agent_service import bmn
from tests.agi.test_screen_script import Site, site

__all__ = ["site"]

ALLOWED = ("0612349999", "energy", "agent-1")


def backup(path: Path) -> Path:
    """A copy as ``sqlite3 .backup`` makes it: one whole file."""
    copy = path.with_name("backup.db")
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    return copy


def restore_beside(path: Path) -> None:
    """``mv`` of a restored copy over it, as many do while the service runs."""
    copy = path.with_name("backup.db")
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink()
    copy.rename(path)


def restore_in_place(path: Path) -> None:
    """``cp`` of a restored copy over it: the same inode, and the write-ahead log of another journal beside it."""
    shutil.copyfile(path.with_name("backup.db"), path)


def remove(path: Path) -> None:
    """``rm``, or a volume that went away."""
    path.unlink()


def remove_the_log(path: Path) -> None:
    """A tidy person who does not know what journal.db-wal is: what is committed next would be in no file."""
    path.with_name(path.name + "-wal").unlink()


@pytest.mark.parametrize("change", [restore_beside, restore_in_place, remove, remove_the_log])
def test_no_call_is_allowed_on_the_word_of_a_file_that_nobody_else_sees(
    site: Site, change: Callable[[Path], None]
) -> None:
    """Until the service has ended (exit code 5): then a supervisor starts it on what is there."""
    site.load("0687654321\n")
    path = site.folder / "journal.db"
    backup(path)
    for number in range(120):  # the journal grows, and SQLite brings its log into it now and then
        assert site.screen(f"061234{number:04d}", "energy", "agent-1")["BMN_VERDICT"] == "allow"
    with closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA wal_checkpoint")
    assert site.screen(*ALLOWED)["BMN_VERDICT"] == "allow"
    change(path)
    verdicts: list[str] = []
    try:
        while len(verdicts) < 200:
            verdicts.append(site.screen(*ALLOWED)["BMN_VERDICT"])
    except (OSError, AssertionError):
        pass  # it has ended
    assert set(verdicts) <= {"block"}
    assert site.agent.ended() == 5
    (line,) = site.agent.log("journal.replaced")
    assert str(path) in line["why"]


def test_what_was_restored_holds_after_the_next_start(site: Site) -> None:
    """An objection that is only in the restored journal protects, and the chain is whole."""
    site.load("0687654321\n")
    path = site.folder / "journal.db"
    bmn("optout", "add", "0612349999", "--seller", "acme", environment=site.environment)
    backup(path)
    bmn("optout", "remove", "0612349999", "--seller", "acme", "--reason", "x", environment=site.environment)
    assert site.screen(*ALLOWED)["BMN_VERDICT"] == "allow"
    restore_beside(path)
    assert site.agent.ended() == 5
    site.agent.start()
    assert site.screen(*ALLOWED)["BMN_REASON"] == "seller_optout"
    assert verify(path, site.folder / "journal.db.key", lambda *_: None).whole


def test_an_objection_is_not_recorded_in_a_file_that_nobody_else_sees(site: Site) -> None:
    """Neither by a command that began before the file was replaced."""
    from agent.adapters.sqlite_journal import SqliteJournal
    from agent.domain.errors import JournalReplaced
    from tests.integration.test_journal import an_event, soon

    path = site.folder / "journal.db"
    backup(path)
    site.agent.kill()
    with SqliteJournal(path, site.folder / "journal.db.key") as journal:
        path.with_name("backup.db").replace(path)
        for act in (lambda: journal.append([an_event()], soon()), journal.state, lambda: list(journal.records())):
            with pytest.raises(JournalReplaced, match="was replaced"):
                act()
