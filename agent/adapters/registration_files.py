"""Registrations on their way to the registrar and back, as CSV. The official layout was not found; this one is ours."""

from __future__ import annotations

import contextlib
import csv
import fcntl
import hashlib
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from agent.adapters.csv_entries import content_of, entries_of
from agent.adapters.draft_file import DraftFile, sync_folder
from agent.domain.errors import InputRejected
from agent.domain.journal_events import JsonValue
from agent.domain.registration import Acknowledgement, AcknowledgementFile

COLUMNS: Final = (
    *("batch", "call", "number", "action", "wished_at"),
    *("scope", "sector", "charities", "campaign", "seller"),
)
_RESULTS: Final = {"accepted": True, "rejected": False}


class CsvRegistrationFiles:
    """See ``agent.registrations.RegistrationFiles``. ``lock_path`` is made when it is not there."""

    def __init__(self, lock_path: Path) -> None:
        self._lock_path = lock_path

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """Wait for another export to end."""
        descriptor = os.open(self._lock_path, os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def draft(self, path: Path, rows: Sequence[Mapping[str, JsonValue]]) -> Iterator[_CsvDraft]:
        """Write the batch under a temporary name, on disk before this yields."""
        if path.exists():
            raise InputRejected(f"{path} exists already: choose another name")
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(["" if row[name] is None else row[name] for name in COLUMNS] for row in rows)
        with contextlib.closing(DraftFile(path)) as draft:
            draft.write(text.getvalue().encode(), len(rows))
            draft.sealed()
            yield _CsvDraft(draft)


class _CsvDraft:
    """See ``agent.registrations.Draft``."""

    def __init__(self, draft: DraftFile) -> None:
        self._draft = draft

    def publish(self) -> None:
        """Give it its name, and make that durable."""
        self._draft.publish(force=False)
        sync_folder(self._draft.folder)


def read_acknowledgements(path: Path) -> AcknowledgementFile:
    """CSV with the columns ``call`` and ``result`` (accepted or rejected), ``reason`` for rejections, others ignored.

    ``batch`` and ``number`` are compared with what was exported, where they are there. Raises ``InputRejected`` for the
    whole file when any line is wrong.
    """
    content, seen = content_of(path), set[str]()

    def read(line: int, row: dict[str, str]) -> Acknowledgement | str:
        result, call = row["result"].strip().lower(), row["call"].strip()
        if result not in _RESULTS:
            return f"the result is accepted or rejected, not {row['result']!r}"
        if call in seen:
            return f"call {call} comes twice"
        seen.add(call)
        return Acknowledgement(
            line=line,
            call=call,
            batch=row.get("batch", "").strip(),
            number=row.get("number", "").strip(),
            accepted=_RESULTS[result],
            reason=row.get("reason", "").strip() or None,
        )

    rows = entries_of(
        path.name,
        content,
        columns=("call", "result", "reason"),
        required=("call", "result"),
        others=True,
        read=read,
        noun="answer",
        outcome="recorded",
    )
    return AcknowledgementFile(name=path.name, sha256=hashlib.sha256(content).hexdigest(), rows=tuple(rows))
