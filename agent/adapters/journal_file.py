"""The journal as a file: how it is made, opened and brought up to date, and how one tells that its tables were changed.

The tables themselves are in ``agent.adapters.journal_schema``.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import itertools
import os
import secrets
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

from agent.adapters.journal_key import publish_key, read_key, require_own_key, write_new_key
from agent.adapters.journal_schema import SCHEMA_VERSION, VERSIONS
from agent.domain import chain
from agent.domain.errors import JournalOutdated, JournalUnavailable
from agent.domain.ports import Progress

BUSY_MS: Final = 2_000
"""How long one transaction waits for those of other processes, each a few milliseconds."""

_AT_ONCE: Final = 50_000
"""A journal of no more records is brought up to date in a moment, also while others append to it."""


def connect(path: Path, mode: Literal["rw", "ro"] = "rw") -> sqlite3.Connection:
    """A connection to the journal that is there already; on read-only media it reads."""
    readable = "immutable=1" if _is_on_read_only_media(path) else f"mode={mode}"
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?{readable}", uri=True, isolation_level=None, check_same_thread=False
    )
    connection.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
    # FULL makes SQLite sync the write-ahead log at every commit; NORMAL would lose the last ones in a power cut.
    connection.execute("PRAGMA synchronous = FULL")
    # What is purged is overwritten, in tables and indexes, also where pages were parted before.
    connection.execute("PRAGMA secure_delete = ON")
    return connection


def hold(path: Path) -> sqlite3.Connection:
    """A connection that keeps SQLite's side files where they are, for as long as it is open."""
    connection = connect(path)
    if not _is_on_read_only_media(path):
        # A copy made with a tool of SQLite's may be in another mode, in which readers keep writers waiting.
        connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("SELECT seq FROM state").fetchone()
    return connection


def _is_on_read_only_media(path: Path) -> bool:
    """Whether SQLite's side files cannot be made. Where there are some, they hold records, and are needed."""
    return not os.access(path.parent, os.W_OK) and not path.with_name(path.name + "-wal").exists()


def open_journal(path: Path, key_path: Path, *, create: bool, progress: Progress | None) -> bytes:
    """Make sure that the journal and its key exist, belong together and have our tables; returns the key.

    With ``create``, makes both when there is neither. A journal of an older version is brought up to date, with
    ``progress``; without any, that is an error. Raises ``JournalUnavailable``.
    """
    try:
        if not path.exists():
            if not create:
                raise JournalUnavailable(f"there is no journal at {path}")
            _create(path, key_path)
        elif create and not key_path.exists():
            _finish(path, key_path)
        key = read_key(key_path, path)
        if progress is not None:
            _bring_up_to_date(path, key, progress)
        with translated(path), contextlib.closing(connect(path)) as connection:
            require_known_version(connection, path)
            changed = changed_definition(connection)
            state = connection.execute("SELECT journal, key_check, seq, link, seal FROM state").fetchone()
    except OSError as error:
        raise JournalUnavailable(f"journal {path}: {error.strerror or error}") from error
    if changed:
        raise JournalUnavailable(f"journal {path} was tampered with: its {changed} is not ours (bmn journal verify)")
    if state is None:
        raise JournalUnavailable(f"journal {path} was tampered with: its state is gone (bmn journal verify)")
    journal_id, key_check, seq, link, seal = state
    require_own_key(key, journal_id, key_check, path)
    if not secrets.compare_digest(chain.head(key, seq, link), seal):
        raise JournalUnavailable(f"journal {path} was tampered with: its end is not sealed (bmn journal verify)")
    return key


def require_known_version(connection: sqlite3.Connection, path: Path) -> None:
    """Raise ``JournalUnavailable`` for a journal of another version of this software."""
    version = _version(connection)
    if version < SCHEMA_VERSION:
        raise JournalOutdated(
            f"journal {path} is of an older version of this software: bmn log brings it up to date, once"
        )
    if version > SCHEMA_VERSION:
        raise JournalUnavailable(f"journal {path} is of a newer version of this software: use that one")


def _version(connection: sqlite3.Connection) -> int:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version


