"""Reading commands as bytes, each with the only form that its reply may have.

A reply becomes a decision, so absence is never read as "no": of a membership exactly the integers 0 and 1 are
answers. Whatever else comes (nothing, an empty list, text, a truth value of RESP3) is no answer at all, and a
connection on which it came is not used again, for its replies may belong to other questions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from agent.domain.errors import LookupUnavailable

Command = Sequence[str | int]
Check = Callable[[Any], bool]
"""Whether a reply is of the form that it must have."""

NO_ANSWER: Final = "Redis answered something that is no answer to what was asked"


@dataclass(frozen=True, slots=True)
class Reading:
    """Commands that change nothing, as Redis wants them, and the form of each reply."""

    packed: bytes
    checks: tuple[Check, ...]

    def checked(self, replies: Sequence[Any]) -> None:
        """Raise ``LookupUnavailable`` unless there are as many replies as commands, each of its form."""
        if len(replies) != len(self.checks) or not all(
            check(reply) for check, reply in zip(self.checks, replies, strict=True)
        ):
            raise LookupUnavailable(NO_ANSWER)

    def __add__(self, other: Reading) -> Reading:
        return Reading(self.packed + other.packed, self.checks + other.checks)


def reading(commands: Sequence[Command]) -> Reading:
    """Pack ``commands``. Raises ``KeyError`` for one whose reply has no known form: it may not be asked."""
    return Reading(b"".join(map(pack, commands)), tuple(_check_of(command) for command in commands))


def pack(command: Command) -> bytes:
    """One command as Redis wants it."""
    words = [str(word).encode() for word in command]
    return b"*%d\r\n%b" % (len(words), b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words))


def which_of(key: str, members: Iterable[int]) -> Command:
    """Ask which of ``members`` a set has."""
    return ["SMISMEMBER", key, *members]


def is_flag(reply: Any) -> bool:
    """Exactly 0 or 1; ``True`` is neither."""
    return reply.__class__ is int and 0 <= reply <= 1


def is_size(reply: Any) -> bool:
    """A number of things."""
    return reply.__class__ is int and reply >= 0


def is_text(reply: Any) -> bool:
    """Text, empty or not."""
    return reply.__class__ is str


def is_text_or_nothing(reply: Any) -> bool:
    """The value of a key or field that need not exist."""
    return reply is None or reply.__class__ is str


def are_flags(reply: Any, count: int) -> bool:
    """So many of 0 and 1."""
    return reply.__class__ is list and len(reply) == count and all(map(is_flag, reply))


def _are_texts_or_nothing(reply: Any, count: int) -> bool:
    return reply.__class__ is list and len(reply) == count and all(map(is_text_or_nothing, reply))


def _are_texts(reply: Any) -> bool:
    return reply.__class__ is list and all(map(is_text, reply))


def _is_page(reply: Any) -> bool:
    return (
        reply.__class__ is list
        and len(reply) == 2
        and is_text(reply[0])
        and _are_texts(reply[1])
        and len(reply[1]) % 2 == 0
    )


def _is_time_to_live(reply: Any) -> bool:
    return reply.__class__ is int and reply >= -2


def _is_setting(reply: Any) -> bool:
    return _are_texts(reply) and len(reply) == 2  # RESP2: name and value


_FORMS: Final[dict[str, Check]] = {
    "CONFIG": _is_setting,
    "GET": is_text_or_nothing,
    "HGET": is_text_or_nothing,
    "HLEN": is_size,
    "HSCAN": _is_page,
    "HVALS": _are_texts,
    "INFO": is_text,
    "PTTL": _is_time_to_live,
    "SCARD": is_size,
    "SISMEMBER": is_flag,
    "TIME": _are_texts,
}


def _check_of(command: Command) -> Check:
    verb = str(command[0])
    return _FORMS.get(verb) or _check_of_many(verb, len(command) - 2)


@cache
def _check_of_many(verb: str, count: int) -> Check:
    check = {"HMGET": _are_texts_or_nothing, "SMISMEMBER": are_flags}[verb]
    return lambda reply: check(reply, count)
