"""Call files: any CSV, read in chunks, with every row kept as the text that it was.

Only the cell with the number is ever taken apart. A row goes to its output as it came, so that quoting, spacing and
columns that nobody understands stay what they are. Rows are not held one by one: a chunk is one text in UTF-8, in which
bytes that are not of the encoding stand as they came, and where each row of it begins and ends.
"""

from __future__ import annotations

import codecs
import csv
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars
from numpy.typing import NDArray

from agent.adapters.call_file_layout import (
    BYTE_ORDER_MARK,
    ESCAPED,
    CallFileLayout,
    LayoutOptions,
    errors_of,
    find_layout,
)
from agent.adapters.number_columns import normalise
from agent.domain.errors import InputRejected
from agent.domain.phone_number import Dialled, read_dialled
from agent.domain.ports import Progress
from agent.domain.profile import Profile
from agent.domain.scrub import ScrubbedFile

_BLOCK_BYTES: Final = 1 << 25
_LONGEST_ROW: Final = 1 << 20
_QUOTE: Final = b'"'

_Bounds = NDArray[np.int64]


def open_call_file(
    path: Path, options: LayoutOptions, profile: Profile, pbx_prefixes: tuple[str, ...] = ()
) -> CsvCallFile:
    """Find out how ``path`` is laid out. Raises ``InputRejected`` when it cannot be read as a call file."""
    if not path.name.isprintable():  # it goes into the journal; what is not UTF-8 is not printable either
        raise InputRejected(f"{path.name!a}: give the file a name of printable characters")
    return CsvCallFile(path, find_layout(path, options, profile, pbx_prefixes), profile, pbx_prefixes)


