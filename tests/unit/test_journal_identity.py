"""The journal's files, looked at by many threads at once while the journal grows."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agent.adapters.journal_identity import JournalFiles
from agent.domain.errors import JournalReplaced


def test_a_journal_that_grows_between_two_looks_did_not_become_shorter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One thread looks, the file grows, another thread looks, and only then the first one compares."""
    path = tmp_path / "journal.db"
    path.write_bytes(b"x" * 100)
    files, real, looks = JournalFiles(path), os.stat, [False]

    def look(name: str, **options: bool) -> os.stat_result:
        found = real(name, **options)
        if name == str(path) and not looks[0]:
            looks[0] = True
            path.write_bytes(b"x" * 200)
            files.require_in_place()
        return found

    monkeypatch.setattr(os, "stat", look)
    files.require_in_place()
    monkeypatch.undo()
    assert looks == [True]


def test_a_journal_that_became_shorter_is_another_one(tmp_path: Path) -> None:
    """It never does so by itself, however far it grew before."""
    path = tmp_path / "journal.db"
    path.write_bytes(b"x" * 100)
    files = JournalFiles(path)
    path.write_bytes(b"x" * 200)
    files.require_in_place()
    path.write_bytes(b"x" * 150)
    with pytest.raises(JournalReplaced, match="became shorter"):
        files.require_in_place()
