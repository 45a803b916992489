"""Files that are there whole or not at all: written beside their name, on disk, then named.

A draft is called ``.NAME.part`` and locked while it is written. Whoever is killed leaves it behind; the next command
that writes the same name takes it over. All are mode 0600, for they hold numbers.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from pathlib import Path
from typing import BinaryIO

from agent.domain.errors import InputRejected
from agent.domain.scrub import ScrubbedFile


def draft_path(target: Path) -> Path:
    """Where the draft of ``target`` is."""
    return target.with_name(f".{target.name}.part")


class DraftFile:
    """One file under its temporary name. Gone when it is closed, unless it was published."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self.folder = target.parent
        self._path = draft_path(target)
        self._named = False
        self._file = self._locked()
        self.restart()

    def restart(self) -> None:
        """Forget all that was written."""
        self._file.seek(0)
        self._file.truncate()
        self._digest = hashlib.sha256()
        self._rows = 0

    def write(self, content: bytes, rows: int) -> None:
        """Go on."""
        self._file.write(content)
        self._digest.update(content)
        self._rows += rows

    def sealed(self) -> ScrubbedFile:
        """Put it on disk."""
        self._file.flush()
        os.fsync(self._file.fileno())
        return ScrubbedFile(name=self._target.name, sha256=self._digest.hexdigest(), rows=self._rows)

    def publish(self, *, force: bool) -> None:
        """Give it its name."""
        if force:
            self._path.replace(self._target)
            self._named = True
            return
        try:
            os.link(self._path, self._target)
        except FileExistsError as error:
            raise InputRejected(f"{self._target} exists already: choose another name, or add --force") from error

    def withdraw(self) -> None:
        """Take its name away again."""
        self._target.unlink(missing_ok=True)

    def close(self) -> None:
        """End it."""
        if not self._named:  # and while it is locked: after that, the name may be that of somebody else's draft
            self._path.unlink(missing_ok=True)
        self._file.close()

    def _locked(self) -> BinaryIO:
        """The draft, new or left behind by somebody who was killed, locked by this process."""
        while True:
            try:
                descriptor = os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            except OSError as error:
                raise InputRejected(f"{self._target} cannot be written: {error.strerror}") from error
            file = os.fdopen(descriptor, "wb")
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                file.close()
                raise InputRejected(f"another command is writing {self._target}") from error
            own = os.fstat(descriptor)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(own, self._path.stat()):
                    if own.st_nlink == 1:
                        return file
                    self._path.unlink()  # its owner was killed once it had its name, too: that file stays as it is
            file.close()  # else its owner ended in between, and this is what he published


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
