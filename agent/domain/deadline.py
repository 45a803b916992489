"""A point in time by which an answer must be out, passed down through everything that waits."""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Deadline:
    """A moment on the monotonic clock. Waiting code asks ``remaining_s`` and never waits longer."""

    at: float
    """Seconds on ``time.monotonic``."""

    @classmethod
    def after_ms(cls, milliseconds: float) -> Deadline:
        """A deadline ``milliseconds`` from now."""
        return cls(time.monotonic() + milliseconds / 1000)

    def remaining_s(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self.at - time.monotonic())
