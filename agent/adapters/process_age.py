"""How long ago the operating system started this process, which Python itself does not know."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final

_STARTED: Final = 19
"""Which field of /proc/self/stat, counted from the one after the name: proc(5), ``starttime``."""


def process_age_s() -> float:
    """Seconds since this process was started, however often it has become another program since (``exec``).

    By the clock that also runs while the machine sleeps; up to 10 ms too much. 0 where there is no /proc.
    """
    try:
        status = Path("/proc/self/stat").read_text()
    except OSError:
        return 0.0
    started = int(status.rpartition(")")[2].split()[_STARTED]) / os.sysconf("SC_CLK_TCK")
    return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - started)
