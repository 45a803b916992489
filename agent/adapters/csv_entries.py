"""CSV files of entries with a header, read whole: any wrong line rejects the file, and is named with its number."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from agent.domain.errors import InputRejected
from agent.domain.wording import wrong_lines

Entry = TypeVar("Entry")


def content_of(path: Path) -> bytes:
    """The bytes of a file. Raises ``InputRejected`` when it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputRejected(f"{path} cannot be read: {error.strerror}") from error


def entries_of(
    name: str,
    content: bytes,
    *,
    columns: Sequence[str],
    required: Sequence[str],
    others: bool,
    read: Callable[[int, dict[str, str]], Entry | str],
    noun: str,
    outcome: str,
) -> list[Entry]:
    """What ``read`` makes of each line: an entry, or in words what is wrong with it.

    The header must hold ``required``, and nothing but ``columns`` unless there may be ``others``. ``noun`` is what an
    entry is called and ``outcome`` what did not happen when the file is rejected. Raises ``InputRejected``.
    """
    entries: list[Entry] = []
    problems: list[str] = []
    try:
        rows = csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
        header = rows.fieldnames or ()
        if not set(required) <= set(header) or not (others or set(header) <= set(columns)):
            shape = ",".join(required) + "".join(f"[,{column}]" for column in columns if column not in required)
            raise InputRejected(f"{name}: the header must be {shape}, it is {','.join(header) or 'nothing'}")
        for row in rows:
            whole = None not in row and None not in row.values()
            found = read(rows.line_num, row) if whole else "not as many fields as the header"
            if isinstance(found, str):
                problems.append(f"{name}, line {rows.line_num}: {found}")
            else:
                entries.append(found)
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputRejected(f"{name} is not CSV text in UTF-8: {error}") from error
    if problems:
        lines = len(problems) + len(entries)
        raise InputRejected.listing(f"{wrong_lines(len(problems), lines)}, so nothing was {outcome}", problems)
    if not entries:
        raise InputRejected(f"there is no {noun} in {name}")
    return entries
