"""Whether the journal that is open is still the one at its path.

A file that was replaced or removed goes on to take records for whoever has it open, and nobody else will ever see them:
the numbers of its files (device and inode) show that. A file that was overwritten in place, as ``cp`` does, keeps them:
then it became shorter, which a journal never does by itself, or its end went back or leads elsewhere
(``JournalProgress``). An older copy of the very same length is found by ``bmn journal verify`` only. VACUUM makes a
journal shorter as well, and nothing tells the two apart: a service that has it open starts again then.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Final

from agent.domain.errors import JournalReplaced, JournalUnavailable

_SIDE_FILES: Final = ("-wal", "-shm")


class JournalFiles:
    """The files of a journal that a connection of this process keeps open. Thread-safe."""

    def __init__(self, path: Path) -> None:
        """Look at them now: SQLite keeps its side files for as long as that connection is open."""
        self._path = path
        names = [str(path), *(f"{path}{suffix}" for suffix in _SIDE_FILES)]
        self._known = tuple((name, *_identity(name)) for name in names if Path(name).exists())
        self._size = path.stat().st_size

    def require_in_place(self) -> None:
        """Raise ``JournalReplaced`` when one of them is not there any more, or another one is in its place."""
        known_size = self._size  # before the look: what another thread has seen since may be longer
        for name, device, inode in self._known:
            try:
                found = os.stat(name)  # noqa: PTH116  # on the way of each call: without making a Path
            except FileNotFoundError:
                raise self._gone(f"{name} was removed") from None
            except OSError as error:
                raise JournalUnavailable(f"journal {self._path}: {name} cannot be looked at: {error}") from error
            if found.st_ino != inode or found.st_dev != device:
                raise self._gone(f"{name} was replaced")
            if name is self._known[0][0] and found.st_size != known_size:
                if found.st_size < known_size:
                    raise self._gone("it became shorter")
                self._size = found.st_size

    def vacuumed(self) -> None:
        """This process has just made the file shorter itself."""
        self._size = self._path.stat().st_size

    def _gone(self, why: str) -> JournalReplaced:
        return JournalReplaced(
            f"the journal at {self._path} is not the one that this process has open: {why}; "
            "nothing more is recorded until it is started again"
        )


class JournalProgress:
    """How far this process knows the chain to go, so that a journal that was set back in place is found out.

    For one writer; ``seq`` may be read from any thread.
    """

    def __init__(self, path: Path, seq: int, link: bytes) -> None:
        self._path = path
        self.seq = seq
        self._link = link

    def require_beyond(self, seq: int) -> None:
        """Raise ``JournalReplaced`` unless a journal that ends at ``seq`` may be the same one."""
        if seq < self.seq:
            raise self._set_back(f"it ends at record {seq}, and this process knows of {self.seq}")

    def require_same(self, connection: sqlite3.Connection, seq: int, link: bytes) -> None:
        """Raise ``JournalReplaced`` unless the chain that ends at ``seq`` with ``link`` goes on from where it was."""
        self.require_beyond(seq)
        if seq != self.seq and self.seq:
            row = connection.execute("SELECT link FROM records WHERE seq = ?", (self.seq,)).fetchone()
            link = row[0] if row is not None else b""
        if self.seq and link != self._link:
            raise self._set_back(f"its record {self.seq} is another one than this process knows")

    def moved(self, seq: int, link: bytes) -> None:
        """The chain goes as far as ``seq`` now."""
        self.seq, self._link = seq, link

    def _set_back(self, why: str) -> JournalReplaced:
        return JournalReplaced(
            f"the journal at {self._path} was overwritten while this process has it open ({why}); "
            "nothing more is recorded until it is started again"
        )


def _identity(name: str) -> tuple[int, int]:
    found = Path(name).stat()
    return found.st_dev, found.st_ino
