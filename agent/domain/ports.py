"""What the use cases need of the world. Adapters implement these; their errors are in ``agent.domain.errors``."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, Protocol

from agent.domain.deadline import Deadline
from agent.domain.journal_events import Event, Mark, Record
from agent.domain.model import Blocked, Campaign, Facts, Generation
from agent.domain.phone_number import PhoneNumber
from agent.domain.premise import Premise
from agent.domain.profile import Profile
from agent.domain.standing import Standing


class Lists(Protocol):
    """The lists that answer the dial path."""

    def facts(self, number: PhoneNumber, campaign: Campaign, journal: JournalState, deadline: Deadline) -> Facts:
        """What the lists say of ``number`` for ``campaign``, in one round trip.

        Whatever ``journal`` holds that may turn an allow into a block must be in the lists. Raises ``ListsBehind`` when
        it is not, or they stand at a record that the journal does not know; ``ListsForeign`` when they are those of
        another journal; ``LookupTimedOut`` or ``LookupUnavailable`` when there is no answer.
        """


class ListChanges(Protocol):
    """The side of the lists that the outbox writes to."""

    def applied(self, deadline: Deadline | None = None) -> Mark | None:
        """The last journal record that has been applied; None for lists that know of no journal.

        Raises ``ListsForeign`` when they are those of another journal.
        """

    def require_no_eviction(self) -> None:
        """Raise ``ListsEvicted`` when the lists may lose numbers. Then nothing that they hold is believed any more."""

    def settle_losses(self) -> None:
        """Look into what lookups found missing. Lists that lost something have no mark then, or no register in force.

        Raises ``LookupUnavailable``.
        """

    def apply(self, records: Sequence[Record], after: Mark, upto: Mark, standings: Mapping[str, Standing]) -> bool:
        """Apply ``records`` in order and move ``applied`` to ``upto``, the last of them: all or nothing.

        ``standings`` says how numbers (E.164) stand after them, where that does not follow from these records alone.

        Returns False when ``applied`` is no longer ``after``: someone else was first. When the lists were found to have
        lost something, they have no mark any more. Nothing else is changed then.
        """

    def inherited(self) -> int:
        """Up to which record the journal takes nothing away: its end when they were found to know more; else 0."""

    def restart(self, after: Mark | None, head: Mark) -> None:
        """Move ``applied`` to the beginning of the journal, which ends at ``head``, unless it is no longer ``after``.

        What the lists hold stays, for it protects; but customers go, for an exemption needs its record. Lists without
        any mark have lost keys: then no register stays in force either until its record was applied again.
        """

    def reset(self, head: Mark, *, take_over: bool) -> None:
        """As ``restart`` without a mark, whatever theirs is. Raises ``ListsForeign``, unless ``take_over``."""


class Generations(Protocol):
    """The loads of the register that Redis holds."""

    def current(self, profile: str, deadline: Deadline | None = None) -> Generation | None:
        """The generation in force."""

    def kept(self, profile: str, deadline: Deadline | None = None) -> tuple[Generation, ...]:
        """Every complete generation, oldest load first."""

    def is_whole(self, profile: str, generation: str) -> bool:
        """Whether every entry of a complete generation is still there."""

    def memory(self, generation: str) -> int | None:
        """Bytes that a generation takes; None where the server will not say."""

    def free(self, profile: str, retired: Collection[str]) -> None:
        """Remove the sets of retired generations; those that are forgotten go with the next load."""

    def changing(self, profile: str) -> AbstractContextManager[GenerationChanges]:
        """The right to change the loads of ``profile``, for one process at a time.

        Raises ``ImportUnderWay`` when another one has it.
        """

    def repairing(self, profile: str) -> AbstractContextManager[Callable[[], None]]:
        """The right to load a lost register again, for one process at a time; what it yields must be called every half
        minute, and raises ``LookupUnavailable`` when the right was lost. Raises as ``changing``.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Derived:
    """What became of a list of changes."""

    generation: Generation
    """With its count of distinct numbers."""
    counts: Mapping[Blocked, int]
    """How many numbers each of its lists has."""
    absent: int
    """Numbers that were to be taken out, and were on no list."""


