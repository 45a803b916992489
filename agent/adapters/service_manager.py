"""What a service manager hears of the service: the protocol of sd_notify(3), by hand, for it is a datagram.

systemd gives the address of its socket in NOTIFY_SOCKET: a path, or ``@`` and a name in the abstract namespace. Without
it there is nobody to hear, and nothing is sent.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

_ADDRESS: Final = "NOTIFY_SOCKET"
_WATCHDOG_US: Final = "WATCHDOG_USEC"
_WATCHDOG_PID: Final = "WATCHDOG_PID"
_SEND_S: Final = 1.0
OF_ONE_PROCESS: Final = (_WATCHDOG_PID,)
"""What a process must not hand down to its successor."""


class ServiceManager:
    """Whoever started this process as a service, if anyone did. Thread-safe; nothing here raises."""

    def __init__(self, environment: Mapping[str, str], pid: int) -> None:
        address = environment.get(_ADDRESS, "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self.is_there = bool(address)
        """Somebody hears what is said."""
        asked_us = environment.get(_WATCHDOG_US, "")
        of_us = environment.get(_WATCHDOG_PID, str(pid)) == str(pid)
        self.watchdog_s = int(asked_us) / 1e6 if self.is_there and of_us and asked_us.isdecimal() else None
        """How long it waits for the next sign of life; None: for none."""

    def say(self, *assignments: str) -> bool:
        """Send these, like ``READY=1``, in one datagram; False when nobody took it."""
        if self.is_there:
            with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                sock.settimeout(_SEND_S)
                sock.sendto("\n".join(assignments).encode(), self._address)
                return True
        return False
