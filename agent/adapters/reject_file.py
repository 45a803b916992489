"""Where the lines of register files that were left out are written: CSV ``file,line,reason``, never the number."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from agent.domain.errors import InputRejected
from agent.domain.ports import RegisterFile, RejectedLine


class RejectFile:
    """A context manager; without a path it writes nothing. A file that is there already is replaced."""

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def __enter__(self) -> Self:
        """Raise ``InputRejected`` when it cannot be written."""
        if self._path is not None:
            try:
                handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            except OSError as error:
                raise InputRejected(f"{self._path} (--rejects) cannot be written: {error.strerror}") from error
            self._file = os.fdopen(handle, "w", encoding="utf-8", newline="")
            self._rows = csv.writer(self._file)
            self._rows.writerow(("file", "line", "reason"))
        return self

    def __exit__(self, *_: object) -> None:
        if self._path is not None:
            self._file.close()

    def note(self, file: RegisterFile, rejected: Sequence[RejectedLine]) -> None:
        """Write some lines of ``file``."""
        if self._path is not None:
            self._rows.writerows((file.name, item.line, item.reason) for item in rejected)
