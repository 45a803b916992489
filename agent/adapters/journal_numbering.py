"""With which version of phonenumbers numbers were read: those of the register in force, and those of calls now."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from agent.adapters.sqlite_journal import SqliteJournal
from agent.domain.journal_events import EventType
from agent.domain.register_history import register_history, unread_lines

_STOPPED: Final = (
    f"type = '{EventType.AGENT_STOPPED}' AND seq > ? AND json_extract(body, '$.host') = ? "
    "AND json_extract(body, '$.pid') = ?"
)


def unread(path: Path, key_path: Path, numbering: str, profile: str) -> str:
    """See ``unread_lines``, of the register of ``profile``. Raises ``JournalUnavailable``."""
    with SqliteJournal(path, key_path, create=False, progress=None) as journal:
        return unread_lines(register_history(journal.register_changes(profile)), numbering)


def service_numbering(path: Path, key_path: Path) -> str | None:
    """The version of the service that was started last and did not stop since; None when there is none, or it is not
    known. Raises ``JournalUnavailable``.
    """
    with SqliteJournal(path, key_path, create=False, progress=None) as journal:
        started = next(journal.records(f"type = '{EventType.AGENT_STARTED}'", limit=1, newest_first=True), None)
        if started is None:
            return None
        process = (started.seq, started.body["host"], started.body["pid"])
        version = started.body.get("phonenumbers")
        stopped = next(journal.records(_STOPPED, process, limit=1), None)
        return None if version is None or stopped is not None else str(version)
