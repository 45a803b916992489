"""Where the lines of register files that were left out are written: CSV ``file,line,reason``, never the number."""

from __future__ import annotations

import contextlib
import csv
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

from agent.domain.errors import InputRejected
from agent.domain.ports import RegisterFile, RejectedLine


class RejectFile:
    """A context manager; without a path it writes nothing. A file that is there already is replaced."""

    def __init__(self, path: Path | None, inputs: Sequence[Path] = ()) -> None:
        """``inputs`` are the files to be read, of which it must be none."""
        self._path = path
        self._inputs = inputs

    def __enter__(self) -> Self:
        """Raise ``InputRejected`` when it cannot be written."""
        if self._path is not None:
            with _written(self._path):
                if any(self._path.exists() and path.exists() and path.samefile(self._path) for path in self._inputs):
                    raise InputRejected(f"{self._path} (--rejects) is a file to be read: give it another name")
                handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            self._file = os.fdopen(handle, "w", encoding="utf-8", newline="")
            self._rows = csv.writer(self._file)
            self._rows.writerow(("file", "line", "reason"))
        return self

    def __exit__(self, *_: object) -> None:
        if self._path is not None:
            with _written(self._path):
                self._file.close()

    def note(self, file: RegisterFile, rejected: Sequence[RejectedLine]) -> None:
        """Write some lines of ``file``."""
        if self._path is not None:
            with _written(self._path):
                self._rows.writerows((file.name, item.line, item.reason) for item in rejected)


@contextlib.contextmanager
def _written(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputRejected(f"{path} (--rejects) cannot be written: {error.strerror}") from error
