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
    """Have a new key on disk beside ``path``, where it does not count until ``publish_key``; returns it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = _draft(path)
    draft.unlink(missing_ok=True)  # of a start that was cut off before there was a journal
    descriptor = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_hex(chain.KEY_BYTES) + "\n")
        file.flush()
        os.fsync(file.fileno())
    _sync_folder(path)
    return read_key(draft, path)


def publish_key(path: Path) -> None:
    """Put the key that ``write_new_key`` made in its place, where there is none; nothing happens when none was made."""
    if _draft(path).exists() and not path.exists():
        _draft(path).rename(path)
        _sync_folder(path)


def exposed_key(path: Path) -> str:
    """What is wrong with the rights on the key, in words; empty when only its owner can read it."""
    try:
        exposed = path.stat().st_mode & 0o077
    except OSError:
        return ""
    return f"others can read the journal's key {path}, and so forge the journal: chmod 600 {path}" if exposed else ""


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


def _draft(path: Path) -> Path:
    return path.with_name(path.name + ".new")


def _sync_folder(path: Path) -> None:
    """Have the names in the folder of ``path`` on disk, for a file whose name is lost is lost."""
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
