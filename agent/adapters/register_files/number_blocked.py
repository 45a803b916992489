"""CSV ``number,blocked``: ``blocked`` is ``all``, ``all_except_charities``, or sectors separated by ``;``.

A first line ``number,blocked`` is a header; blank lines are skipped. Our own format: the official layout was not found.
"""

from __future__ import annotations

from collections.abc import Iterator

from agent.domain.ports import RegisterRow


def rows(lines: Iterator[tuple[int, int, str]]) -> Iterator[RegisterRow]:
    """See ``agent.domain.ports.RegisterFile``."""
    first = True
    for line, offset, text in lines:
        if text and not (first and text.lower().replace(" ", "") == "number,blocked"):
            number, _, blocked = text.partition(",")
            words = tuple(word.strip().strip('"').lower() for word in blocked.strip().strip('"').split(";"))
            yield RegisterRow(line=line, offset=offset, number=number.strip().strip('"'), blocked=words)
        first = first and not text
