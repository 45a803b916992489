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
        listens: Callable[[], None],
        failed: Callable[[str], None],
    ) -> None:
        """``listens`` is called when it does, else ``failed`` with the reason, each on another thread.

        ``listeners`` are the sockets by name, each with the address that is configured.
        """
        self._listeners = listeners
        self._listens = listens
        self._failed = failed
        self._given_up = threading.Event()
        self._begun = threading.Event()
        """There is a process that starts it, or there will be none."""
        self._settled = threading.Event()
        """It is known whether there is a process, and one that was given up has been told so."""
        self._starter: subprocess.Popen[bytes] | None = None
        self._why = "no process could be started"
        self.pid = 0
        """0: it has not been started, or has failed."""
        self._process: int | None = None
        """A descriptor of it, once it has been started: nobody else can have its number."""

    def start(self) -> None:
        """Start it. Raises ``OSError`` or ``RuntimeError``; then there is no process, and nothing is called."""
        ours, theirs = os.pipe()
        try:
            # First, because a process that nobody follows would take over all the same, and stay beside this one.
            threading.Thread(target=self._follow, args=(ours,), name="successor", daemon=True).start()
        except RuntimeError:
            os.close(ours)
            os.close(theirs)
            raise
        handed = {name: (one.fileno(), _text(address)) for name, (one, address) in self._listeners.items()}
        environment = {**os.environ, VARIABLE: json.dumps({"pipe": theirs, "listeners": handed})}
        for name in OF_ONE_PROCESS:
            environment.pop(name, None)
        try:
            self._starter = subprocess.Popen(  # noqa: S603  # what this process was started with
                [sys.executable, "-E", "-S", "-c", _START, str(theirs), sys.executable, *sys.orig_argv[1:]],
                env=environment,
                pass_fds=[theirs, *(fd for fd, _ in handed.values())],
            )
        except OSError as error:
            self._why = str(error)
        finally:
            os.close(theirs)
            self._begun.set()

    def give_up(self) -> None:
        """It shall not take the place after all: ask it to stop, as soon as there is one."""
        self._given_up.set()
        self.send(signal.SIGTERM)

    def settle(self, wait_s: float) -> None:
        """Wait until one that was given up has been told so."""
        self._settled.wait(wait_s)

    def send(self, number: int) -> None:
        """Send it a signal, if it has been started and has not ended."""
        with suppress(OSError):
            if self._process is not None:
                signal.pidfd_send_signal(self._process, number)
            elif self.pid:
                os.kill(self.pid, number)

    def _follow(self, ours: int) -> None:
        try:
            why = self._outcome(ours)
        except Exception as error:  # noqa: BLE001  # whatever it was, there must not be two of us for good
            self.give_up()
            why = f"it could not be followed: {error}"
        self._settled.set()
        if why is None:
            self._listens()
            return
        process, self._process, self.pid = self._process, None, 0
        if process is not None:
            os.close(process)
        self._failed(why)

    def _outcome(self, ours: int) -> str | None:
        """Wait for what it says; None when it listens, else why it does not."""
        with open(ours, "rb", buffering=0) as pipe:  # a descriptor
            self.pid = int(pipe.readline() or 0)
            self._begun.wait()
            if self._starter is not None:
                self._starter.wait()
            if not self.pid:
                return self._why
            with suppress(OSError):  # it has ended already, or there is no descriptor left
                self._process = os.pidfd_open(self.pid)
            if self._given_up.is_set():
                self.give_up()
            self._settled.set()
            said = _line(pipe, time_limits.HANDOVER_START_S)
            if said == _LISTENS and not self._given_up.is_set():
                return None
            too_late = said is None
            if too_late:
                self.give_up()
                if _line(pipe, time_limits.HANDOVER_KILL_S) is None:
                    self.send(signal.SIGKILL)
        why = f"did not listen within {time_limits.HANDOVER_START_S:.0f} s" if too_late else "ended before it listened"
        return f"process {self.pid} {why}"


class Succession:
    """One successor at a time. ``taken_over`` hears its process id once it listens."""

    def __init__(self, manager: ServiceManager, log: FilteringBoundLogger, taken_over: Callable[[int], None]) -> None:
        self._manager = manager
        self._log = log
        self._taken_over = taken_over
        self._successor: Successor | None = None
        self._lock = threading.Lock()
        self._asked_again = False
        self._over = False
        """There is a successor that listens, or there shall be none."""

    def begin(self, sockets: Mapping[str, tuple[socket.socket | None, tuple[str, int]]]) -> None:
        """Start a successor; it gets the sockets that are there.

        One that was started before may not have seen what was changed since: it is to hand over in its turn.
        """
        with self._lock:
            if self._successor is not None:
                self._asked_again = True
                if self._over:
                    self._successor.send(signal.SIGHUP)
                return
            listeners = {name: (one, address) for name, (one, address) in sockets.items() if one is not None}
            self._successor = Successor(listeners, self._listens, self._failed)
        self._manager.say("RELOADING=1", f"MONOTONIC_USEC={monotonic_ns() // 1000}")
        try:
            self._successor.start()
        except (OSError, RuntimeError) as error:
            self._failed(str(error))

    def give_up(self) -> None:
        """There shall be none: this process was asked to stop meanwhile."""
        with self._lock:
            self._over = True
            successor = self._successor
        if successor is not None:
            successor.give_up()

    def settle(self, wait_s: float) -> None:
        """Wait until a successor that was given up has been told so; else it would go on without this process."""
        if self._successor is not None:
            self._successor.settle(wait_s)

    def _listens(self) -> None:
        with self._lock:
            successor, self._over = self._successor, True
            asked_again = self._asked_again
        assert successor is not None
        self._taken_over(successor.pid)
        if asked_again:
            successor.send(signal.SIGHUP)

    def _failed(self, why: str) -> None:
        with self._lock:
            self._successor = None
            asked_again, self._asked_again = self._asked_again, False
            if self._over:
                return
        self._log.error(logs.AGENT_HANDOVER_FAILED, why=why)
        self._manager.say("READY=1", "STATUS=A successor could not start; see the log")
        if asked_again:
            os.kill(os.getpid(), signal.SIGHUP)


def _line(pipe: RawIOBase, wait_s: float) -> bytes | None:
    """The next line, empty at the end; None when nothing comes within ``wait_s``."""
    poll = select.poll()
    poll.register(pipe.fileno(), select.POLLIN)
    return pipe.readline() if poll.poll(wait_s * 1000) else None


def _text(address: tuple[str, int]) -> str:
    host, port = address
    return f"{host}:{port}"
