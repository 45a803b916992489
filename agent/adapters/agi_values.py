"""What an AGI session is made of: the request, a reply, the outcome of a prompt, and what can go wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from asterisk.agi import AGIException


class AgiError(AGIException):  # type: ignore[misc]  # pyst2 ships no types
    """Base of everything that goes wrong in an AGI session. Its text never holds a value or a number."""


class AgiHangup(AgiError):
    """Asterisk ended the session, or the channel is dead and takes no such command."""


class AgiChannelDead(AgiHangup):
    """Asterisk answered that the channel is dead; it did not run the command."""


class AgiTimeout(AgiError):
    """Asterisk did not send, or did not take, what was due in time."""


class AgiProtocolError(AgiError):
    """What came is not AGI, is too large, or is not the answer to what was sent."""


class AgiRefused(AgiProtocolError):
    """Asterisk answered that it does not know the command, or not in this form; it did not run it."""


class UnsafeAgiValue(AgiError):
    """A value holds a character that could change the command; nothing was sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgiRequest:
    """What Asterisk says of the call when it starts a session. The representation leaves out what may be a number."""

    script: str
    """The path behind ``agi://host/``, without a query; for a classic AGI script, the file as Asterisk names it."""
    arguments: tuple[str, ...] = field(repr=False)
    channel: str = field(repr=False)
    uniqueid: str
    language: str
    callerid: str = field(repr=False)
    context: str
    extension: str = field(repr=False)
    environment: Mapping[str, str] = field(repr=False)
    """Every line, name to value, exactly as sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgiReply:
    """One answer. ``code`` is 200, 510, 511 or 520; the other fields are those of a 200."""

    code: int
    result: str = ""
    data: str | None = None
    """What stands in parentheses: ``timeout``, or the value of a variable."""
    endpos_samples: int | None = None

    @property
    def minus_one(self) -> bool:
        """True for ``result=-1``: the command failed or the channel hung up during it."""
        return self.result == "-1"


class PlayResult(NamedTuple):
    """How far a prompt was played. ``endpos_samples / 8000`` is seconds for an 8 kHz file, also when ``failed``.

    It counts from the file's beginning, wherever the playing began.
    """

    digit: str | None
    endpos_samples: int
    failed: bool
    """No such file, or a hang-up during it."""