class CsvCallFile:
    """See ``agent.scrub_ports.CallFile``."""

    def __init__(self, path: Path, layout: CallFileLayout, profile: Profile, pbx_prefixes: tuple[str, ...]) -> None:
        self.path = path
        self.layout = layout
        self._profile = profile
        self._pbx_prefixes = pbx_prefixes
        self._sha256 = ""
        self._rows = 0

    def described(self) -> ScrubbedFile:
        """See ``agent.scrub_ports.CallFile``."""
        return ScrubbedFile(name=self.path.name, sha256=self._sha256, rows=self._rows)

    def rows(self, progress: Progress) -> Iterator[CsvRows]:
        """See ``agent.scrub_ports.CallFile``."""
        self._sha256, self._rows = "", 0
        header_due, opening = self.layout.header, BYTE_ORDER_MARK if self.layout.marked else ""
        for text, bounds, cells in self._parts(progress):
            heading, starts, ends = b"", bounds[:-1], bounds[1:]
            bare = (cells.is_null() | (cells == "")).arg_true().to_list()
            empty = [place for place in bare if not _decoded(text[starts[place] : ends[place]]).strip()]
            if empty:
                filled = np.ones(len(cells), dtype=np.bool_)
                filled[empty] = False
                starts, ends, cells = starts[filled], ends[filled], cells.filter(polars.Series(filled))
            if header_due and len(cells):
                heading, header_due = text[starts[0] : ends[0]], False
                starts, ends, cells = starts[1:], ends[1:], cells[1:]
            self._rows += len(cells)
            numbers, unusable = self._read(cells)
            yield CsvRows(
                layout=self.layout,
                opening=opening.encode(),
                heading=heading,
                text=text,
                starts=starts,
                ends=ends,
                numbers=numbers,
                unusable=unusable,
            )
            opening = ""

    def _read(self, cells: polars.Series) -> tuple[NDArray[np.uint64], dict[int, Dialled]]:
        """The numbers in ``cells``, and by place what stands where there is none."""
        numbers = normalise(cells, self._profile, self._pbx_prefixes)
        without = numbers.is_null()
        odd = list(zip(without.arg_true().to_list(), cells.filter(without).fill_null("").to_list(), strict=True))
        read = {text: read_dialled(text, self._profile, self._pbx_prefixes) for text in {text for _, text in odd}}
        return numbers.fill_null(0).to_numpy(), {place: read[text] for place, text in odd}

    def _parts(self, progress: Progress) -> Iterator[tuple[bytes, _Bounds, polars.Series]]:
        """Some rows at a time: their text, where each begins and the last one ends, and their number cells."""
        newline, rest, before = self.layout.newline.encode(), b"", 0
        for block, last in self._blocks(progress):
            if len(rest) > _LONGEST_ROW:
                raise InputRejected(f"{self.path.name}: a row is longer than {_LONGEST_ROW:,} bytes; no call file")
            rest += block
            end = len(rest) if last else rest.rfind(newline) + 1
            whole, rest, open_record = rest[:end], rest[end:], b""
            if not whole:
                continue
            if _QUOTE in whole or not _is_unicode(whole):
                bounds, cells = self._parsed(_decoded(whole), before)
                whole, open_record = whole[: bounds[-1]], whole[bounds[-1] :]
                if open_record and last:
                    line = before + whole.count(newline) + 1
                    raise InputRejected(f"{self.path.name}, line {line}: a quotation mark is opened and never closed")
                rest = open_record + rest
                before += whole.count(newline)
            else:
                bounds, cells = self._cut(whole)
                before += len(cells)
            yield whole, bounds, cells

    def _blocks(self, progress: Progress) -> Iterator[tuple[bytes, bool]]:
        """The file in UTF-8, in blocks, each with whether it is the last; without the byte order mark."""
        encoding = self.layout.encoding
        decoder = codecs.getincrementaldecoder(encoding)(errors_of(encoding))
        mark = BYTE_ORDER_MARK.encode(encoding) if self.layout.marked else b""
        digest, done = hashlib.sha256(), len(mark)
        try:
            with self.path.open("rb") as file:
                total = self.path.stat().st_size
                digest.update(file.read(len(mark)))
                last = False
                while not last:
                    raw = file.read(_BLOCK_BYTES)
                    last = len(raw) < _BLOCK_BYTES
                    digest.update(raw)
                    done += len(raw)
                    block = raw if encoding == "utf-8" else decoder.decode(raw, last).encode(errors=ESCAPED)
                    if last:
                        self._sha256 = digest.hexdigest()
                    yield block, last
                    progress("scrubbing", done, max(total, done))
        except OSError as error:
            raise InputRejected(f"{self.path} cannot be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise InputRejected(f"{self.path.name} is not text in {encoding} throughout: add --encoding") from error

    def _cut(self, text: bytes) -> tuple[_Bounds, polars.Series]:
        """Text without quotation marks: a row is a line, a cell what stands between delimiters."""
        newline, layout = self.layout.newline, self.layout
        whole = polars.Series([text], dtype=polars.Binary).cast(polars.String)
        lines = whole.str.strip_suffix(newline).str.split(newline).explode()
        bounds = _bounds(lines.str.len_bytes().to_numpy() + 1)
        bounds[-1] = len(text)  # the last line may have no newline
        parts = lines.str.splitn(layout.delimiter, layout.column + 2).struct.field(f"field_{layout.column}")
        return bounds, parts.str.strip_chars()

    def _parsed(self, text: str, before: int) -> tuple[_Bounds, polars.Series]:
        """Text with quotation marks, read as Python's ``csv`` reads it. The bounds leave out a last row not whole."""
        newline, column = self.layout.newline, self.layout.column
        pending: list[str] = []
        broken = ""

        def lines() -> Iterator[str]:
            nonlocal broken
            start = 0
            while start < len(text):
                end = text.find(newline, start) + 1 or len(text)
                pending.append(text[start:end])
                yield text[start:end].rstrip("\r\n").replace("\r", " ") + "\n"
                start = end
            broken = "".join(pending)

        sizes: list[int] = []
        whole_lines = 0
        cells: list[str | None] = []
        try:
            for row in csv.reader(lines(), delimiter=self.layout.delimiter, strict=True):
                if broken:
                    break
                sizes.append(len("".join(pending).encode(errors=ESCAPED)))
                whole_lines += len(pending)
                pending.clear()
                cells.append(_printable(row[column]) if column < len(row) else None)
        except csv.Error as error:
            if broken:  # a quotation mark that is not closed yet: the rest of its row comes with the next chunk
                return _bounds(np.array(sizes, dtype=np.int64)), polars.Series(cells, dtype=polars.String)
            line = before + whole_lines + 1
            raise InputRejected(f"{self.path.name}, line {line}: no CSV ({error})") from error
        return _bounds(np.array(sizes, dtype=np.int64)), polars.Series(cells, dtype=polars.String)


@dataclass(frozen=True, slots=True, kw_only=True)
class CsvRows:
    """See ``agent.scrub_ports.CallRows``."""

    layout: CallFileLayout
    opening: bytes
    """The byte order mark, where the outputs begin and the input has one."""
    heading: bytes
    """The row of headings, where the outputs begin and the input has one."""
    text: bytes
    starts: NDArray[np.int64]
    """Where in ``text`` each row begins."""
    ends: NDArray[np.int64]
    """And where it ends, its newline included."""
    numbers: NDArray[np.uint64]
    unusable: dict[int, Dialled]

    def kept(self, keep: NDArray[np.bool_]) -> bytes:
        """See ``agent.scrub_ports.CallRows``."""
        starts, ends = self.starts[keep], self.ends[keep]
        apart = starts[1:] != ends[:-1]  # rows that follow each other are taken in one piece
        first, last = np.append(starts[:1], starts[1:][apart]), np.append(ends[:-1][apart], ends[-1:])
        pieces = [self.text[start:end] for start, end in zip(first.tolist(), last.tolist(), strict=True)]
        return self._encoded([self.opening, self.heading, *pieces])

    def removed(self, places: Sequence[int], reasons: Sequence[str]) -> bytes:
        """See ``agent.scrub_ports.CallRows``."""
        cells = {reason: f"{self.layout.delimiter}{reason}".encode() for reason in {"reason", *reasons}}
        heading = _with(self.heading, cells["reason"]) if self.heading else b""
        starts, ends = self.starts[places].tolist(), self.ends[places].tolist()
        rows = [
            _with(self.text[start:end], cells[reason]) for start, end, reason in zip(starts, ends, reasons, strict=True)
        ]
        return self._encoded([self.opening, heading, *rows])

    def _encoded(self, pieces: Sequence[bytes]) -> bytes:
        encoding, content = self.layout.encoding, b"".join(pieces)
        return content if encoding == "utf-8" else _decoded(content).encode(encoding, errors_of(encoding))


def _with(row: bytes, cell: bytes) -> bytes:
    """A row with one more cell."""
    bare = row.rstrip(b"\r\n")
    return bare + cell + row[len(bare) :]


def _bounds(sizes: NDArray[Any]) -> _Bounds:
    """Where rows of these sizes begin, and the last one ends."""
    return np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])


def _decoded(text: bytes) -> str:
    return text.decode(errors=ESCAPED)


def _is_unicode(text: bytes) -> bool:
    """False when bytes had to be escaped."""
    try:
        return text.isascii() or bool(text.decode())
    except UnicodeDecodeError:
        return False


def _printable(text: str) -> str:
    return text.strip().encode(errors="replace").decode()
