"""A service hands over to its successor: the same command started again, which takes over the sockets that listen.

Both processes have the same sockets, so that no connection is lost between them: what waits to be accepted is accepted
by whoever comes first. The successor says through a pipe that it listens; only then the old process closes its door and
lets its sessions end. A successor that ends instead, or says nothing for too long, leaves everything as it was.

The sockets and the pipe are handed down by number in the environment (``BMN_SUCCEEDS``), each socket with the address
that it was configured with: a successor that is configured otherwise opens one of its own.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, MutableMapping
from contextlib import suppress
from io import RawIOBase
from time import monotonic_ns
from typing import Any, Final

from structlog.typing import FilteringBoundLogger

from agent import logs
from agent.adapters.service_manager import OF_ONE_PROCESS, ServiceManager
from agent.entrypoints import time_limits

VARIABLE: Final = "BMN_SUCCEEDS"
_LISTENS: Final = b"listens\n"
_START: Final = """
import os, sys
pipe, *command = sys.argv[1:]
if pid := os.fork():
    os.write(int(pipe), b"%d\\n" % pid)
else:
    os.execv(command[0], command)
"""
"""A program that starts another one, writes its process id, and ends."""


class Inheritance:
    """What the process before handed down; nothing, as a rule."""

    def __init__(self, environment: MutableMapping[str, str]) -> None:
        """Takes it out of ``environment``, for it is nobody else's."""
        handed: dict[str, Any] = json.loads(environment.pop(VARIABLE, "{}"))
        self._pipe: int | None = handed.get("pipe")
        self.is_there = self._pipe is not None
        """There is a process before, which waits for this one."""
        self._listeners: dict[str, tuple[str, socket.socket]] = {}
        for name, (fd, address) in handed.get("listeners", {}).items():
            os.set_inheritable(fd, False)
            self._listeners[name] = (address, socket.socket(fileno=fd))
        if self._pipe is not None:
            os.set_inheritable(self._pipe, False)

    def listener(self, name: str, address: tuple[str, int]) -> socket.socket | None:
        """The socket of that name, when it listens on ``address``; it belongs to the caller then."""
        known, listener = self._listeners.pop(name, ("", None))
        if listener is not None and known != _text(address):
            listener.close()
            return None
        return listener

    def say_listening(self) -> None:
        """Let the process before go."""
        for _, listener in self._listeners.values():  # of what is not configured any more
            listener.close()
        self._listeners.clear()
        if self._pipe is not None:
            with suppress(OSError):  # it may have gone already
                os.write(self._pipe, _LISTENS)
            os.close(self._pipe)
            self._pipe = None


class Successor:
    """A process that was started to take this one's place.

    It is nobody's child but the service manager's: another process starts it and ends at once. systemd waits for the
    end of its children only; another main process it would kill in the moment in which it asks it to stop
    (``main_pid_alien`` in its src/core/service.c).
    """

    def __init__(
        self,
        listeners: Mapping[str, tuple[socket.socket, tuple[str, int]]],
        listens: Callable[[int], None],
        failed: Callable[[str], None],
    ) -> None:
        """Start it. Once it is waited for, ``listens`` gets its process id when it does, else ``failed`` the reason.

        ``listeners`` are the sockets by name, each with the address that is configured. Raises ``OSError``.
        """
        self._listens = listens
        self._failed = failed
        self._given_up = threading.Event()
        self._process: int | None = None
        """A descriptor of it, once it has been started: nobody else can have its number."""
        ours, theirs = os.pipe()
        handed = {name: (one.fileno(), _text(address)) for name, (one, address) in listeners.items()}
        environment = {**os.environ, VARIABLE: json.dumps({"pipe": theirs, "listeners": handed})}
        for name in OF_ONE_PROCESS:
            environment.pop(name, None)
        try:
            self._starter = subprocess.Popen(  # noqa: S603  # what this process was started with
                [sys.executable, "-E", "-S", "-c", _START, str(theirs), sys.executable, *sys.orig_argv[1:]],
                env=environment,
                pass_fds=[theirs, *(fd for fd, _ in handed.values())],
            )
        except OSError:
            os.close(ours)
            raise
        finally:
            os.close(theirs)
        self._pipe = ours

    def wait(self) -> None:
        """Begin to wait for what it says, on another thread."""
        threading.Thread(target=self._wait, name="successor", daemon=True).start()

    def give_up(self) -> None:
        """It shall not take the place after all: ask it to stop."""
        self._given_up.set()
        if self._process is not None:
            with suppress(OSError):
                signal.pidfd_send_signal(self._process, signal.SIGTERM)

    def _wait(self) -> None:
        with open(self._pipe, "rb", buffering=0) as pipe:  # noqa: PTH123  # a descriptor
            pid = int(pipe.readline() or 0)
            self._starter.wait()
            if not pid:
                self._failed("no process could be started")
                return
            with suppress(ProcessLookupError):  # it has ended already
                self._process = os.pidfd_open(pid)
            said = _line(pipe, time_limits.HANDOVER_START_S)
            if said == _LISTENS and not self._given_up.is_set():
                self._listens(pid)
                return
            too_late = said is None
            if too_late:
                self.give_up()
                if _line(pipe, time_limits.HANDOVER_KILL_S) is None and self._process is not None:
                    signal.pidfd_send_signal(self._process, signal.SIGKILL)
        if self._process is not None:
            os.close(self._process)
            self._process = None
        why = f"did not listen within {time_limits.HANDOVER_START_S:.0f} s" if too_late else "ended before it listened"
        self._failed(f"process {pid} {why}")


class Succession:
    """One successor at a time. ``taken_over`` hears its process id once it listens."""

    def __init__(self, manager: ServiceManager, log: FilteringBoundLogger, taken_over: Callable[[int], None]) -> None:
        self._manager = manager
        self._log = log
        self._taken_over = taken_over
        self._successor: Successor | None = None

    def begin(self, sockets: Mapping[str, tuple[socket.socket | None, tuple[str, int]]]) -> None:
        """Start a successor, unless one has been started; it gets the sockets that are there."""
        if self._successor is not None:
            return
        self._manager.say("RELOADING=1", f"MONOTONIC_USEC={monotonic_ns() // 1000}")
        listeners = {name: (one, address) for name, (one, address) in sockets.items() if one is not None}
        try:
            self._successor = Successor(listeners, self._taken_over, self._failed)
            self._successor.wait()
        except (OSError, RuntimeError) as error:
            self._failed(str(error))

    def give_up(self) -> None:
        """There shall be none: this process was asked to stop meanwhile."""
        if self._successor is not None:
            self._successor.give_up()

    def _failed(self, why: str) -> None:
        self._successor = None
        self._log.error(logs.AGENT_HANDOVER_FAILED, why=why)
        self._manager.say("READY=1", "STATUS=A successor could not start; see the log")


def _line(pipe: RawIOBase, wait_s: float) -> bytes | None:
    """The next line, empty at the end; None when nothing comes within ``wait_s``."""
    poll = select.poll()
    poll.register(pipe.fileno(), select.POLLIN)
    return pipe.readline() if poll.poll(wait_s * 1000) else None


def _text(address: tuple[str, int]) -> str:
    host, port = address
    return f"{host}:{port}"
