"""The bytes of a register file: as they are, out of ``.gz`` or ``.zip``, or from standard input."""

from __future__ import annotations

import gzip
import hashlib
import os
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from agent.adapters.file_kinds import GZIP, OLD_OFFICE, ZIP, office_document
from agent.domain.errors import InputRejected

STDIN: Final = "-"
"""The path that means standard input."""

_BLOCK: Final = 1 << 20
_DAMAGED: Final = (EOFError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile, NotImplementedError, RuntimeError)


@dataclass(frozen=True, slots=True)
class Source:
    """Where a file's bytes come from. Standard input is kept in an unnamed file until the process ends."""

    name: str
    location: str
    sha256: str
    size: int
    _opened: IO[bytes] | None
    _path: Path
    _stamp: tuple[int, int]

    @contextmanager
    def contents(self) -> Iterator[Contents]:
        """The unpacked bytes, from the first one on. Raises ``InputRejected`` for an archive that cannot be read."""
        try:
            with self._raw() as raw, _unpacked(raw, self.name) as unpacked:
                yield Contents(unpacked, raw, self.name)
                if (stamp := _stamp(raw)) != self._stamp:
                    raise InputRejected(
                        f"{self.name} was changed while it was read: wait until it is whole ({stamp[0]})"
                    )
        except OSError as error:
            raise InputRejected(f"{self.name} cannot be read: {error.strerror or error}") from error

    def close(self) -> None:
        """Let go of what standard input was kept in."""
        if self._opened is not None:
            self._opened.close()

    @contextmanager
    def _raw(self) -> Iterator[IO[bytes]]:
        if self._opened is not None:
            self._opened.seek(0)
            yield self._opened
        else:
            with self._path.open("rb") as raw:
                yield raw


class Contents:
    """A file's unpacked bytes, and how much of the packed ones was read for them."""

    def __init__(self, unpacked: IO[bytes], raw: IO[bytes], name: str) -> None:
        self._unpacked = unpacked
        self._raw = raw
        self._name = name

    def read(self, size: int) -> bytes:
        """Up to ``size`` bytes; fewer at the end only."""
        try:
            return self._unpacked.read(size)
        except _DAMAGED as error:
            raise InputRejected(f"{self._name} is cut off or damaged ({error}): fetch it again") from error

    @property
    def offset(self) -> int:
        """Bytes of the file as it is on disk that have been read."""
        return self._raw.tell()


def open_source(path: Path) -> Source:
    """Hash a file. Raises ``InputRejected`` when it cannot be read, or is empty."""
    standard_input = str(path) == STDIN
    if not str(path.absolute()).isprintable():  # it goes into the journal; what is not UTF-8 is not printable either
        raise InputRejected(f"{str(path)!a}: give the file and its folders names of printable characters")
    digest, size = hashlib.sha256(), 0
    kept: IO[bytes] | None = tempfile.TemporaryFile() if standard_input else None  # noqa: SIM115 - lives with the source
    try:
        file = sys.stdin.buffer if standard_input else path.open("rb")
        with file if not standard_input else _nothing():
            while block := file.read(_BLOCK):
                digest.update(block)
                size += len(block)
                if kept is not None:
                    kept.write(block)
            stamp = _stamp(kept or file)
    except OSError as error:
        raise InputRejected(f"{path} cannot be read: {error.strerror}") from error
    name, location = ("standard input", STDIN) if standard_input else (path.name, str(path.absolute()))
    if size == 0:
        raise InputRejected(f"{name if standard_input else path} is empty")
    return Source(name, location, digest.hexdigest(), size, kept, path, stamp)


@contextmanager
def _nothing() -> Iterator[None]:
    yield


def _stamp(file: Any) -> tuple[int, int]:
    """What changes when somebody writes to the file."""
    file.flush() if file.writable() else None
    found = os.fstat(file.fileno())
    return found.st_size, found.st_mtime_ns


@contextmanager
def _unpacked(raw: IO[bytes], name: str) -> Iterator[IO[bytes]]:
    start = raw.read(4)
    raw.seek(0)
    if start.startswith(GZIP):
        with gzip.open(raw) as unpacked:
            yield unpacked  # type: ignore[misc]  # a GzipFile reads like any file
    elif start == ZIP:
        with _only_member(raw, name) as member:
            yield member
    elif start == OLD_OFFICE:
        raise office_document(name)
    else:
        yield raw


@contextmanager
def _only_member(raw: IO[bytes], name: str) -> Iterator[IO[bytes]]:
    try:
        archive = zipfile.ZipFile(raw)
        inside = [
            item for item in archive.infolist() if not item.is_dir() and not item.filename.startswith("__MACOSX/")
        ]
        if any(item.filename == "[Content_Types].xml" for item in inside):
            raise office_document(name)
        if len(inside) != 1:
            raise InputRejected(f"{name} holds {len(inside)} files: unpack it, and give the register's file or files")
        member = archive.open(inside[0])
    except _DAMAGED as error:
        raise InputRejected(f"{name} is cut off or damaged ({error}): fetch it again") from error
    with archive, member:
        yield member
