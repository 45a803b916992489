"""Which numbers came before: one bit for each possible number, so that memory does not grow with the file."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

_PAGE: Final = 10**8
"""Numbers in one page; it takes 12.5 MB when all of its parts are used, and nothing where none is."""


class SeenNumbers:
    """Remembers every number that it was shown."""

    def __init__(self) -> None:
        self._pages: dict[int, NDArray[np.uint8]] = {}

    def first(self, numbers: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """For each number whether it comes for the first time; then all of them have come."""
        first = np.zeros(len(numbers), dtype=np.bool_)
        if not len(numbers):
            return first
        order = np.argsort(numbers)
        ordered = numbers[order]
        begins = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
        distinct, places = ordered[begins], np.minimum.reduceat(order, begins)
        new = np.zeros(len(distinct), dtype=np.bool_)
        pages = distinct // np.uint64(_PAGE)
        for page in np.unique(pages).tolist():
            bits = self._pages.setdefault(page, np.zeros(_PAGE // 8, dtype=np.uint8))
            of_page = pages == page
            within = (distinct[of_page] % np.uint64(_PAGE)).astype(np.int64)
            byte, bit = within >> 3, np.left_shift(1, within & 7).astype(np.uint8)
            new[of_page] = (bits[byte] & bit) == 0
            np.bitwise_or.at(bits, byte, bit)
        first[places[new]] = True
        return first