def _bring_up_to_date(path: Path, key: bytes, progress: Progress) -> None:
    """Give a journal of an older version our tables: all of it, or nothing.

    While that goes on nobody can append, so a long one is begun only when no other process has the journal open.
    """
    with translated(path), contextlib.closing(connect(path)) as connection:
        if not 0 < _version(connection) < SCHEMA_VERSION:
            return
        owner = connection.execute("SELECT journal, key_check, seq FROM state").fetchone()
        if owner is not None:  # else it was tampered with, which is found when it is opened
            require_own_key(key, owner[0], owner[1], path)
        short = owner is None or owner[2] <= _AT_ONCE
    with translated(path), contextlib.closing(connect(path)) as connection:
        if not short:
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("PRAGMA temp_store = MEMORY")
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if short or error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                raise
            raise JournalUnavailable(
                f"journal {path} is of an older version, and bringing it up to date takes a while in which no call can "
                "be recorded: stop whatever has it open (the service), then start this version"
            ) from error
        version = _version(connection)  # read again: another process may have been first
        if changed := _definitions(connection) ^ definitions_of(version):
            kind, name = min(changed)[:2]
            raise JournalUnavailable(f"journal {path} was tampered with: its {kind} {name!r} is not ours")
        steps = [statement for added in VERSIONS[version:] for statement in added]
        for done, statement in enumerate(steps):
            progress("updating the journal", done, len(steps))
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.execute("COMMIT")
        progress("updating the journal", len(steps), len(steps))


def changed_definition(connection: sqlite3.Connection) -> str:
    """A table, index or trigger that is not as we made it, and so may lie about the records; empty when all are."""
    changed = _definitions(connection) ^ definitions_of(SCHEMA_VERSION)
    return min((f"{kind} {name!r}" for kind, name, _, _ in changed), default="")


@functools.cache
def definitions_of(version: int) -> frozenset[tuple[str, str, str, str]]:
    """What SQLite says of the tables, indexes and triggers of a version."""
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        for statement in itertools.chain(*VERSIONS[:version]):
            connection.execute(statement)
        return _definitions(connection)


def _definitions(connection: sqlite3.Connection) -> frozenset[tuple[str, str, str, str]]:
    return frozenset(connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema"))


def _create(path: Path, key_path: Path) -> None:
    """Create the journal and its key. What a power cut leaves of it, the next start begins anew or finishes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked_folder(path) as folder:
        if path.exists():
            return
        if key_path.exists():
            raise JournalUnavailable(
                f"journal {path} is gone, but its key {key_path} is there: restore the journal, for it holds the "
                "opt-outs and the evidence; to begin a new one, move the key away"
            )
        _create_both(path, write_new_key(key_path))
        os.fsync(folder)
        publish_key(key_path)


def _finish(path: Path, key_path: Path) -> None:
    """Do what is left of a creation: the journal is there, and its key not yet in its place."""
    with _locked_folder(path):
        publish_key(key_path)


@contextlib.contextmanager
def _locked_folder(path: Path) -> Iterator[int]:
    """Have the folder of ``path`` to oneself: processes that start at once create one journal."""
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield folder
    finally:
        os.close(folder)


def _create_both(path: Path, key: bytes) -> None:
    """Make the journal beside its final name and link it in, so that it is never there half-made."""
    journal_id = secrets.token_hex(8)
    draft = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}")
    os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    try:
        with translated(path), contextlib.closing(connect(draft)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            for statement in itertools.chain(*VERSIONS):
                connection.execute(statement)
            link = chain.first_link(key, journal_id)
            connection.execute(
                "INSERT INTO state (one, journal, key_check, seq, link, seal, protective) VALUES (1, ?, ?, 0, ?, ?, 0)",
                (journal_id, chain.key_check(key, journal_id), link, chain.head(key, 0, link)),
            )
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        os.link(draft, path)
    finally:
        for suffix in ("", "-wal", "-shm"):
            Path(f"{draft}{suffix}").unlink(missing_ok=True)


@contextlib.contextmanager
def translated(path: Path) -> Iterator[None]:
    """SQLite's errors, in the words of the domain."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise JournalUnavailable(f"journal {path}: {error}") from error
