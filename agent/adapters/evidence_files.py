"""Documents of evidence as files: JSON, or a page with the JSON in it. There whole or not at all, mode 0600."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from agent.adapters.draft_file import DraftFile, sync_folder
from agent.adapters.evidence_page import render
from agent.domain.errors import InputRejected

_PAGES: Final = frozenset({".html", ".htm"})
_LARGEST: Final = 256 * 1024 * 1024


class EvidenceDraft:
    """See ``agent.evidence.EvidenceFile``."""

    def __init__(self, draft: DraftFile, target: Path, *, force: bool) -> None:
        self._draft = draft
        self._target = target
        self._force = force

    @property
    def name(self) -> str:
        """Without its folder."""
        return self._target.name

    def page(self, content: Mapping[str, Any]) -> bytes | None:
        """A page for a name that ends in .html."""
        return render(content) if self._target.suffix.lower() in _PAGES else None

    def write(self, document: bytes) -> None:
        """Have it all on disk."""
        self._draft.write(document, 1)
        self._draft.sealed()

    def publish(self) -> None:
        """Give it its name, and make that durable."""
        self._draft.publish(force=self._force)
        sync_folder(self._draft.folder)


@contextlib.contextmanager
def evidence_draft(target: Path, *, force: bool) -> Iterator[EvidenceDraft]:
    """A document on its way to ``target``. Raises ``InputRejected`` when that is there, unless ``force``."""
    if target.suffix.lower() not in _PAGES | {".json"}:
        raise InputRejected(f"{target} is not a name for a document: let it end in .html or .json")
    if not force and target.exists():
        raise InputRejected(f"{target} exists already: choose another name, or add --force")
    with contextlib.closing(DraftFile(target)) as draft:
        yield EvidenceDraft(draft, target, force=force)


def read_document(path: Path) -> bytes:
    """The bytes of a document. Raises ``InputRejected``."""
    try:
        if path.stat().st_size > _LARGEST:
            raise InputRejected(f"{path} is too large to be a document that bmn evidence made")
        return path.read_bytes()
    except OSError as error:
        raise InputRejected(f"{path} cannot be read: {error.strerror}") from error
