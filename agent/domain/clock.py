"""Whether a clock can be believed: one that is behind what it wrote before is wrong now, or was wrong then."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

CLOCK_TOLERANCE: Final = timedelta(hours=1)
"""More than clocks drift that are kept at all, and too little to matter to a period of days."""


def is_behind(now: datetime, newest_at: datetime | None) -> bool:
    """Whether ``now`` is before ``newest_at``, the highest time on record, by more than clocks differ."""
    return newest_at is not None and now < newest_at - CLOCK_TOLERANCE


def behind(now: datetime, newest_at: datetime) -> str:
    """What is wrong then, and what to do, in a sentence."""
    return (
        f"the clock of this machine says {now:%Y-%m-%d %H:%M} UTC, and the journal holds a record of "
        f"{newest_at:%Y-%m-%d %H:%M} UTC: set the clock right, or say that it is right now (bmn journal trust-clock)"
    )
