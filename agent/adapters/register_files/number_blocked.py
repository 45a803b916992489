"""CSV ``number,blocked``: ``blocked`` is ``all``, ``all_except_charities``, or sectors separated by ``;``.

Our own format: the official layout was not found.
"""

from __future__ import annotations

import polars

from agent.adapters.register_files.layout import Fields, Layout, columns


def _fields(lines: polars.Series, delimiter: str) -> Fields:
    numbers, blocked = columns(lines, delimiter, 2)
    return Fields(numbers=numbers, blocked=blocked.fill_null(""))


NUMBER_BLOCKED = Layout(name="number-blocked", header="number,blocked", pattern=r"[^,]*,.*", fields=_fields)
