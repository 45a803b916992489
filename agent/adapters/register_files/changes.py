"""A list of changes: ``+number,blocked`` for an addition, ``-number`` for a removal of the number from every list.

Our own format. ``blocked`` as in a register file; without it, the number is blocked for everything.
"""

from __future__ import annotations

import polars

from agent.adapters.register_files.layout import Fields, Layout, columns


def _fields(lines: polars.Series, delimiter: str) -> Fields:
    bare = lines.str.strip_chars_start('"')
    sign = bare.str.slice(0, 1)
    numbers, blocked = columns(bare.str.slice(1), delimiter, 2)
    removed = sign.replace_strict({"+": False, "-": True}, default=None, return_dtype=polars.Boolean)
    return Fields(numbers=numbers, blocked=blocked, removed=removed)


CHANGES = Layout(name="changes", header="change,blocked", pattern=r'"?[+-][^,]*(?:,.*)?', fields=_fields, changes=True)
