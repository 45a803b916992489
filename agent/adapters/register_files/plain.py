"""Plain list: one number a line, blocked for everything."""

from __future__ import annotations

import polars

from agent.adapters.register_files.layout import Fields, Layout


def _fields(lines: polars.Series, _: str) -> Fields:
    return Fields(numbers=lines.str.strip_chars('"'))


PLAIN = Layout(name="plain", header="number", pattern=r"[^,]*", fields=_fields)
