"""How a call file is laid out: found out from its beginning, where the operator does not say.

Whatever stays in doubt is refused with what to add to the command, for a scrub of the wrong column protects nobody.
"""

from __future__ import annotations

import codecs
import csv
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from agent.adapters.file_kinds import require_unpacked
from agent.domain.errors import InputRejected
from agent.domain.phone_number import PhoneNumber, read_dialled
from agent.domain.profile import Profile

ENCODINGS: Final = ("utf-8", "utf-16-le", "utf-16-be", "cp1252")
DELIMITERS: Final = (";", ",", "\t", "|")
BYTE_ORDER_MARK: Final = "\ufeff"
ESCAPED: Final = "surrogateescape"
"""Bytes that are not of the encoding pass through unchanged."""

_SAMPLE_BYTES: Final = 1 << 18
_SAMPLE_ROWS: Final = 100
_MARKS: Final = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_NAMES: Final = frozenset(
    {"number", "phone", "phonenumber", "telephone", "telephonenumber", "tel", "mobile", "msisdn"}
    | {"nummer", "telefoon", "telefoonnummer", "telnr", "telnummer", "mobiel", "mobielnummer", "gsm"}
)
"""Headings of columns with numbers, letters only."""
_NUMBER_SHARE: Final = 0.5
"""Share of valid numbers from which a column is one of numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayoutOptions:
    """What the operator says of a call file; None for what is to be found out."""

    encoding: str | None = None
    delimiter: str | None = None
    column: str | None = None
    """The name of the number's column, or its place from 1 on."""
    header: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFileLayout:
    """How to read a call file."""

    encoding: str
    marked: bool
    """Whether it begins with a byte order mark."""
    newline: str
    delimiter: str
    columns: int
    header: bool
    column: int
    """Of the numbers, from 0 on."""
    column_name: str = field(default="")
    """Its heading; empty without a header."""


def errors_of(encoding: str) -> str:
    """What to do about bytes that are not of ``encoding``."""
    return "strict" if encoding.startswith("utf-16") else ESCAPED


def find_layout(
    path: Path, options: LayoutOptions, profile: Profile, pbx_prefixes: tuple[str, ...] = ()
) -> CallFileLayout:
    """Read the beginning of ``path``. Raises ``InputRejected`` for what is no table with numbers."""
    try:
        with path.open("rb") as file:
            sample = file.read(_SAMPLE_BYTES)
            whole = not file.read(1)
    except OSError as error:
        raise InputRejected(f"{path} cannot be read: {error.strerror}") from error
    require_unpacked(sample, path.name)
    encoding = options.encoding or _encoding(sample)
    try:
        text = codecs.getincrementaldecoder(encoding)(errors_of(encoding)).decode(sample, whole)
    except UnicodeDecodeError as error:
        raise InputRejected(f"{path.name} is not text in {encoding}: add --encoding") from error
    if "\0" in text:
        raise InputRejected(f"{path.name} holds NUL bytes: it is no text, or add --encoding")
    marked = text.startswith(BYTE_ORDER_MARK)
    text = text.removeprefix(BYTE_ORDER_MARK)
    newline = "\r" if "\r" in text and "\n" not in text else "\n"
    lines = [line for line in (text if whole else text[: text.rfind(newline) + 1]).split(newline) if line.strip()]
    if not lines and not whole:
        raise InputRejected(f"{path.name}, line 1: longer than {_SAMPLE_BYTES:,} bytes; not a call file")
    if not lines:
        raise InputRejected(f"there is no row in {path.name}")
    delimiter = options.delimiter or _delimiter(lines)
    rows = _rows(lines, delimiter)
    numeric = [[isinstance(read_dialled(cell, profile, pbx_prefixes), PhoneNumber) for cell in row] for row in rows]
    header = not any(numeric[0]) and _looks_like_headings(rows[0]) if options.header is None else options.header
    names = [cell.strip() for cell in rows[0]] if header else []
    width = max(len(row) for row in rows)
    shares = _shares(rows[header:], numeric[header:], width)
    prefixed = [
        [good and cell.strip(" (")[:1] in {"0", "+"} for good, cell in zip(numbers, row, strict=True)]
        for numbers, row in zip(numeric, rows, strict=True)
    ]
    written = _shares(rows[header:], prefixed[header:], width)
    column = _column(path.name, options.column, names, shares, written)
    return CallFileLayout(
        encoding=encoding,
        marked=marked,
        newline=newline,
        delimiter=delimiter,
        columns=width,
        header=header,
        column=column,
        column_name=names[column] if column < len(names) else "",
    )


