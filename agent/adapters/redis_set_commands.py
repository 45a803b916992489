"""Numbers as commands that change our sets, made in bulk and sent so that screening is not held up.

Redis answers one client at a time: a command of ten thousand members, or a hundred that are read at once, would keep
every screening waiting. So commands are small, and only a little is under way at any time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, Self

import polars

from agent.adapters import redis_keys
from agent.domain.model import Blocked
from agent.domain.phone_number import SUFFIX_DIGITS
from agent.domain.ports import Numbers

_SPAN: Final = 10**SUFFIX_DIGITS
_ENCODED: Final = [b"$%d\r\n%d\r\n" % (len(str(suffix)), suffix) for suffix in range(_SPAN)]
"""Each member as Redis reads it."""

_COMMAND_MEMBERS: Final = 200
_WINDOW_COMMANDS: Final = 1
"""Measured (tests/bench/import_register.py): eight make a load a quarter faster, and the slowest lookups ten times."""
_SLICE: Final = 1_000_000

Chunk = tuple[bytes, int]
"""One command, and how many members it has."""


def set_commands(verb: str, generation: str, lists: Mapping[Blocked, Numbers]) -> Iterator[Chunk]:
    """``SADD``, ``SREM`` or ``SMISMEMBER`` commands for sorted distinct numbers."""
    for blocked, numbers in lists.items():
        column = polars.Series("number", numbers, dtype=polars.UInt64)
        for start in range(0, len(column), _SLICE):
            yield from _slice_commands(verb, generation, blocked, column[start : start + _SLICE])


def _slice_commands(verb: str, generation: str, blocked: Blocked, column: polars.Series) -> Iterator[Chunk]:
    prefixes = (column // _SPAN).rle().struct.unnest()
    encoded = [_ENCODED[suffix] for suffix in (column % _SPAN).to_list()]
    start = 0
    for length, prefix in prefixes.iter_rows():
        key = redis_keys.register_set(str(prefix), generation, blocked).encode()
        head = b"$%d\r\n%b\r\n$%d\r\n%b\r\n" % (len(verb), verb.encode(), len(key), key)
        for begin in range(start, start + length, _COMMAND_MEMBERS):
            members = encoded[begin : min(begin + _COMMAND_MEMBERS, start + length)]
            yield b"*%d\r\n%b%b" % (len(members) + 2, head, b"".join(members)), len(members)
        start += length


def set_sizes_of(generation: str, lists: Mapping[Blocked, Numbers]) -> dict[str, int]:
    """How many of sorted distinct numbers each set of a generation is to have, by its key."""
    sizes = {}
    for blocked, numbers in lists.items():
        column = polars.Series("number", numbers, dtype=polars.UInt64)
        for length, prefix in (column // _SPAN).rle().struct.unnest().iter_rows():
            sizes[redis_keys.register_set(str(prefix), generation, blocked)] = length
    return sizes


def copy_command(key: str, copy: str) -> Chunk:
    """``COPY`` of a whole set."""
    source, target = key.encode(), copy.encode()
    return b"*3\r\n$4\r\nCOPY\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % (len(source), source, len(target), target), 1


class PipelinedWriter:
    """Sends commands ahead of their answers, a few at a time. A context manager; not used again after an error."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._connection: Any = None
        self._waiting = 0
        self.sent = 0
        """Members sent so far."""

    def __enter__(self) -> Self:
        self._connection = self._client.connection_pool.get_connection()
        return self

    def __exit__(self, *_: object) -> None:
        if self._waiting:  # answers that nobody will read
            self._connection.disconnect()
        self._client.connection_pool.release(self._connection)

    def send(self, chunk: Chunk) -> list[Any]:
        """Send a command; returns the answers that came in meanwhile, in order."""
        command, members = chunk
        self._connection.send_packed_command([command], check_health=False)
        self.sent += members
        self._waiting += 1
        return self._read(1) if self._waiting > _WINDOW_COMMANDS else []

    def finish(self) -> list[Any]:
        """Wait for all answers that are missing."""
        return self._read(self._waiting)

    def _read(self, count: int) -> list[Any]:
        answers = []
        for _ in range(count):
            answers.append(self._connection.read_response())
            self._waiting -= 1
        return answers
