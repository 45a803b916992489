"""The lines of a register file as columns of text, some megabytes at a time."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import polars

from agent.adapters.register_files.streams import Contents
from agent.domain.errors import InputRejected

ENCODINGS: Final = ("utf-8", "utf-16", "utf-16-le", "utf-16-be", "latin-1")
"""Those that a file may be said to have. A byte-order mark at its beginning is skipped."""

_BLOCK: Final = 8 << 20
_SAMPLE: Final = 1 << 16
_LINE_CHARACTERS: Final = 1_000
_MARKS: Final = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_CONTROLS: Final = bytes(set(range(32)) - set(b"\0\t\n\r\x1a"))


@dataclass(frozen=True, slots=True)
class Lines:
    """Some lines of a file that follow each other, without blank ones and without space around them."""

    texts: polars.Series
    numbers: polars.Series
    """Which line of the file each is, from 1."""
    offset: int
    """Bytes of the file read so far."""


def read_lines(contents: Contents, name: str, encoding: str | None = None) -> Iterator[Lines]:
    """Every line that is not blank. Raises ``InputRejected`` where it is no text, or a line does not end."""
    block = contents.read(_BLOCK)
    chosen = encoding or _encoding(block[:_SAMPLE], name)
    decoder = codecs.getincrementaldecoder(chosen)()
    rest, line = "", 1
    while True:
        last = len(block) < _BLOCK
        try:
            text = rest + decoder.decode(block, final=last)
        except UnicodeDecodeError as error:
            raise InputRejected(
                f"{name}, after line {line + rest.count(chr(10))}: not {chosen} text ({error.reason}); "
                f"if it is a register file, say how it is encoded with --encoding ({', '.join(ENCODINGS)})"
            ) from error
        whole, end, rest = text.rpartition("\n") if not last else (text, "", "")
        if whole or end:
            yield _split(whole.lstrip("\ufeff") if line == 1 else whole, line, contents.offset, name)
            line += whole.count("\n") + len(end)
        if len(rest) > _LINE_CHARACTERS:
            raise _endless(name, line)
        if last:
            return
        block = contents.read(_BLOCK)


def _split(text: str, first: int, offset: int, name: str) -> Lines:
    texts = polars.Series("text", [text]).str.split("\n").explode(empty_as_null=False).str.strip_chars()
    numbers = polars.Series("line", range(first, first + len(texts)), dtype=polars.UInt32)
    endless = (texts.str.len_bytes() > _LINE_CHARACTERS).arg_true()
    if len(endless):
        raise _endless(name, numbers[endless[0]])
    if "\0" in text:
        line = first + text[: text.index("\0")].count("\n")
        raise InputRejected(f"{name}, line {line}: holds a NUL byte; not a register file, or UTF-16 without --encoding")
    kept = texts.str.len_bytes() > 0
    return Lines(texts.filter(kept), numbers.filter(kept), offset)


def _endless(name: str, line: int) -> InputRejected:
    return InputRejected(f"{name}, line {line}: longer than {_LINE_CHARACTERS} characters; not a register file")


def _encoding(sample: bytes, name: str) -> str:
    """What a file's first bytes say of it."""
    for mark, encoding in _MARKS:
        if sample.startswith(mark):
            return encoding
    for place in (0, 1):
        if len(sample) > 3 and not any(sample[place : len(sample) & ~1 : 2]):
            which = "utf-16-be" if place == 0 else "utf-16-le"
            raise InputRejected(f"{name} looks like UTF-16 without a byte-order mark: add --encoding {which}")
    if any(byte in _CONTROLS for byte in sample):
        raise InputRejected(f"{name} is not text: give a text file, or one packed as .gz or .zip")
    try:
        codecs.getincrementaldecoder("utf-8")().decode(sample)
    except UnicodeDecodeError:
        return "latin-1" if b"\0" not in sample else "utf-8"
    return "utf-8"
