"""``number;date``, as the Belgian register is delivered: blocked for everything since that day.

The day changes nothing: an entry holds until the number is no longer in the file. A line without one is not an entry.
"""

from __future__ import annotations

import polars

from agent.adapters.register_files.layout import Fields, Layout, columns

_DATE = r"(?:[0-9]{4}-?[0-9]{2}-?[0-9]{2}|[0-9]{2}[-/.][0-9]{2}[-/.][0-9]{4})(?:[ T][0-9:.Z]+)?"


def _fields(lines: polars.Series, delimiter: str) -> Fields:
    numbers, dates = columns(lines, delimiter, 2)
    dated = dates.str.contains(f"^{_DATE}$").fill_null(False)
    return Fields(numbers=numbers.set(~dated, None))


NUMBER_DATE = Layout(name="number-date", header="number,date", pattern=rf'[^,]*,\s*"?{_DATE}"?', fields=_fields)
