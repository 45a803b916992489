"""What scrubbing needs of the world: the lists for many numbers at once, a call file, and where its parts go."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from agent.domain.journal_events import JsonValue, Record
from agent.domain.model import Campaign, Facts, Generation
from agent.domain.phone_number import Dialled
from agent.domain.ports import Journal, Progress
from agent.domain.scrub import ScrubbedFile

Codes = NDArray[np.uint16]
Numbers = NDArray[np.uint64]


class ScrubJournal(Journal, Protocol):
    """The journal, which here is also read back."""

    def record(self, seq: int) -> Record | None:
        """Record ``seq``; None when there is none. Raises ``JournalUnavailable``."""


class BulkRun(Protocol):
    """The lists for one scrub, all of it with one load of the register."""

    @property
    def generation(self) -> Generation | None:
        """The load in force when the run began."""

    def codes(self, numbers: Numbers, applied: int) -> Codes:
        """What the lists say of each number, as a code below 4,096 that stands for facts.

        ``applied`` is the journal record up to which changes must be in the lists. Raises ``ListsBehind``,
        ``RegisterReplaced`` when another load was put in force, and as ``agent.domain.ports.Lists``.
        """

    def facts(self, code: int) -> Facts:
        """The facts that a code stands for."""


class BulkLists(Protocol):
    """The lists, asked for many numbers at once."""

    def begin(self, campaign: Campaign) -> BulkRun:
        """Begin a run. Raises ``LookupUnavailable``."""


class CallRows(Protocol):
    """Some rows of a call file."""

    @property
    def numbers(self) -> Numbers:
        """The number of each row; 0 where it has none that is usable."""

    @property
    def unusable(self) -> Mapping[int, Dialled]:
        """By its place, what stands in a row that has no usable number."""

    def kept(self, keep: NDArray[np.bool_]) -> bytes:
        """The rows to keep, as they came."""

    def removed(self, places: Sequence[int], reasons: Sequence[str]) -> bytes:
        """The rows at ``places``, each with its reason."""


class CallFile(Protocol):
    """A call file, whatever its layout."""

    def rows(self, progress: Progress) -> Iterator[CallRows]:
        """All rows from the first on, some at a time. Raises ``InputRejected``."""

    def described(self) -> ScrubbedFile:
        """Name, digest and rows of what ``rows`` has read to its end."""


class ScrubDrafts(Protocol):
    """The outputs of a scrub under temporary names."""

    def restart(self) -> None:
        """Forget all that was written."""

    def write(self, clean: bytes, clean_rows: int, removed: bytes, removed_rows: int) -> None:
        """Go on with both files."""

    def sealed(self) -> tuple[ScrubbedFile, ScrubbedFile]:
        """Put both on disk, and describe the clean and the removed file."""

    def publish(self, certificate: Mapping[str, JsonValue]) -> None:
        """Give all files their names, the certificate last."""


class ScrubOutputs(Protocol):
    """Where a scrub writes."""

    def drafts(self) -> AbstractContextManager[ScrubDrafts]:
        """Gone again when they are not published. Raises ``InputRejected`` when a name is taken."""