def _encoding(sample: bytes) -> str:
    """By the byte order mark, by where NUL bytes stand, or else UTF-8 when it is that."""
    for mark, encoding in _MARKS:
        if sample.startswith(mark):
            return encoding
    even, odd = sample[::2].count(0), sample[1::2].count(0)
    if max(even, odd) > len(sample) // 8:
        return "utf-16-le" if odd > even else "utf-16-be"
    try:
        codecs.getincrementaldecoder("utf-8")().decode(sample)
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8"


def _rows(lines: Sequence[str], delimiter: str) -> list[list[str]]:
    """The first rows, as cells."""
    plain = (line.replace("\r", " ") + "\n" for line in lines)
    rows: list[list[str]] = []
    try:
        for row in csv.reader(plain, delimiter=delimiter):
            rows.append(row)
            if len(rows) == _SAMPLE_ROWS:
                break
    except csv.Error as error:
        raise InputRejected(f"the file is not CSV: {error}") from error
    return rows


def _delimiter(lines: Sequence[str]) -> str:
    """The one that cuts the most rows into equally many cells; a comma when none does, for there is one column."""
    best, found = (0.0, 1), ","
    for delimiter in DELIMITERS:
        widths = Counter(len(row) for row in _rows(lines, delimiter))
        width, rows = widths.most_common(1)[0]
        if width > 1 and (rows / widths.total(), width) > best:
            best, found = (rows / widths.total(), width), delimiter
    return found


def _looks_like_headings(row: Sequence[str]) -> bool:
    """Words in every cell, and no long row of digits."""
    return all(re.search(r"[^\W\d]", cell) and not re.search(r"\d{5}", cell) for cell in row)


def _shares(rows: Sequence[Sequence[str]], numeric: Sequence[Sequence[bool]], width: int) -> list[float]:
    """Of each column how many of its cells that are not empty hold a valid number."""
    filled, valid = [0] * width, [0] * width
    for row, numbers in zip(rows, numeric, strict=True):
        for place, (cell, number) in enumerate(zip(row, numbers, strict=True)):
            filled[place] += bool(cell.strip())
            valid[place] += number
    return [good / cells if cells else 0.0 for good, cells in zip(valid, filled, strict=True)]


def _holding(shares: Sequence[float]) -> list[int]:
    """The columns that hold numbers."""
    return [place for place, share in enumerate(shares) if share >= _NUMBER_SHARE]


def _column(
    file: str, asked: str | None, names: Sequence[str], shares: Sequence[float], written: Sequence[float]
) -> int:
    """The column of the numbers, by its heading; another one that is ``written`` as numbers are makes that doubtful."""
    if asked is not None:
        return _asked_column(file, asked, names, len(shares))
    known = [place for place, name in enumerate(names) if re.sub(r"[\W_\d]", "", name.lower()) in _NAMES]
    holding = _holding(shares)
    others = [place for place in _holding(written) if place not in known]
    if len(known) == 1 and not others:
        return known[0]
    candidates = sorted([*(place for place in known if place in holding), *others]) or holding
    if len(candidates) == 1:
        return candidates[0]
    if not candidates:
        raise InputRejected(f"no column of {file} holds telephone numbers: name it with --column ({_list(names)})")
    held = ", ".join(names[place] if place < len(names) else str(place + 1) for place in candidates)
    raise InputRejected(f"several columns of {file} hold telephone numbers ({held}): name one with --column")


def _asked_column(file: str, asked: str, names: Sequence[str], width: int) -> int:
    places = [place for place, name in enumerate(names) if name.lower() == asked.strip().lower()]
    if len(places) > 1:
        raise InputRejected(f"several columns of {file} are called {asked}: give the place of one, from 1 on")
    if places:
        return places[0]
    if asked.isdecimal() and 1 <= int(asked) <= width:
        return int(asked) - 1
    raise InputRejected(f"there is no column {asked} in {file} ({_list(names) if names else f'it has {width}'})")


def _list(names: Sequence[str]) -> str:
    return ", ".join(names) or "it has no header, so give its place, from 1 on"
