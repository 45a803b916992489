"""The hash chain of the journal, as pure functions.

``digest`` covers a record's body with a random salt, so that a body (and its salt) can be purged later without anyone
being able to guess the telephone number back from the digest. ``link`` is an HMAC over the previous link and all of the
record but its body: someone who has the file but not the key can neither alter, insert, remove nor reorder records.
``purge_mark`` takes the place of the salt of a body that was purged: only who has the key can say so.
``head`` seals how far the chain goes, so that cutting records off its end is found as well. An older copy of the whole
file has an older seal, which was right in its day: only an ``Anchor`` that was kept elsewhere tells.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import Final, Self

SALT_BYTES: Final = 16
KEY_BYTES: Final = 32
_ANCHOR_DIGITS: Final = 16


def digest(salt: bytes, body: bytes) -> bytes:
    """SHA-256 of the salt (``SALT_BYTES`` of it) and the body, JSON text in UTF-8."""
    return hashlib.sha256(salt + body).digest()


def first_link(key: bytes, journal_id: str) -> bytes:
    """What the first record links to: it ties the chain to this journal."""
    return hmac.digest(key, b"journal\0" + journal_id.encode(), "sha256")


def key_check(key: bytes, journal_id: str) -> bytes:
    """Tells whether a key is the one of a journal, so that a wrong key is not taken for tampering."""
    return hmac.digest(key, b"key\0" + journal_id.encode(), "sha256")


def link(key: bytes, previous: bytes, seq: int, at_us: int, event_type: str, body_digest: bytes) -> bytes:
    """The link of a record: ``at_us`` is microseconds since 1970 UTC."""
    message = b"%b%d\0%d\0%b\0%b" % (previous, seq, at_us, event_type.encode(), body_digest)
    return hmac.digest(key, message, "sha256")


def purge_mark(key: bytes, seq: int, own_link: bytes) -> bytes:
    """What says that the body of a record was purged by us; ``own_link`` is the record's."""
    return hmac.digest(key, b"purged\0%d\0%b" % (seq, own_link), "sha256")


def head(key: bytes, seq: int, last_link: bytes) -> bytes:
    """The seal on the end of the chain."""
    return hmac.digest(key, b"head\0%d\0%b" % (seq, last_link), "sha256")


@dataclass(frozen=True, slots=True)
class Anchor:
    """How far a chain went at some time, short enough to be logged or written down: ``1234:0f8c27d1a3b4e596``."""

    seq: int
    """The last record then; 0 when there was none."""
    link: str
    """The first 16 hexadecimal digits of its link."""

    @classmethod
    def at(cls, seq: int, link: bytes) -> Self:
        """The anchor at the record ``seq`` with ``link``."""
        return cls(seq, link.hex()[:_ANCHOR_DIGITS])

    @classmethod
    def parse(cls, text: str) -> Self:
        """The anchor that ``str()`` made ``text`` of. Raises ``ValueError``."""
        match = re.fullmatch(rf"([0-9]{{1,18}}):([0-9a-f]{{{_ANCHOR_DIGITS}}})", text)
        if match is None:
            raise ValueError("not an anchor")
        return cls(int(match[1]), match[2])

    def __str__(self) -> str:
        return f"{self.seq}:{self.link}"
