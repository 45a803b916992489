"""``area,number``, as the American register is delivered: the full list, and the changes with ``A`` or ``D``."""

from __future__ import annotations

import polars

from agent.adapters.register_files.layout import Fields, Layout, columns

_LINE = r'"?[0-9]{3}"?,\s*"?[0-9]{7}"?'


def _full(lines: polars.Series, delimiter: str) -> Fields:
    area, number = columns(lines, delimiter, 2)
    return Fields(numbers=_joined(area, number))


def _changes(lines: polars.Series, delimiter: str) -> Fields:
    """The fields are area code, number, and ``A`` for an addition or ``D`` for a removal; a date may follow."""
    area, number, change, _ = columns(lines, delimiter, 4)
    known = change.str.to_uppercase().replace_strict({"A": False, "D": True}, default=None, return_dtype=polars.Boolean)
    return Fields(numbers=_joined(area, number), removed=known)


def _joined(area: polars.Series, number: polars.Series) -> polars.Series:
    """Null unless they are three and seven digits: ``20,15550123`` is a mistake, and not another spelling."""
    sound = area.str.contains(r"^[0-9]{3}$") & number.str.contains(r"^[0-9]{7}$")
    return (area + number).set(~sound.fill_null(False), None)


AREA_NUMBER = Layout(name="area-number", header="area,number", pattern=_LINE, fields=_full)
AREA_CHANGES = Layout(
    name="area-changes",
    header="area,number,change",
    pattern=rf'{_LINE},\s*"?[ADad]"?(?:,.*)?',
    fields=_changes,
    changes=True,
)
