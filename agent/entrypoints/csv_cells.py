"""Cells of a CSV file that people open with a spreadsheet."""

from __future__ import annotations

import re
from typing import Final

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")
"""How a cell begins that a spreadsheet would reckon out."""
_NUMBER: Final = re.compile(r"\+[0-9]{3}([0-9]+|\*+)[0-9]{3}")
"""A telephone number, in full or masked: nothing to reckon out, and needed as it is."""


def csv_cell(text: str) -> str:
    """``text`` so that a spreadsheet shows it and does not run it.

    >>> csv_cell("=1+1"), csv_cell("+31612345678")
    ("'=1+1", '+31612345678')
    """
    return f"'{text}" if text.startswith(_FORMULA) and not _NUMBER.fullmatch(text) else text
