"""Who looks after the workers, and gives the service manager its sign of life only while they answer."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from time import monotonic
from typing import Final

from structlog.typing import FilteringBoundLogger

from agent import logs
from agent.adapters.service_manager import ServiceManager
from agent.entrypoints import time_limits
from agent.entrypoints.fastagi import FastAgiServer

PULSE: Final = "pulse"
"""The script that the service asks itself, over a connection of its own, with Asterisk's answer sent ahead."""
_REQUEST: Final = f"agi_network: yes\nagi_network_script: {PULSE}\n\n200 result=1\n".encode()
BEATS: Final = 3
"""Signs of life in the time that the service manager waits for one."""


class Watchdog:
    """One thread. A sign of life is given when a worker has taken a request, read it, and answered it."""

    def __init__(self, server: FastAgiServer, manager: ServiceManager, log: FilteringBoundLogger) -> None:
        self._server = server
        self._manager = manager
        self._log = log
        self._ending = threading.Event()
        self._beating = threading.Event()
        self._pulse: socket.socket | None = None
        self._asked_at = float("-inf")
        self._withheld = False
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def start(self) -> None:
        """Begin; the first sign of life is given at once."""
        if self._manager.watchdog_s is not None:
            self._beating.set()
        self._thread.start()

    def rest(self) -> None:
        """Give no more signs of life, for another process does."""
        self._beating.clear()

    def stop(self) -> None:
        """End the thread."""
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join()
        self._drop_pulse()

    def _run(self) -> None:
        looked = monotonic()
        while not self._ending.wait(time_limits.WATCHDOG_TICK_S):
            now = monotonic()
            try:
                # A process that was stopped as a whole (SIGSTOP, a machine that slept) is not stuck.
                self._server.look(min(now - looked, 2 * time_limits.WATCHDOG_TICK_S))
                if self._beating.is_set():
                    self._beat(now)
            except Exception as error:  # noqa: BLE001  # this thread must outlive whatever it meets
                self._log.error(logs.THREAD_FAILED, thread="watchdog", exc_info=error)
            looked = now

    def _beat(self, now: float) -> None:
        assert self._manager.watchdog_s is not None
        if self._pulse is None:
            if now - self._asked_at >= self._manager.watchdog_s / BEATS:
                self._ask(now)
        elif self._is_answered(self._pulse):
            self._drop_pulse()
            self._withheld = False
            self._manager.say("WATCHDOG=1")
        elif now - self._asked_at > self._manager.watchdog_s / BEATS and not self._withheld:
            self._withheld = True
            self._log.error(logs.WATCHDOG_WITHHELD, waited_s=round(now - self._asked_at, 1))

    def _ask(self, now: float) -> None:
        ours, theirs = socket.socketpair()
        self._pulse, self._asked_at = ours, now
        ours.setblocking(False)
        ours.sendall(_REQUEST)
        self._server.put(theirs)

    def _is_answered(self, pulse: socket.socket) -> bool:
        with suppress(BlockingIOError):
            if pulse.recv(4096):
                return True
            self._drop_pulse()  # the session ended without an answer: ask again
        return False

    def _drop_pulse(self) -> None:
        if self._pulse is not None:
            self._pulse.close()
            self._pulse = None
