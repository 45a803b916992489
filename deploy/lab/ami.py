"""A small client of the Asterisk Manager Interface.

One reader thread collects everything that Asterisk sends. Events stay in order
and are kept, so a wait can look back: take a `mark()`, do something, then
`wait_for(...)` sees what happened in between as well.
"""

from __future__ import annotations

import itertools
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass


class AmiError(Exception):
    """The connection failed, an action was refused, or a wait ran out of time."""


@dataclass(frozen=True, slots=True)
class AmiMessage:
    """One response or event: header lines in the order in which they came.

    Header names compare without case. A name may come more than once (`Output`,
    `ChanVariable`): `[]` and `get` give the first, `all` gives every one.
    """

    headers: tuple[tuple[str, str], ...]

    @classmethod
    def parse(cls, lines: Sequence[str]) -> AmiMessage:
        """Build one from its lines; what has no `Name:` is kept under the name `""`."""
        headers: list[tuple[str, str]] = []
        for line in lines:
            name, colon, value = line.partition(":")
            headers.append((name, value.removeprefix(" ")) if colon else ("", line))
        return cls(tuple(headers))

    def all(self, name: str) -> list[str]:
        """Every value of the header, in order."""
        wanted = name.lower()
        return [value for header, value in self.headers if header.lower() == wanted]

    def get(self, name: str, default: str = "") -> str:
        """The first value of the header."""
        return next(iter(self.all(name)), default)

    def __getitem__(self, name: str) -> str:
        """The first value of the header; KeyError when it is absent."""
        for value in self.all(name):
            return value
        raise KeyError(name)

    def __contains__(self, name: object) -> bool:
        """Whether the header is there."""
        return isinstance(name, str) and bool(self.all(name))

    @property
    def name(self) -> str:
        """The event's name; of a UserEvent the user's own name. Empty for a response."""
        event = self.get("Event")
        return self.get("UserEvent") if event == "UserEvent" else event

    @property
    def channel_variables(self) -> dict[str, str]:
        """The channel variables that manager.conf's `channelvars` adds to channel events."""
        pairs = (value.partition("=") for value in self.all("ChanVariable"))
        return {name: value for name, _, value in pairs}


class AmiClient:
    """A logged-in connection. Thread-safe; also a context manager."""

    def __init__(self, host: str, port: int, *, username: str, secret: str, timeout_s: float = 5.0) -> None:
        """Connect and log in; AmiError when either is refused."""
        self._timeout_s = timeout_s
        self._action_ids = itertools.count(1)
        self._changed = threading.Condition()
        self._events: list[AmiMessage] = []
        self._responses: dict[str, AmiMessage] = {}
        self._closed_because: str | None = None
        try:
            self._socket = socket.create_connection((host, port), timeout=timeout_s)
        except OSError as error:
            raise AmiError(f"no AMI at {host}:{port}: {error}") from error
        self._socket.settimeout(None)
        self._reader = threading.Thread(target=self._read, name=f"ami-{port}", daemon=True)
        self._reader.start()
        try:
            self.action("Login", Username=username, Secret=secret)
        except AmiError:
            self.close()
            raise

    def __enter__(self) -> AmiClient:
        """Return the client itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connection."""
        self.close()

    def close(self) -> None:
        """Close the connection and wait for the reader thread; may be called twice."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            self._stop("closed")  # the far end was first
        self._reader.join(self._timeout_s)
        self._socket.close()

    def action(
        self, action: str, *fields: tuple[str, str], timeout_s: float | None = None, **headers: str
    ) -> AmiMessage:
        """Send an action and return its response; AmiError when it is not a success.

        `fields` are for header names that repeat or are no Python names.
        """
        action_id = str(next(self._action_ids))
        lines = [("Action", action), ("ActionID", action_id), *headers.items(), *fields]
        if any(set("\r\n") & set(name + value) for name, value in lines):
            raise AmiError(f"a line break in the headers of {action}")
        text = "".join(f"{name}: {value}\r\n" for name, value in lines) + "\r\n"
        try:
            self._socket.sendall(text.encode())
        except OSError as error:
            raise AmiError(f"cannot send {action}: {error}") from error
        limit_s = self._timeout_s if timeout_s is None else timeout_s
        with self._changed:
            self._changed.wait_for(lambda: action_id in self._responses or self._closed_because, limit_s)
            response = self._responses.pop(action_id, None)
        if response is None:
            raise AmiError(f"no answer to {action}: {self._closed_because or f'in {limit_s} s'}")
        if response["Response"] not in {"Success", "Goodbye"}:
            said = " ".join([response.get("Message"), *response.all("Output")])
            raise AmiError(f"{action} refused: {said}")
        return response

    def command(self, command: str) -> str:
        """Run a CLI command and return what it prints."""
        return "\n".join(self.action("Command", Command=command).all("Output"))

    def mark(self) -> int:
        """A place in the stream of events: what comes after it is `since` that mark."""
        with self._changed:
            return len(self._events)

    def events(self, since: int = 0) -> list[AmiMessage]:
        """The events received since the mark, oldest first."""
        with self._changed:
            return self._events[since:]

    def wait_for(
        self,
        predicate: Callable[[AmiMessage], bool],
        timeout_s: float = 5.0,
        *,
        since: int = 0,
        what: str = "the event",
    ) -> AmiMessage:
        """The first event since the mark for which the predicate holds, now or soon.

        AmiError says what was awaited and which events came instead.
        """
        deadline = time.monotonic() + timeout_s
        seen = since
        while True:
            fresh, closed = self._fresh(seen, deadline)
            for event in fresh:
                if predicate(event):
                    return event
            seen += len(fresh)
            if not fresh and (closed or time.monotonic() >= deadline):
                names = ", ".join(event.name for event in self.events(since)[-20:]) or "none"
                raise AmiError(f"{what}: {closed or f'not in {timeout_s} s'}; last events: {names}")

    def _fresh(self, seen: int, deadline: float) -> tuple[list[AmiMessage], str | None]:
        """What came after the first `seen` events, awaited until the deadline, and why it ended."""
        with self._changed:
            self._changed.wait_for(
                lambda: len(self._events) > seen or self._closed_because, deadline - time.monotonic()
            )
            return self._events[seen:], self._closed_because

    def _read(self) -> None:
        try:
            with self._socket.makefile("rb") as stream:
                stream.readline()  # the banner: Asterisk Call Manager/x.y.z
                lines: list[str] = []
                for raw in stream:
                    line = raw.decode(errors="replace").rstrip("\r\n")
                    if line:
                        lines.append(line)
                    elif lines:
                        self._take(AmiMessage.parse(lines))
                        lines = []
            self._stop("Asterisk closed the connection")
        except (OSError, ValueError) as error:
            self._stop(f"the connection broke: {error}")

    def _take(self, message: AmiMessage) -> None:
        with self._changed:
            if "Event" in message:  # OriginateResponse has a Response header as well
                self._events.append(message)
            else:
                self._responses[message.get("ActionID")] = message
            self._changed.notify_all()

    def _stop(self, reason: str) -> None:
        with self._changed:
            self._closed_because = self._closed_because or reason
            self._changed.notify_all()
