"""What every layout of a register file gives: the columns of its lines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import polars


@dataclass(frozen=True, slots=True, kw_only=True)
class Fields:
    """The fields of some lines, as columns of text; null where a line has none."""

    numbers: polars.Series
    blocked: polars.Series | None = None
    """``all``, ``all_except_charities`` or sectors separated by ``;``. None: blocked for everything."""
    removed: polars.Series | None = None
    """True where a change list takes the number out, null where it says neither. None: nothing is taken out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How the lines of a register file are made up."""

    name: str
    header: str
    """A first line that is no entry: the names of the fields, with a comma between them."""
    pattern: str
    """What a line looks like, for finding out which layout a file has; ``,`` stands for the delimiter."""
    fields: Callable[[polars.Series, str], Fields]
    """The fields of lines (without space around them), given the delimiter."""
    changes: bool = False
    """Whether it lists changes to a register, and not a register."""


def columns(lines: polars.Series, delimiter: str, count: int) -> list[polars.Series]:
    """The first ``count`` fields of each line, the last with all that follows, without quotes and space around them."""
    table = lines.str.splitn(delimiter, count).struct.unnest()
    return [column.str.strip_chars(' \t"') for column in table.get_columns()]
