"""The end of a process that does not come to its end by itself, because something in it hangs."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from time import monotonic, sleep
from typing import Final

from agent.entrypoints import time_limits

_NOT_CLEAN: Final = 1
_LOOK_S: Final = 0.25


class LastResort:
    """Ends the process without more ado some time after it should have ended. ``before`` is its last act."""

    def __init__(self, before: Callable[[], None]) -> None:
        self._before = before
        self._at: float | None = None
        self._code = _NOT_CLEAN
        self._is_set = threading.Event()

    def stand_by(self) -> None:
        """Have the thread that this takes: when the end has come, none may be had any more. Raises ``RuntimeError``."""
        threading.Thread(target=self._wait, name="last-resort", daemon=True).start()

    def set(self, until: float, code: int) -> float:
        """The process should end by ``until`` (seconds on ``time.monotonic``), which is returned, with this code."""
        self._at, self._code = until + time_limits.LAST_RESORT_S, code or _NOT_CLEAN
        self._is_set.set()
        return until

    def _wait(self) -> None:
        self._is_set.wait()
        while self._at is not None and monotonic() < self._at:
            sleep(_LOOK_S)
        self._before()
        os._exit(self._code)