class GenerationChanges(Protocol):
    """What may be done with the loads of a profile while one has the right to."""

    def renew(self) -> None:
        """Raise ``LookupUnavailable`` when the right was lost meanwhile, so that another load may be in force now."""

    def load(self, generation: Generation, lists: Mapping[Blocked, Numbers], progress: Progress) -> None:
        """Write a complete generation beside the others, without putting it in force.

        ``lists`` holds sorted distinct numbers. Litter of loads that never completed is removed first. Raises
        ``LookupUnavailable`` when the right was lost meanwhile.
        """

    def derive(
        self,
        generation: Generation,
        base: Generation,
        added: Mapping[Blocked, Numbers],
        removed: Numbers,
        progress: Progress,
    ) -> Derived:
        """Write a complete generation that is ``base`` without ``removed`` and then with ``added``; as ``load``.

        Raises ``InputRejected`` when nothing would be left.
        """

    def retire(self, keep: Collection[str]) -> tuple[str, ...]:
        """Let go of all generations but those in ``keep`` and the one in force; returns their ids.

        They cannot be put in force any more, and are to be freed.
        """


class ListServer(Protocol):
    """The server that holds the lists, as an operator looks at it. Raises ``LookupUnavailable``."""

    def require_no_eviction(self) -> None:
        """Raise ``LookupUnavailable`` when it does not answer, or may throw numbers away."""

    def packs_our_sets(self) -> bool | None:
        """Whether it keeps our sets in their small form; None when it will not say."""


class Progress(Protocol):
    """How far a long piece of work is."""

    def __call__(self, step: str, done: int, total: int | None) -> None:
        """``done`` of ``total`` units of ``step``; total is None while it is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalState:
    """How far the journal goes, read together."""

    seq: int
    """The newest record; 0 when there is none."""
    restriction_watermark: int
    """The newest record that may turn an allow into a block; 0 when there is none."""
    newest_at: datetime | None
    """The highest time of all records since a clock was last put right; None when there is none."""


class Journal(Protocol):
    """The durable, hash-chained record of everything that happened."""

    def append(self, events: Sequence[Event], deadline: Deadline, premise: Premise | None = None) -> tuple[int, ...]:
        """Make ``events`` durable, next to each other; returns their sequence numbers when they are on disk.

        Raises ``JournalUnavailable``. Then nothing is known to be recorded, though it may be. Raises ``InputRejected``
        for text that is not Unicode, and ``PremiseOutdated`` when ``premise`` does not hold any more; then nothing is
        recorded.
        """

    def append_later(self, events: Sequence[Event], premise: Premise | None = None) -> bool:
        """Append without waiting, all or none: tried until they are on disk, or ``premise`` does not hold any more.

        False when too much waits for the disk already: then they are lost.
        """

    def mark(self, seq: int) -> Mark | None:
        """What identifies record ``seq`` (0: the beginning); None when there is no such record."""

    def state(self) -> JournalState:
        """How far it goes now. Raises ``JournalUnavailable``, and ``JournalReplaced`` when it was set back."""

    def register_changes(self, profile: str) -> list[Record]:
        """Every ``register.loaded`` and ``register.rolled_back`` of ``profile``, in order."""

    def list_changes(self, after: int, limit: int) -> list[Record]:
        """Up to ``limit`` list-changing records after ``after``, in order."""


class CallRecords(Protocol):
    """What the journal holds of one call, and of one number."""

    def of_call(self, call: str) -> list[Record]:
        """Every record of a call, in order. Raises ``JournalUnavailable``."""

    def choices_of(self, number: str, until: int) -> list[Record]:
        """The opt-out and choice records of a number (E.164) up to record ``until``, in order."""

    def exported(self, batch: str) -> list[Record]:
        """The registrations of a batch, in order."""

    def unfollowed(self, since: datetime, before: datetime) -> list[str]:
        """Calls that ended in that time with a notice to follow, of which there is no record of a notice."""

    def unfinished(self, before: datetime, limit: int) -> list[str]:
        """Up to ``limit`` calls that were allowed before then and have no end, the oldest first."""

    def cut_off(self, since: datetime, before: datetime) -> list[str]:
        """Calls whose notice began in that time, and of which there is no record of how far it came."""

    def registering_calls(self) -> list[str]:
        """The calls in which somebody asked to be entered in the register, in order."""


WHOLE_WITHIN_MS: Final = 100
"""A prompt counts as heard in full when no more than this is missing: Asterisk counts whole frames of 20 ms."""


class PlayEnd(StrEnum):
    """How a prompt ended."""

    COMPLETE = "complete"
    KEY = "key"
    HUNG_UP = "hung_up"
    NO_SOUND = "no_sound"
    ON_HOLD = "on_hold"
    """The far end has the line on hold: nothing was played, or not all of it was sent."""
    LINE_LOST = "line_lost"
    """Asterisk, or the connection with it, broke off: nobody knows how far it came, unless ``packets`` says nowhere."""
    UNSENT = "unsent"
    """Asterisk played it to its end and did not send all of it, and the line is on hold neither before nor after."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Packets:
    """The RTP packets of a line while one prompt was played."""

    sent: int
    received: int | None
    """None when it is not known: the far end began a new stream meanwhile, as after a hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """What became of one prompt on a line, from where it was begun this time."""

    end: PlayEnd
    heard_ms: int
    """By Asterisk's count of the file, and no more than was sent."""
    unsent_ms: int = 0
    """By Asterisk's count of the file, and not sent."""
    stopped_ms: int = 0
    """Where in the file it stopped, to go on from there."""
    digit: str | None = None
    """The key that ended it."""
    packets: Packets | None = None
    """None where the line has no RTP, or nobody could be asked: then ``heard_ms`` is Asterisk's count alone."""


