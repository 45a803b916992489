"""Waiting for what a test can see happen, in bounded time, where others would sleep."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from time import monotonic, sleep
from typing import Any

POLL_S = 0.01


def until(seen: Callable[[], Any], timeout_s: float = 10) -> Any:
    """Wait until ``seen`` returns something that is true, and return that.

    :raises AssertionError: It was not seen within ``timeout_s`` seconds; shows the source of ``seen``.
    """
    end = monotonic() + timeout_s
    while not (found := seen()):
        assert monotonic() < end, f"not seen in {timeout_s} s, last {found!r}: {inspect.getsource(seen).strip()}"
        sleep(POLL_S)
    return found
