"""The files of a scrub: written beside their names, on disk, then named, the certificate last.

See ``draft_file`` for what becomes of drafts.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from agent.adapters.draft_file import DraftFile, draft_path, sync_folder
from agent.domain.errors import InputRejected
from agent.domain.journal_events import JsonValue
from agent.domain.scrub import FORMAT, ScrubbedFile

_HASH_BLOCK: Final = 1 << 20


class ScrubFiles:
    """See ``agent.scrub_ports.ScrubOutputs``."""

    def __init__(self, source: Path, clean: Path, removed: Path, certificate: Path, *, force: bool) -> None:
        """With ``force``, what is there already is replaced; the ``source`` never."""
        self._source = source
        self._targets = (clean, removed, certificate)
        self._force = force

    @contextlib.contextmanager
    def drafts(self) -> Iterator[_Drafts]:
        """See ``agent.scrub_ports.ScrubOutputs``."""
        self._check()
        with contextlib.ExitStack() as stack:
            clean, removed, certificate = (
                stack.enter_context(contextlib.closing(DraftFile(path))) for path in self._targets
            )
            yield _Drafts(clean, removed, certificate, force=self._force)

    def _check(self) -> None:
        names = [path.resolve() for path in self._targets]
        if len(set(names)) < len(names):
            raise InputRejected("the outputs need a name each")
        for path in self._targets:
            if not path.name.isprintable():
                raise InputRejected(f"{path.name!a}: give the file a name of printable characters")
            for written in (path, draft_path(path)):
                if written.exists() and self._source.exists() and written.samefile(self._source):
                    raise InputRejected(f"{written} is the call file itself, which is never changed")
            if path.is_dir() or (path.exists() and not self._force):
                raise InputRejected(f"{path} exists already: choose another name, or add --force to replace it")


class _Drafts:
    """See ``agent.scrub_ports.ScrubDrafts``."""

    def __init__(self, clean: DraftFile, removed: DraftFile, certificate: DraftFile, *, force: bool) -> None:
        self._clean = clean
        self._removed = removed
        self._certificate = certificate
        self._force = force

    def restart(self) -> None:
        """See ``agent.scrub_ports.ScrubDrafts``."""
        self._clean.restart()
        self._removed.restart()

    def write(self, clean: bytes, clean_rows: int, removed: bytes, removed_rows: int) -> None:
        """See ``agent.scrub_ports.ScrubDrafts``."""
        self._clean.write(clean, clean_rows)
        self._removed.write(removed, removed_rows)

    def sealed(self) -> tuple[ScrubbedFile, ScrubbedFile]:
        """See ``agent.scrub_ports.ScrubDrafts``."""
        return self._clean.sealed(), self._removed.sealed()

    def publish(self, certificate: Mapping[str, JsonValue]) -> None:
        """See ``agent.scrub_ports.ScrubDrafts``."""
        self._certificate.write((json.dumps(certificate, ensure_ascii=False, indent=2) + "\n").encode(), 0)
        self._certificate.sealed()
        named: list[DraftFile] = []
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
            sync_folder(folder)


def read_certificate(path: Path) -> dict[str, Any]:
    """A certificate that a scrub wrote. Raises ``InputRejected`` for anything else."""
    try:
        found = json.loads(path.read_bytes())
    except OSError as error:
        raise InputRejected(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise InputRejected(f"{path.name} is no certificate of a scrub") from error
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
