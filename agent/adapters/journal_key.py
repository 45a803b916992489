"""The journal's key: 32 random bytes in a file of its own, hexadecimal, mode 0600.

Whoever has the journal but not this file cannot rewrite it unnoticed, so keep the two apart where that matters, and a
copy of the key in a safe: without it nothing can be appended and nothing proved.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from agent.domain import chain
from agent.domain.errors import JournalKeyMissing, JournalUnavailable


def write_new_key(path: Path) -> bytes:
    """Create a key where there is none, and have it on disk; returns it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_hex(chain.KEY_BYTES) + "\n")
        file.flush()
        os.fsync(file.fileno())
    return read_key(path, path)


def require_own_key(key: bytes, journal_id: str, key_check: bytes, journal: Path) -> None:
    """Raise ``JournalUnavailable`` when ``key`` is that of another journal."""
    if not secrets.compare_digest(chain.key_check(key, journal_id), key_check):
        raise JournalUnavailable(
            f"the key does not belong to journal {journal}: put the right one back (journal.key_file)"
        )


def read_key(path: Path, journal: Path) -> bytes:
    """The key of ``journal``. Raises ``JournalKeyMissing``, or ``JournalUnavailable`` when it is not a key."""
    try:
        text = path.read_text().strip()
    except FileNotFoundError as error:
        raise JournalKeyMissing(
            f"journal {journal} exists but its key {path} does not: put the key back (journal.key_file)"
        ) from error
    except OSError as error:
        raise JournalUnavailable(f"journal key {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        text = ""
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != chain.KEY_BYTES:
        raise JournalUnavailable(f"journal key {path} is not {chain.KEY_BYTES} bytes in hexadecimal")
    return key
