"""CSV files of entries with a header, read whole: any wrong line rejects the file, and is named with its number."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeVar

from agent.adapters.file_kinds import require_unpacked
from agent.domain.errors import InputRejected
from agent.domain.wording import wrong_lines

Entry = TypeVar("Entry")
_START: Final = 4096


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
    require_unpacked(content[:_START], name)
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
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise InputRejected(f"{name}, line {line}: not text in UTF-8; save it as CSV in UTF-8") from error
    except csv.Error as error:
        endless = "field larger" in str(error)
        problem = "longer than an entry can be" if endless else f"not CSV ({error})"
        raise InputRejected(f"{name}, line {max(rows.line_num, 1)}: {problem}") from error
    if problems:
        lines = len(problems) + len(entries)
        raise InputRejected.listing(f"{wrong_lines(len(problems), lines)}, so nothing was {outcome}", problems)
    if not entries:
        raise InputRejected(f"there is no {noun} in {name}")
    return entries
