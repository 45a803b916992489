"""Layouts of register files, one module each; ``open_register_file`` finds out which one a file has."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agent.adapters.register_files import number_blocked, plain
from agent.domain.errors import InputRejected
from agent.domain.ports import RegisterRow

_HASH_BLOCK: Final = 1 << 20
_LINE_BYTES: Final = 1_000


@dataclass(frozen=True, slots=True)
class OpenedRegisterFile:
    """A register file whose layout is known; see ``agent.domain.ports.RegisterFile``."""

    path: Path
    sha256: str
    bytes: int
    layout: Callable[[Iterator[tuple[int, int, str]]], Iterator[RegisterRow]]

    @property
    def name(self) -> str:
        """The file's name, without its folder."""
        return self.path.name

    @property
    def location(self) -> str:
        """The file's absolute path."""
        return str(self.path.absolute())

    def rows(self) -> Iterator[RegisterRow]:
        """Every line that holds a number."""
        return self.layout(_lines(self.path))


def open_register_file(path: Path) -> OpenedRegisterFile:
    """Hash the file and find its layout by its first line. Raises ``InputRejected`` when it is none of ours."""
    if not str(path.absolute()).isprintable():  # it goes into the journal; what is not UTF-8 is not printable either
        raise InputRejected(f"{str(path)!a}: give the file and its folders names of printable characters")
    digest, size = hashlib.sha256(), 0
    try:
        with path.open("rb") as file:
            while block := file.read(_HASH_BLOCK):
                digest.update(block)
                size += len(block)
    except OSError as error:
        raise InputRejected(f"{path} cannot be read: {error.strerror}") from error
    if size == 0:
        raise InputRejected(f"{path} is empty")
    first = next((text for _, _, text in _lines(path) if text), "")
    layout = number_blocked.rows if "," in first else plain.rows
    return OpenedRegisterFile(path=path, sha256=digest.hexdigest(), bytes=size, layout=layout)


def _lines(path: Path) -> Iterator[tuple[int, int, str]]:
    """Number (from 1), end offset in bytes, and stripped text of each line. UTF-8, with or without a mark."""
    offset = 0
    with path.open("rb") as file:
        number = 0
        while raw := file.readline(_LINE_BYTES + 1):
            number += 1
            offset += len(raw)
            if len(raw) > _LINE_BYTES:
                raise InputRejected(f"{path.name}, line {number}: longer than {_LINE_BYTES} bytes; not a register file")
            try:
                text = raw.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise InputRejected(f"{path.name}, line {number}: not UTF-8 text; not a register file") from error
            if "\0" in text:
                raise InputRejected(f"{path.name}, line {number}: holds a NUL byte; not a text file in UTF-8")
            yield number, offset, text.strip()
