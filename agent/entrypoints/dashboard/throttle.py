"""Slows guessing of passwords down, per user name and per address."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Callable
from math import ceil
from typing import Final

FREE_PER_USER: Final = 5
FREE_PER_ADDRESS: Final = 20
"""Wrong attempts before anybody waits; several people may share an address."""
_LONGEST_WAIT_S: Final = 300
_FORGOTTEN_S: Final = 900
_KEPT: Final = 10_000


class Throttle:
    """Counts wrong attempts. ``clock`` gives seconds that only grow. For one thread."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._seen: OrderedDict[tuple[str, str], tuple[int, float]] = OrderedDict()

    def wait_s(self, user: str, address: str) -> int:
        """How many seconds to wait before the next attempt; 0 when it may be now."""
        now = self._clock()
        return max(self._wait_s(key, free, now) for key, free in _keys(user, address))

    def attempt(self, user: str, address: str) -> None:
        """Count an attempt, before its password is looked at: many at once are no way around."""
        now = self._clock()
        for key, _ in _keys(user, address):
            self._seen[key] = (self._count(key, now) + 1, now)
            self._seen.move_to_end(key)
        while len(self._seen) > _KEPT:
            self._seen.popitem(last=False)

    def succeeded(self, user: str, address: str) -> None:
        """Forget what was counted: the password was right."""
        for key, _ in _keys(user, address):
            self._seen.pop(key, None)

    def _count(self, key: tuple[str, str], now: float) -> int:
        count, at = self._seen.get(key, (0, now))
        return count if now - at < _FORGOTTEN_S else 0

    def _wait_s(self, key: tuple[str, str], free: int, now: float) -> int:
        count = self._count(key, now)
        if count < free:
            return 0
        wait_s: int = min(2 ** min(count - free + 1, 20), _LONGEST_WAIT_S)
        return max(0, ceil(self._seen[key][1] + wait_s - now))


def _keys(user: str, address: str) -> tuple[tuple[tuple[str, str], int], ...]:
    return (("user", user), FREE_PER_USER), (("address", _network(address)), FREE_PER_ADDRESS)


def _network(address: str) -> str:
    """One household or office has a whole /64 of IPv6."""
    try:
        known = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(ipaddress.ip_network((known, 64), strict=False)) if known.version == 6 else address