class Line(Protocol):
    """A consumer on the telephone."""

    def speak(self, language: str) -> None:
        """Play prompts in this language from now on. Raises ``LineHungUp``."""

    def play(self, name: str, keys: str, from_ms: int = 0) -> Played:
        """Play the prompt ``bmn/<name>`` from there to its end, or to the first of ``keys``.

        Other keys are thrown away. On a line that is on hold nothing is played.
        """

    def wait_for_key(self, timeout_ms: int) -> str | None:
        """The next key; None for silence. Raises ``LineHungUp``."""

    def is_on_hold(self) -> bool:
        """Whether the far end has put the line on hold; False where that cannot be known."""

    def wait_for_resumption(self, timeout_ms: int) -> bool:
        """Wait until the line is not on hold, throwing keys away; False when it still is. Raises ``LineHungUp``."""

    def tell(self, result: str, choice: str) -> None:
        """Let the dialplan know how far it has come: ``BMN_NOTICE_RESULT`` and ``BMN_CHOICE``."""


class Numbers(Protocol):
    """Numbers as integers (country code and national number), many of them: a column, or any sequence."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[int]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectedLine:
    """A line of a register file that cannot be read, and why."""

    line: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterBlock:
    """Some lines of a register file that follow each other."""

    lines: int
    """How many, without blank ones and the header."""
    offset: int
    """Bytes of the file read so far, for progress."""
    added: Mapping[Blocked, Numbers]
    """As they stand in the file: in any order, and repeated."""
    removed: Numbers
    """Of a list of changes: numbers to take out of every list."""
    rejected: Sequence[RejectedLine]


class RegisterFile(Protocol):
    """One file of the register, whatever its layout."""

    @property
    def name(self) -> str:
        """Without its folder."""

    @property
    def location(self) -> str:
        """Where it was found, as an absolute path."""

    @property
    def sha256(self) -> str:
        """Of its bytes."""

    @property
    def bytes(self) -> int:
        """Its size."""

    @property
    def reading(self) -> Mapping[str, str | None]:
        """How it is read: layout, encoding and so on, to read it in the same way again."""

    def blocks(self, profile: Profile) -> Iterator[RegisterBlock]:
        """All lines, some at a time, in order. Raises ``InputRejected`` when the file is not what it should be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sound:
    """One prompt as Asterisk plays it."""

    name: str
    """Without its folder: ``notice-acme``."""
    sha256: str
    """Of the file's bytes."""
    milliseconds: int
    """Rounded down: never more than there is to hear."""
    silent: bool
    """True when nobody would hear anything."""


class Sounds(Protocol):
    """The prompts that can be played."""

    def find(self, name: str, language: str) -> Sound | None:
        """The prompt ``name`` in ``language``; None when Asterisk could not play it."""


class SoundFault(StrEnum):
    """What is wrong with a prompt's file."""

    MISSING = "missing"
    UNREADABLE = "unreadable"
    WRONG_FORMAT = "wrong_format"
    """Not 8 kHz, mono, 16-bit."""
    SILENT = "silent"
    OTHER_FORMAT = "other_format"
    """Beside it lies the same prompt in another format, which Asterisk may play instead."""


class SoundFaults(Protocol):
    """The prompts, as an operator looks at them."""

    def fault(self, name: str, language: str) -> SoundFault | None:
        """The first thing that is wrong with the prompt, in the order of ``SoundFault``; None when it is sound."""
