"""Plain list: one number a line, blocked for everything.

A first line ``number`` is a header; blank lines are skipped.
"""

from __future__ import annotations

from collections.abc import Iterator

from agent.domain.model import Blocked
from agent.domain.ports import RegisterRow

_EVERYTHING = (str(Blocked.ALL),)


def rows(lines: Iterator[tuple[int, int, str]]) -> Iterator[RegisterRow]:
    """See ``agent.domain.ports.RegisterFile``."""
    first = True
    for line, offset, text in lines:
        if text and not (first and text.lower() == "number"):
            yield RegisterRow(line=line, offset=offset, number=text, blocked=_EVERYTHING)
        first = first and not text
