"""What the journal records: the event types, append only, and the fields of each.

A record's body is a flat JSON object with exactly the fields listed in ``FIELDS``; a value that does not apply is null.
Numbers are full here and nowhere else: the journal is the evidence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final

JsonScalar = str | int | float | bool | None
JsonValue = JsonScalar | list["JsonValue"] | dict[str, "JsonValue"]


class EventType(StrEnum):
    """Past participles of what happened. Append only."""

    AGENT_STARTED = "agent.started"
    AGENT_STOPPED = "agent.stopped"
    CALL_SCREENED = "call.screened"
    CALL_FINISHED = "call.finished"
    NOTICE_PLAYED = "notice.played"
    CHOICE_RECORDED = "choice.recorded"
    CHOICE_UNDONE = "choice.undone"
    CHOICE_APPLIED = "choice.applied"
    REGISTRATION_EXPORTED = "registration.exported"
    REGISTRATION_ACKNOWLEDGED = "registration.acknowledged"
    REGISTER_LOADED = "register.loaded"
    REGISTER_REJECTED = "register.rejected"
    REGISTER_ROLLED_BACK = "register.rolled_back"
    OPTOUT_ADDED = "optout.added"
    OPTOUT_REMOVED = "optout.removed"
    CUSTOMER_ADDED = "customer.added"
    CUSTOMER_REMOVED = "customer.removed"
    NUMBER_REVEALED = "number.revealed"
    SCRUB_COMPLETED = "scrub.completed"
    EVIDENCE_EXPORTED = "evidence.exported"
    JOURNAL_PURGED = "journal.purged"


_CALL: Final = ("call", "number", "campaign", "seller", "agent", "uniqueid")
"""What every record of a call that was dialled begins with."""

FIELDS: Final[Mapping[EventType, tuple[str, ...]]] = MappingProxyType(
    {
        EventType.AGENT_STARTED: ("host", "pid", "version", "listen"),
        EventType.AGENT_STOPPED: ("host", "pid", "clean"),
        EventType.CALL_SCREENED: (
            "call",
            "number",
            "dialled",
            "campaign",
            "seller",
            "agent",
            "profile",
            "verdict",
            "reason",
            "rule",
            "generation",
            "notice",
            "source",
            "uniqueid",
            "failure",
        ),
        EventType.CALL_FINISHED: (
            *_CALL,
            "dialstatus",
            "rang",
            "answered",
            "answered_s",
            "cause",
            "ended_by",
            "offered",
            "voicemail",
            "notice",
            "choice",
        ),
        EventType.NOTICE_PLAYED: (*_CALL, "language", "prompt", "sha256", "heard_ms", "long_ms", "ended", "result"),
        EventType.CHOICE_RECORDED: (
            *_CALL,
            "profile",
            "sector",
            "source",
            "question",
            "answer",
            "digit",
            "prompt",
            "sha256",
        ),
        EventType.CHOICE_UNDONE: (*_CALL, "profile", "sector", "source", "undoes", "answer"),
        EventType.CHOICE_APPLIED: ("call", "number", "choice", "after_ms"),
        EventType.REGISTRATION_EXPORTED: (
            "batch",
            "call",
            "number",
            "campaign",
            "seller",
            "profile",
            "action",
            "wished_at",
            "scope",
            "sector",
            "charities",
            "by",
        ),
        EventType.REGISTRATION_ACKNOWLEDGED: ("batch", "call", "number", "accepted", "reason", "file", "sha256", "by"),
        EventType.REGISTER_LOADED: (
            "generation",
            "profile",
            "as_of",
            "loaded_at",
            "count",
            "counts",
            "sha256",
            "files",
            "duplicates",
            "rejected",
            "base",
            "by",
        ),
        EventType.REGISTER_REJECTED: ("profile", "as_of", "files", "problem", "problems", "by"),
        EventType.REGISTER_ROLLED_BACK: ("generation", "profile", "from_generation", "by"),
        EventType.OPTOUT_ADDED: ("seller", "number", "source", "note", "by", "since"),
        EventType.OPTOUT_REMOVED: ("seller", "number", "reason", "by"),
        EventType.CUSTOMER_ADDED: (
            "seller",
            "product_group",
            "number",
            "sold_on",
            "product",
            "evidence",
            "source",
            "by",
        ),
        EventType.CUSTOMER_REMOVED: ("seller", "product_group", "number", "reason", "by"),
        EventType.NUMBER_REVEALED: ("what", "filter", "count", "by"),
        EventType.SCRUB_COMPLETED: (
            "campaign",
            "seller",
            "profile",
            "generation",
            "as_of",
            "register_sha256",
            "lists_up_to",
            "valid_until",
            "input",
            "clean",
            "removed",
            "reasons",
            "version",
            "by",
        ),
        EventType.EVIDENCE_EXPORTED: (
            "number",
            "from",
            "to",
            "upto",
            "head",
            "root",
            "count",
            "sha256",
            "page_sha256",
            "file",
            "by",
        ),
        EventType.JOURNAL_PURGED: ("count", "counts", "first_at", "last_at", "until", "by"),
    }
)
"""The fields of each type. ``number`` is E.164 (or what was dialled, where that was no number); ``by`` is the system
user who ran the command; ``base`` the generation that changes were loaded on, null for a whole load; ``source`` says
through which door it came; ``failure`` what failed, for technical blocks;
``what`` was shown in full, ``filter`` how it was selected and ``count`` how many. Of a call: ``uniqueid`` is
Asterisk's id of the channel that the script ran on; ``prompt`` the sound file and ``sha256`` its digest; ``heard_ms``
of ``long_ms`` how much of it was played, and ``ended`` how that ended (``agent.notices``); ``undoes`` the sequence
number of the record that no longer counts; ``choice`` of ``choice.applied`` that of the record now in force in Redis,
``late`` when it was not at once; ``answer``, ``question`` and ``scope``, ``charities`` are the words of
``agent.domain.choice``; ``notice`` of ``call.finished`` the words of ``agent.finishing``. ``since`` of an
opt-out is the day of the objection, where that was told (records before that field was kept have none). Of a scrub:
``lists_up_to``
is the journal record up to which the lists were sure to be; ``input``, ``clean`` and ``removed`` are files, each with
``name``, ``sha256`` and ``rows``; ``reasons`` counts the rows by reason (``agent.scrubbing``). Of a dossier:
``from`` and ``to`` (without it) are instants, ``upto`` the last record that was there, with ``head``, its link, and
``root``, that of ``agent.domain.merkle`` over all of them; ``count`` is of the records in it, ``sha256`` of its content
and ``page_sha256`` of the page around it (``agent.evidence_document``). Of a purge: ``counts`` of bodies by record
type, ``first_at`` and ``last_at`` when the oldest and the newest of those records was made (UTC), ``until`` by kind the
instant before which they were made or ended (``agent.domain.retention``)."""

LIST_CHANGES: Final = frozenset(
    {
        EventType.REGISTER_LOADED,
        EventType.REGISTER_ROLLED_BACK,
        EventType.OPTOUT_ADDED,
        EventType.OPTOUT_REMOVED,
        EventType.CUSTOMER_ADDED,
        EventType.CUSTOMER_REMOVED,
        EventType.CHOICE_RECORDED,
        EventType.CHOICE_UNDONE,
    }
)
"""Events that change what screening sees; the outbox applies them to Redis in journal order."""

PROTECTIVE_CHANGES: Final = LIST_CHANGES - {EventType.OPTOUT_REMOVED, EventType.CUSTOMER_ADDED}
"""Those that may turn an allow into a block: no screening is answered before they are applied."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, not yet recorded."""

    type: EventType
    body: Mapping[str, JsonValue]

    def __post_init__(self) -> None:
        expected = FIELDS[self.type]
        if tuple(self.body) != expected:
            raise ValueError(f"{self.type} has the fields {', '.join(expected)}, not {', '.join(self.body)}")

    @classmethod
    def of(cls, event_type: EventType, body: Mapping[str, JsonValue]) -> Event:
        """An event from its fields in any order; those that are not named are null."""
        empty: dict[str, JsonValue] = dict.fromkeys(FIELDS[event_type])
        return cls(event_type, {**empty, **body})


@dataclass(frozen=True, slots=True)
class Record:
    """An event in the journal: its place in the chain, when it was appended (aware UTC), and what it says."""

    seq: int
    at: datetime
    type: EventType
    body: Mapping[str, JsonValue]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """How far a journal was followed: a record by its number and its link in the chain.

    A journal that was restored from a backup may give the number to another record, but never the link.
    """

    journal: str
    seq: int
    """0 for the beginning, before the first record."""
    link: str
    """Hexadecimal; empty for the beginning."""
