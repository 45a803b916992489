"""The journal's key: 32 random bytes in a file of its own, hexadecimal, mode 0600.

Whoever has the journal but not this file cannot rewrite it unnoticed, so keep the two apart where that matters, and a
copy of the key in a safe: without it nothing can be appended and nothing proved.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from agent.domain import chain
from agent.domain.errors import JournalKeyMissing, JournalUnavailable


def write_new_key(path: Path) -> bytes:
    """Create the key unless it exists already (another process may be first); returns the key that is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(chain.KEY_BYTES) + "\n")
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()
    return read_key(path, path)


def read_key(path: Path, journal: Path) -> bytes:
    """The key of ``journal``. Raises ``JournalKeyMissing``, or ``JournalUnavailable`` when it is not a key."""
    try:
        text = path.read_text().strip()
    except FileNotFoundError as error:
        raise JournalKeyMissing(
            f"journal {journal} exists but its key {path} does not: put the key back (journal.key_file)"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise JournalUnavailable(f"journal key {path}: {error}") from error
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != chain.KEY_BYTES:
        raise JournalUnavailable(f"journal key {path} is not {chain.KEY_BYTES} bytes in hexadecimal")
    return key
