"""A service manager for the lab: it hears what a service says (sd_notify) and follows it from process to process."""

from __future__ import annotations

import ctypes
import itertools
import os
import select
import signal
import socket
import time
from typing import Final

_SERIALS: Final = itertools.count()
_SET_CHILD_SUBREAPER: Final = 36  # linux/prctl.h


class ServiceManager:
    """A socket as systemd has it, in the abstract namespace."""

    def __init__(self) -> None:
        name = f"bmn-lab-{os.getpid()}-{next(_SERIALS)}"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(f"\0{name}")
        self._socket.setblocking(False)
        self.environment = {"NOTIFY_SOCKET": f"@{name}"}
        """What a service is started with."""
        self._heard: list[dict[str, str]] = []

    def heard(self) -> list[dict[str, str]]:
        """Every message so far, each as its assignments."""
        while select.select([self._socket], [], [], 0)[0]:
            text = self._socket.recv(8192).decode()
            self._heard.append(dict(line.split("=", 1) for line in text.splitlines()))
        return list(self._heard)

    def count(self, name: str) -> int:
        """How many messages had this assignment."""
        return sum(name in message for message in self.heard())

    def main_pid(self) -> int | None:
        """The process that took over last; None when none did."""
        said = [int(message["MAINPID"]) for message in self.heard() if "MAINPID" in message]
        return said[-1] if said else None

    def close(self) -> None:
        """Hear no more."""
        self._socket.close()


def adopt_orphans() -> None:
    """Become the parent of processes whose parent ends, as a service manager is: their exit codes can be had then."""
    ctypes.CDLL(None, use_errno=True).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


class Heir:
    """A process that another one of ours has started."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._fd = os.pidfd_open(pid)
        self._code: int | None = None

    def poll(self) -> int | None:
        """Its exit code; None while it runs. Known once its parent has ended (``adopt_orphans``)."""
        if self._code is None and select.select([self._fd], [], [], 0)[0]:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:
                return None
            if pid == self.pid:
                self._code = os.waitstatus_to_exitcode(status)
                os.close(self._fd)
        return self._code

    def wait(self, timeout: float) -> int:
        """Wait for its end; its exit code. Raises ``TimeoutError``."""
        deadline = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > deadline:
                raise TimeoutError(f"process {self.pid} did not end")
            time.sleep(0.01)
        return code

    def send_signal(self, number: int) -> None:
        """Send it a signal."""
        if self._code is None:
            signal.pidfd_send_signal(self._fd, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)
