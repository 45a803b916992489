"""Call files: any CSV, read in chunks, with every row kept as the text that it was.

Only the cell with the number is ever taken apart. A row goes to its output as it came, so that quoting, spacing and
columns that nobody understands stay what they are.
"""

from __future__ import annotations

import codecs
import csv
import hashlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from typing import Final

import numpy as np
import polars
from numpy.typing import NDArray

from agent.adapters.call_file_layout import BYTE_ORDER_MARK, CallFileLayout, LayoutOptions, errors_of, find_layout
from agent.adapters.number_columns import normalise
from agent.domain.errors import InputRejected
from agent.domain.phone_number import Dialled, read_dialled
from agent.domain.ports import Progress
from agent.domain.profile import Profile
from agent.domain.scrub import ScrubbedFile

_BLOCK_BYTES: Final = 1 << 25
_LONGEST_ROW: Final = 1 << 20
_QUOTE: Final = '"'


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
        for records, cells in self._parts(progress):
            heading = ""
            bare = (cells.is_null() | (cells == "")).arg_true().to_list()
            empty = {place for place in bare if not records[place].strip()}
            if empty:
                filled = [place not in empty for place in range(len(records))]
                records, cells = list(compress(records, filled)), cells.filter(polars.Series(filled))
            if header_due and records:
                heading, records, cells, header_due = records[0], records[1:], cells[1:], False
            self._rows += len(records)
            yield self._chunk(opening, heading, records, cells)
            opening = ""

    def _chunk(self, opening: str, heading: str, records: Sequence[str], cells: polars.Series) -> CsvRows:
        numbers = normalise(cells, self._profile, self._pbx_prefixes)
        without = numbers.is_null()
        odd = list(zip(without.arg_true().to_list(), cells.filter(without).fill_null("").to_list(), strict=True))
        read = {text: read_dialled(text, self._profile, self._pbx_prefixes) for text in {text for _, text in odd}}
        return CsvRows(
            layout=self.layout,
            opening=opening,
            heading=heading,
            records=records,
            numbers=numbers.fill_null(0).to_numpy(),
            unusable={place: read[text] for place, text in odd},
        )

    def _parts(self, progress: Progress) -> Iterator[tuple[list[str], polars.Series]]:
        """Records with their newline, and their number cells, some at a time."""
        newline, rest, before = self.layout.newline, "", 0
        for text, last in self._texts(progress):
            if len(rest) > _LONGEST_ROW:
                raise InputRejected(f"{self.path.name}: a row is longer than {_LONGEST_ROW:,} characters; no call file")
            rest += text
            end = len(rest) if last else rest.rfind(newline) + 1
            whole, rest, open_record = rest[:end], rest[end:], ""
            if not whole:
                continue
            if _QUOTE in whole or not _is_unicode(whole):
                records, cells, open_record = self._parsed(whole, before)
                if open_record and last:
                    line = before + sum(record.count(newline) for record in records) + 1
                    raise InputRejected(f"{self.path.name}, line {line}: a quotation mark is opened and never closed")
                rest = open_record + rest
            else:
                records, cells = self._cut(whole)
            before += whole.count(newline) - open_record.count(newline)
            yield records, cells

    def _texts(self, progress: Progress) -> Iterator[tuple[str, bool]]:
        """The file as text, in blocks, each with whether it is the last; without the byte order mark."""
        encoding = self.layout.encoding
        decoder = codecs.getincrementaldecoder(encoding)(errors_of(encoding))
        digest, done, marked = hashlib.sha256(), 0, self.layout.marked
        try:
            with self.path.open("rb") as file:
                total = self.path.stat().st_size
                last = False
                while not last:
                    raw = file.read(_BLOCK_BYTES)
                    last = len(raw) < _BLOCK_BYTES
                    digest.update(raw)
                    done += len(raw)
                    text = decoder.decode(raw, last)
                    if marked and text:
                        text, marked = text[1:], False
                    if last:
                        self._sha256 = digest.hexdigest()
                    yield text, last
                    progress("scrubbing", done, max(total, done))
        except OSError as error:
            raise InputRejected(f"{self.path} cannot be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise InputRejected(f"{self.path.name} is not text in {encoding} throughout: add --encoding") from error

    def _cut(self, text: str) -> tuple[list[str], polars.Series]:
        """Text without quotation marks: a row is a line, a cell what stands between delimiters."""
        newline, layout = self.layout.newline, self.layout
        if newline == "\n":
            records = list(io.StringIO(text, newline=newline))
        else:
            *whole, rest = text.split(newline)
            records = [record + newline for record in whole] + ([rest] if rest else [])
        cells = polars.Series(records, dtype=polars.String)
        parts = cells.str.splitn(layout.delimiter, layout.column + 2).struct.field(f"field_{layout.column}")
        return records, parts.str.strip_chars()

    def _parsed(self, text: str, before: int) -> tuple[list[str], polars.Series, str]:
        """Text with quotation marks, read as Python's ``csv`` reads it; and the last record, when it is not whole."""
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

        records: list[str] = []
        cells: list[str | None] = []
        try:
            for row in csv.reader(lines(), delimiter=self.layout.delimiter):
                if broken:
                    break
                records.append("".join(pending))
                pending.clear()
                cells.append(_printable(row[column]) if column < len(row) else None)
        except csv.Error as error:
            line = before + sum(record.count(newline) for record in records) + 1
            raise InputRejected(f"{self.path.name}, line {line}: no CSV ({error})") from error
        return records, polars.Series(cells, dtype=polars.String), broken


@dataclass(frozen=True, slots=True, kw_only=True)
class CsvRows:
    """See ``agent.scrub_ports.CallRows``."""

    layout: CallFileLayout
    opening: str
    """The byte order mark, where the outputs begin and the input has one."""
    heading: str
    """The row of headings, where the outputs begin and the input has one."""
    records: Sequence[str]
    numbers: NDArray[np.uint64]
    unusable: dict[int, Dialled]

    def kept(self, keep: NDArray[np.bool_]) -> bytes:
        """See ``agent.scrub_ports.CallRows``."""
        return self._encoded(self.opening + self.heading + "".join(compress(self.records, keep.tolist())))

    def removed(self, places: Sequence[int], reasons: Sequence[str]) -> bytes:
        """See ``agent.scrub_ports.CallRows``."""
        heading = self._with(self.heading, "reason") if self.heading else ""
        rows = [self._with(self.records[place], reason) for place, reason in zip(places, reasons, strict=True)]
        return self._encoded(self.opening + heading + "".join(rows))

    def _with(self, record: str, cell: str) -> str:
        text = record.rstrip("\r\n")
        return f"{text}{self.layout.delimiter}{cell}{record[len(text) :]}"

    def _encoded(self, text: str) -> bytes:
        return text.encode(self.layout.encoding, errors_of(self.layout.encoding))


def _is_unicode(text: str) -> bool:
    """False when bytes had to be escaped."""
    try:
        return text.isascii() or bool(text.encode())
    except UnicodeEncodeError:
        return False


def _printable(text: str) -> str:
    return text.strip().encode(errors="replace").decode()
