"""A strict Asterisk for tests: it plays the far side of one AGI session and forgives nothing.

The test drives it step by step on its own thread, so that a failed expectation fails the test and cannot be swallowed
by a handler that the server wraps. Every wait is bounded. Leaving the ``with`` block expects the end of the session:
a command that nobody expected fails the test, with both texts.
"""

from __future__ import annotations

import os
import re
import select
import socket
from collections.abc import Callable
from time import monotonic
from types import TracebackType

PATIENCE_S = 5.0
_ARRAY = re.compile(r'SET VARIABLE ARRAY\(([A-Za-z0-9_,]+)\) "([^"]*)"')


def environment(script: str, *arguments: str, classic: bool = False, **changes: str) -> list[str]:
    """The lines that Asterisk 22 sends (``launch_netscript`` and ``setup_env`` in res_agi.c), without the blank one.

    ``changes`` replaces the value of a line by its name without ``agi_``.
    """
    lines = {} if classic else {"network": "yes", "network_script": script}
    lines |= {
        "request": script if classic else f"agi://127.0.0.1:4573/{script}",
        "channel": "Local/s@bmn-screen-00000007;2",
        "language": "nl",
        "type": "Local",
        "uniqueid": "1795465754.7",
        "version": "22.10.1",
        "callerid": "+31201234567",
        "calleridname": "unknown",
        "callingpres": "67",
        "callingani2": "0",
        "callington": "0",
        "callingtns": "0",
        "dnid": "unknown",
        "rdnis": "unknown",
        "context": "bmn-screen",
        "extension": "s",
        "priority": "5",
        "enhanced": "0.0",
        "accountcode": "",
        "threadid": "140245756618432",
    }
    lines |= {f"arg_{number}": value for number, value in enumerate(arguments, start=1)}
    return [f"agi_{name}: {value}" for name, value in (lines | changes).items()]


class FakeAsterisk:
    """The Asterisk side of one session over two file descriptors."""

    def __init__(self, incoming: int, outgoing: int, close: Callable[[], None]) -> None:
        self.variables: dict[str, str] = {}
        """What SET VARIABLE ARRAY has set so far; only a confirmed command counts."""
        self.commands: list[str] = []
        self._incoming = incoming
        self.outgoing = outgoing
        """The descriptor that the other side reads from."""
        self._close = close
        self._buffer = b""
        self._open = True

    @classmethod
    def connect(cls, address: tuple[str, int]) -> FakeAsterisk:
        """As ``AGI(agi://…)`` does: a TCP connection, nothing sent yet."""
        return cls.over(socket.create_connection(address, timeout=PATIENCE_S))

    @classmethod
    def over(cls, sock: socket.socket) -> FakeAsterisk:
        """On a socket that is connected already."""
        return cls(sock.fileno(), sock.fileno(), sock.close)

    @classmethod
    def call(cls, address: tuple[str, int], script: str, *arguments: str) -> FakeAsterisk:
        """Connect and send the whole environment, line by line."""
        fake = cls.connect(address)
        try:
            for line in [*environment(script, *arguments), ""]:
                fake.send(f"{line}\n")
        except OSError:
            fake.hang_up()
            raise
        return fake

    def send(self, text: str | bytes, *, bytewise: bool = False) -> None:
        """Send exactly this, at once or in single bytes."""
        data = text.encode() if isinstance(text, str) else text
        for piece in [data[at : at + 1] for at in range(len(data))] if bytewise else [data]:
            os.write(self.outgoing, piece)

    def send_environment(self, script: str, *arguments: str, bytewise: bool = False) -> None:
        """Send the whole environment."""
        self.send("\n".join([*environment(script, *arguments), "", ""]), bytewise=bytewise)

    def expect(self, command: str) -> Expected:
        """The next command must be this one, to the letter."""
        came = self._read_line()
        assert came == command, f"wrong command\n  expected: {command}\n  came:     {came}"
        return Expected(self, command)

    def expect_variables(self, **values: str) -> Expected:
        """The next command must set exactly these, in this order, in one command."""
        return self.expect(f'SET VARIABLE ARRAY({",".join(values)}) "{",".join(values.values())}"')

    def read_command(self) -> str:
        """The next command, whatever it is."""
        came = self._read_line()
        assert came is not None, "the session ended, and a command was expected"
        return came

    def next_command(self, patience_s: float = PATIENCE_S) -> str | None:
        """The next command; None when the session has ended, on whichever side."""
        return self._read_line(patience_s) if self._open else None

    def expect_end(self) -> None:
        """The session must end without another command."""
        came = self._read_line()
        assert came is None, f"a command that nobody expected\n  came:     {came}"
        self.hang_up()

    def hang_up(self) -> None:
        """Drop the connection."""
        if self._open:
            self._open = False
            self._close()

    def is_silent(self) -> bool:
        """True when neither a command nor the end has come so far."""
        return not self._buffer and not select.select([self._incoming], [], [], 0)[0]

    def __enter__(self) -> FakeAsterisk:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        try:
            if kind is None and self._open:
                self.expect_end()
        finally:
            self.hang_up()

    def confirm(self, command: str) -> None:
        """Take over what ``command`` sets, as Asterisk's ARRAY function does."""
        if match := _ARRAY.fullmatch(command):
            names, values = match[1].split(","), match[2].split(",")
            assert not re.search(r"[\\()\[\]]", match[2]), f"Asterisk would move the commas of: {command}"
            assert len(values) <= len(names), f"more values than variables: {command}"
            self.variables |= dict(zip(names, values + [""] * (len(names) - len(values)), strict=True))

    def _read_line(self, patience_s: float = PATIENCE_S) -> str | None:
        until = monotonic() + patience_s
        while b"\n" not in self._buffer:
            wait_s = until - monotonic()
            assert wait_s > 0, f"neither a command nor the end came in {patience_s:.0f} s"
            if not select.select([self._incoming], [], [], wait_s)[0]:
                continue
            try:
                chunk = os.read(self._incoming, 65536)
            except ConnectionResetError:
                chunk = b""
            if not chunk:
                assert not self._buffer, f"the session ended inside a command: {self._buffer!r}"
                return None
            self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        self.commands.append(line.decode("ascii"))
        return self.commands[-1]


class Expected:
    """A command that came as expected and waits for its answer."""

    def __init__(self, fake: FakeAsterisk, command: str) -> None:
        self._fake = fake
        self._command = command

    def reply(self, *lines: str, bytewise: bool = False) -> FakeAsterisk:
        """Answer with these lines."""
        # Before the bytes leave: the test may look at the variables as soon as the other side goes on.
        if lines[-1].startswith("200"):
            self._fake.confirm(self._command)
        self._fake.send("".join(f"{line}\n" for line in lines), bytewise=bytewise)
        return self._fake

    def confirm(self) -> FakeAsterisk:
        """Answer as Asterisk does when all is well."""
        return self.reply("200 result=1")
