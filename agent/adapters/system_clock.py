"""Whether the kernel's clock is kept right by something (chrony, systemd-timesyncd, ntpd): adjtimex(2)."""

from __future__ import annotations

import ctypes
import struct
from typing import Final

_STATUS_AT: Final = 40
"""Bytes before ``status`` in struct timex of 64-bit Linux: an int, padding, and four longs."""
_SIZE: Final = 512
"""More than struct timex takes."""
_UNSYNCHRONISED: Final = 0x40
"""STA_UNSYNC."""
_CLOCK_ERROR: Final = 5
"""TIME_ERROR."""


def synchronised() -> bool | None:
    """None where the kernel does not say."""
    if struct.calcsize("l") != 8:
        return None
    buffer = ctypes.create_string_buffer(_SIZE)  # all zero: change nothing
    try:
        state = ctypes.CDLL(None).adjtimex(buffer)
    except (OSError, AttributeError):
        return None
    if state < 0:
        return None
    (status,) = struct.unpack_from("i", buffer, _STATUS_AT)
    return state != _CLOCK_ERROR and not status & _UNSYNCHRONISED
