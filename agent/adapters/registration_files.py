"""Registrations on their way to the registrar and back, as CSV. The official layout was not found; this one is ours."""

from __future__ import annotations

import contextlib
import csv
import fcntl
import hashlib
import io
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from agent.domain.errors import InputRejected
from agent.domain.journal_events import JsonValue
from agent.domain.registration import Acknowledgement, AcknowledgementFile

COLUMNS: Final = (
    *("batch", "call", "number", "action", "wished_at"),
    *("scope", "sector", "charities", "campaign", "seller"),
)
_RESULTS: Final = {"accepted": True, "rejected": False}
_PROBLEMS_SHOWN: Final = 20


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
        """Write the batch under a temporary name, on disk before this yields; mode 0600, for it holds numbers."""
        if path.exists():
            raise InputRejected(f"{path} exists already: choose another name")
        try:
            descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        except OSError as error:
            raise InputRejected(f"{path} cannot be written: {error.strerror}") from error
        draft = Path(name)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerow(COLUMNS)
                writer.writerows(["" if row[name] is None else row[name] for name in COLUMNS] for row in rows)
                file.flush()
                os.fsync(file.fileno())
            yield _CsvDraft(draft, path)
        finally:
            draft.unlink(missing_ok=True)


class _CsvDraft:
    """See ``agent.registrations.Draft``."""

    def __init__(self, draft: Path, path: Path) -> None:
        self._draft = draft
        self._path = path

    def publish(self) -> None:
        """Link it to its name, which fails rather than replaces; then make the name durable."""
        try:
            os.link(self._draft, self._path)
        except FileExistsError as error:
            raise InputRejected(f"{self._path} exists already: write it again under another name") from error
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def read_acknowledgements(path: Path) -> AcknowledgementFile:
    """CSV with the columns ``call`` and ``result`` (accepted or rejected), ``reason`` for rejections, others ignored.

    Raises ``InputRejected`` for the whole file when any line is wrong.
    """
    try:
        content = path.read_bytes()
        rows = csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
        header = rows.fieldnames or ()
        if not {"call", "result"} <= set(header):
            found = ",".join(header) or "nothing"
            raise InputRejected(f"{path.name}: the header must hold call and result, it is {found}")
        lines = [(rows.line_num, row) for row in rows]
    except OSError as error:
        raise InputRejected(f"{path} cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputRejected(f"{path.name} is not CSV text in UTF-8: {error}") from error
    problems = [
        f"{path.name}, line {line}: the result is accepted or rejected, not {row['result']!r}"
        for line, row in lines
        if (row["result"] or "").strip().lower() not in _RESULTS
    ]
    calls = [str(row["call"]) for _, row in lines]
    problems += [f"{path.name}: call {call} comes twice" for call in sorted(set(calls)) if calls.count(call) > 1]
    if problems:
        message = f"{path.name} has {len(problems):,} wrong lines, so nothing was recorded"
        raise InputRejected(message, tuple(problems[:_PROBLEMS_SHOWN]), len(problems))
    if not lines:
        raise InputRejected(f"there is no answer in {path.name}")
    return AcknowledgementFile(
        name=path.name,
        sha256=hashlib.sha256(content).hexdigest(),
        rows=tuple(_acknowledgement(line, row) for line, row in lines),
    )


def _acknowledgement(line: int, row: dict[str, str]) -> Acknowledgement:
    return Acknowledgement(
        line=line,
        call=row["call"].strip(),
        batch=(row.get("batch") or "").strip(),
        number=(row.get("number") or "").strip(),
        accepted=_RESULTS[row["result"].strip().lower()],
        reason=(row.get("reason") or "").strip() or None,
    )
