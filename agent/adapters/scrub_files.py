"""The files of a scrub: written beside their names, on disk, then named, the certificate last.

A draft is called ``.NAME.part`` and locked while it is written. Whoever is killed leaves it behind; the next scrub to
the same name takes it over. All files are mode 0600, for they hold numbers.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final

from agent.domain.errors import InputRejected
from agent.domain.journal_events import JsonValue
from agent.domain.scrub import FORMAT, ScrubbedFile

_HASH_BLOCK: Final = 1 << 20


class ScrubFiles:
    """See ``agent.scrubbing.ScrubOutputs``."""

    def __init__(self, source: Path, clean: Path, removed: Path, certificate: Path, *, force: bool) -> None:
        """With ``force``, what is there already is replaced; the ``source`` never."""
        self._source = source
        self._targets = (clean, removed, certificate)
        self._force = force

    @contextlib.contextmanager
    def drafts(self) -> Iterator[_Drafts]:
        """See ``agent.scrubbing.ScrubOutputs``."""
        self._check()
        with contextlib.ExitStack() as stack:
            clean, removed, certificate = (
                stack.enter_context(contextlib.closing(_Draft(path))) for path in self._targets
            )
            yield _Drafts(clean, removed, certificate, force=self._force)

    def _check(self) -> None:
        names = [path.resolve() for path in self._targets]
        if len(set(names)) < len(names):
            raise InputRejected("the outputs need a name each")
        for path in self._targets:
            if not path.name.isprintable():
                raise InputRejected(f"{path.name!a}: give the file a name of printable characters")
            if path.exists() and self._source.exists() and path.samefile(self._source):
                raise InputRejected(f"{path} is the call file itself, which is never changed")
            if path.is_dir() or (path.exists() and not self._force):
                raise InputRejected(f"{path} exists already: choose another name, or add --force to replace it")


class _Draft:
    """One file under its temporary name. Gone when it is closed, unless it was published."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self.folder = target.parent
        self._path = target.with_name(f".{target.name}.part")
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
                raise InputRejected(f"another scrub is writing {self._target}") from error
            own = os.fstat(descriptor)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(own, self._path.stat()):
                    if own.st_nlink == 1:
                        return file
                    self._path.unlink()  # its owner was killed once it had its name, too: that file stays as it is
            file.close()  # else its owner ended in between, and this is what he published


class _Drafts:
    """See ``agent.scrubbing.ScrubDrafts``."""

    def __init__(self, clean: _Draft, removed: _Draft, certificate: _Draft, *, force: bool) -> None:
        self._clean = clean
        self._removed = removed
        self._certificate = certificate
        self._force = force

    def restart(self) -> None:
        """See ``agent.scrubbing.ScrubDrafts``."""
        self._clean.restart()
        self._removed.restart()

    def write(self, clean: bytes, clean_rows: int, removed: bytes, removed_rows: int) -> None:
        """See ``agent.scrubbing.ScrubDrafts``."""
        self._clean.write(clean, clean_rows)
        self._removed.write(removed, removed_rows)

    def sealed(self) -> tuple[ScrubbedFile, ScrubbedFile]:
        """See ``agent.scrubbing.ScrubDrafts``."""
        return self._clean.sealed(), self._removed.sealed()

    def publish(self, certificate: Mapping[str, JsonValue]) -> None:
        """See ``agent.scrubbing.ScrubDrafts``."""
        self._certificate.write((json.dumps(certificate, ensure_ascii=False, indent=2) + "\n").encode(), 0)
        self._certificate.sealed()
        named: list[_Draft] = []
        try:
            for draft in (self._clean, self._removed, self._certificate):
                draft.publish(force=self._force)
                named.append(draft)
        except BaseException:
            if not self._force:
                for draft in named:
                    draft.withdraw()
            raise
        for folder in {draft.folder for draft in named}:
            _sync(folder)


def read_certificate(path: Path) -> dict[str, Any]:
    """A certificate that a scrub wrote. Raises ``InputRejected`` for anything else."""
    try:
        found = json.loads(path.read_bytes())
    except OSError as error:
        raise InputRejected(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise InputRejected(f"{path.name} is no certificate of a scrub: {error}") from error
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise InputRejected(f"{path.name} is no certificate of a scrub")
    return found


def sha256_of(path: Path) -> str:
    """The digest of a file. Raises ``InputRejected`` when it cannot be read."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(_HASH_BLOCK):
                digest.update(block)
    except OSError as error:
        raise InputRejected(f"{path} cannot be read: {error.strerror}") from error
    return digest.hexdigest()


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
