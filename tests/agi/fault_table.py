"""What can go wrong on Asterisk's side of a session, at each of its steps.

A recording run of a script finds its steps: the environment, and each command. A cell of the table is one run that goes
well up to its step, and there meets one fault. ``Line`` is an Asterisk that answers every command as Asterisk 22 does
for a channel that is up, and knows what the dialplan would dial afterwards.
"""

from __future__ import annotations

import os
import re
import select
import socket
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic

from agent import dialplan_names as names
from tests.agi.fake_asterisk import PATIENCE_S, FakeAsterisk

ENVIRONMENT = -1
"""The step before the first command."""
_HUGE = b"x" * 10_000_000
_POUR_S = 5.0
_DIALOGUE_S = 15.0
"""Longer than any wait for a consumer's key, with the time-out of the exchange."""
_LINGER_NOT = struct.pack("ii", 1, 0)
_ON_DEAD = ("SET VARIABLE", "GET VARIABLE", "GET FULL VARIABLE", "EXEC", "NOOP", "VERBOSE", "DATABASE")
"""Commands that a dead channel takes (res_agi.c, ``commands``)."""
_KEYS = "212"
"""What the consumer answers: the register, everything, not charities."""


class Line:
    """One channel, and the session that a script has with it."""

    def __init__(self, fake: FakeAsterisk, environment: Sequence[str], sock: socket.socket | None = None) -> None:
        self.fake = fake
        self.dead = False
        """The channel hung up."""
        self.confirmed: dict[str, str] = {}
        """The variables whose setting was answered; those that were set are ``fake.variables``."""
        self._environment = list(environment)
        self._socket = sock
        self._keys = list(_KEYS)
        self._packets = 0

    @classmethod
    def connect(cls, address: tuple[str, int], environment: Sequence[str]) -> Line:
        """As ``AGI(agi://…)`` does: a connection, nothing sent yet."""
        sock = socket.create_connection(address, timeout=PATIENCE_S)
        return cls(FakeAsterisk.over(sock), environment, sock)

    @property
    def dials(self) -> str:
        """The number that the dialplan dials after this session; empty when it dials none."""
        told = self.fake.variables
        number = told.get(names.BMN_NUMBER, "")
        cleared = told.get(names.BMN_VERDICT) == "allow" and re.fullmatch(r"\+\d{4,}", number)
        return number if cleared and told.get(names.BMN_CALL) and not self.dead else ""

    def begin(self, *, whole: bool) -> None:
        """Send the environment, or half of it."""
        lines = self._environment if whole else self._environment[: len(self._environment) // 2]
        self.fake.send("".join(f"{line}\n" for line in lines) + ("\n" if whole else ""))

    def take(self, command: str) -> None:
        """Do what ``command`` says, without an answer; of the environment, send the rest."""
        if command:
            self.fake.confirm(command)
        else:
            rest = self._environment[len(self._environment) // 2 :]
            self.fake.send("".join(f"{line}\n" for line in rest) + "\n")

    def answer(self, command: str) -> None:
        """The answer to ``command``; to the environment, none."""
        if not command:
            return
        if self.dead and not command.startswith(_ON_DEAD):
            self.fake.send("511 Command Not Permitted on a dead channel or intercept routine\n")
            return
        self.confirmed = dict(self.fake.variables)
        self.fake.send(f"200 result={self._result(command)}\n")

    def reset(self) -> None:
        """Drop the connection with a reset."""
        assert self._socket is not None
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
        self.fake.hang_up()

    def pour(self, data: bytes) -> None:
        """Send as much of it as the other side takes."""
        descriptor, until = self.fake.outgoing, monotonic() + _POUR_S
        os.set_blocking(descriptor, False)
        left = memoryview(data)
        while left and monotonic() < until:
            if select.select([], [descriptor], [], until - monotonic())[1]:
                try:
                    left = left[os.write(descriptor, left) :]
                except (BrokenPipeError, ConnectionResetError):
                    return

    def _result(self, command: str) -> str:
        if command.startswith("STREAM FILE"):
            self._packets += 10_000
            return "0 endpos=1000000"
        if command.startswith("WAIT FOR DIGIT"):
            return str(ord(self._keys.pop(0))) if self._keys else "0"
        if command.startswith("GET FULL VARIABLE"):
            return f"1 (0/{self._packets}/{self._packets})"
        if command.startswith("GET VARIABLE"):
            return "1 (ANSWER)"
        return "6" if command.startswith("CHANNEL STATUS") else "1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that Asterisk, or the way to it, does instead of an answer."""

    name: str
    act: Callable[[Line, str], None]
    """With the line, and the command that has come; empty while the environment is being sent."""
    sockets_only: bool = False


def _close(line: Line, command: str) -> None:
    line.fake.hang_up()


def _reset(line: Line, command: str) -> None:
    line.reset()


def _say(text: str) -> Callable[[Line, str], None]:
    return lambda line, command: line.fake.send(text)


def _stall(line: Line, command: str) -> None:
    """Say nothing any more."""


def _hang_up(line: Line, command: str) -> None:
    line.dead = True
    line.fake.send("HANGUP\n")


def _take(line: Line, command: str) -> None:
    line.take(command)


def _go_on(line: Line, command: str) -> None:
    line.take(command)
    line.answer(command)


def _huge(line: Line, command: str) -> None:
    line.pour(_HUGE)


def _one_after_another(*acts: Callable[[Line, str], None]) -> Callable[[Line, str], None]:
    def act(line: Line, command: str) -> None:
        for one in acts:
            one(line, command)

    return act


_USAGE = "520-Invalid command syntax.  Proper usage follows:\n Usage: SET VARIABLE\n520 End of proper usage.\n"
FAULTS = (
    Fault(name="close", act=_close),
    Fault(name="close after taking it", act=_one_after_another(_take, _close)),
    Fault(name="reset", act=_reset, sockets_only=True),
    Fault(name="reset after taking it", act=_one_after_another(_take, _reset), sockets_only=True),
    Fault(name="stall", act=_stall),
    Fault(name="stall after taking it", act=_take),
    Fault(name="garbage", act=_say("what?\n")),
    Fault(name="garbage after taking it", act=_one_after_another(_take, _say("what?\n"))),
    Fault(name="HANGUP, and it goes on", act=_one_after_another(_hang_up, _go_on)),
    Fault(name="HANGUP, and it closes", act=_one_after_another(_hang_up, _close)),
    Fault(name="510", act=_say("510 Invalid or unknown command\n")),
    Fault(name="511", act=_say("511 Command Not Permitted on a dead channel or intercept routine\n")),
    Fault(name="520", act=_say(_USAGE)),
    Fault(name="100 Trying", act=_one_after_another(_say("100 Trying\n"), _go_on)),
    Fault(name="100 Trying, and nothing", act=_say("100 Trying\n")),
    Fault(name="half a line", act=_one_after_another(_say("200 resu"), _close)),
    Fault(name="half a line, and nothing", act=_say("200 resu")),
    Fault(name="a line of 10 MB", act=_huge),
    Fault(name="a line of 10 MB after taking it", act=_one_after_another(_take, _huge)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """How one run of a script went."""

    line: Line
    commands: tuple[str, ...]
    took_s: float
    """Until the other side had ended it, or we had."""


def run(line: Line, fault: Fault | None = None, step: int = ENVIRONMENT, *, gives_up_s: float | None = None) -> Session:
    """One session, with ``fault`` at ``step``; after ``gives_up_s`` Asterisk hangs up.

    Raises ``AssertionError`` when it does not end.
    """
    began, seen = monotonic(), list[str]()
    try:
        line.begin(whole=fault is None or step != ENVIRONMENT)
        if fault is not None and step == ENVIRONMENT:
            fault.act(line, "")
        while (command := line.fake.next_command(_left_s(began, gives_up_s))) is not None:
            if fault is not None and len(seen) == step:
                fault.act(line, command)
            else:
                _go_on(line, command)
            seen.append(command)
    except (BrokenPipeError, ConnectionResetError):  # the other side has ended it in the middle of what we say
        pass
    except AssertionError:
        if gives_up_s is None or _left_s(began, gives_up_s) > 0:
            raise
    finally:
        line.fake.hang_up()
    return Session(line=line, commands=tuple(seen), took_s=monotonic() - began)


def _left_s(began: float, gives_up_s: float | None) -> float:
    return _DIALOGUE_S if gives_up_s is None else began + gives_up_s - monotonic()
