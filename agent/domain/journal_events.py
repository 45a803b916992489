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
    NOTICE_BEGUN = "notice.begun"
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
    CLOCK_JUMPED = "clock.jumped"
    VERDICT_UNDELIVERED = "verdict.undelivered"


_CALL: Final = ("call", "number", "campaign", "seller", "agent", "uniqueid")
"""What every record of a call begins with, after that of its screening."""

FIELDS: Final[Mapping[EventType, tuple[str, ...]]] = MappingProxyType(
    {
        EventType.AGENT_STARTED: ("host", "pid", "version", "listen", "phonenumbers"),
        EventType.AGENT_STOPPED: ("host", "pid", "clean", "why"),
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
            "formerly",
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
        EventType.NOTICE_BEGUN: (*_CALL, "language", "prompt", "sha256", "long_ms"),
        EventType.NOTICE_PLAYED: (
            *_CALL,
            "language",
            "prompt",
            "sha256",
            "heard_ms",
            "long_ms",
            "ended",
            "result",
            "proof",
            "sent",
            "received",
        ),
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
            "read_with",
            "left_out",
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
            "formerly",
            "phonenumbers",
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
        EventType.CLOCK_JUMPED: ("newest_at", "now", "by"),
        EventType.VERDICT_UNDELIVERED: (*_CALL, "verdict", "why"),
    }
)
"""The fields of each type, in order; what each says is in ``MEANINGS``."""

MEANINGS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "accepted": "whether the registrar took it over",
        "action": "register, or withdraw what was handed over before",
        "after_ms": "milliseconds from the choice's record until it was in force in Redis",
        "agent": "who dialled, as the dialplan names him",
        "answer": "what was said (agent.domain.choice.Answer)",
        "answered": "whether the consumer picked up",
        "answered_s": "seconds of conversation, as Asterisk counts them",
        "as_of": "the day on which the register's supplier made the file",
        "base": "the generation that changes were loaded on; null for a whole load (older records have no such field)",
        "batch": "what was handed to the registrar together",
        "by": "the system user who ran the command, or who was signed in to the dashboard",
        "call": "our id of the call",
        "campaign": "as the dialplan named it; it may be unknown",
        "cause": "Q.931, as HANGUPCAUSE has it",
        "charities": "what was answered to the question of charities (agent.domain.choice.Charities)",
        "choice": "of choice.applied, the number of the record now in force; else the wish in one word",
        "clean": "of agent.stopped, whether all sessions came to their end; of a scrub, the file that may be called",
        "count": "how many: numbers of a load, records of a dossier or purge, numbers that were shown",
        "counts": "of a load, numbers by list; of a purge, bodies by record type",
        "dialled": "the number as it was dialled",
        "dialstatus": "DIALSTATUS of Asterisk",
        "digit": "the key that was pressed",
        "duplicates": "entries (a number on one list) that stood in the files before",
        "ended": "how the notice ended (agent.notices.NoticeEnd)",
        "ended_by": "who ended the conversation (agent.finishing.EndedBy)",
        "evidence": "where the proof of the sale is",
        "failure": "what failed, where that is why the call was blocked",
        "file": "the name of the file",
        "files": "name, path, SHA-256 and bytes of each file, and how it was read",
        "filter": "how it was selected",
        "first_at": "when the oldest of the purged records was made (UTC)",
        "formerly": "keys that the seller had before and that were looked up too (older records have no such field)",
        "from": "of a dossier, the instant from which it tells",
        "from_generation": "the generation that was rolled back from",
        "generation": "the load of the register; null where none was asked, or none is in force",
        "head": "the link of record upto",
        "heard_ms": "milliseconds of the notice that were played, and no more than were sent (see proof)",
        "host": "the machine's name",
        "input": "of a scrub, name, SHA-256 and rows of the call file",
        "language": "the language of the notice",
        "last_at": "when the newest of the purged records was made (UTC)",
        "left_out": "wrong lines by what was wrong with them, the commonest (older records have no such field)",
        "listen": "address and port of the service",
        "lists_up_to": "the journal record up to which Redis was sure to be",
        "loaded_at": "when the load was made (UTC)",
        "long_ms": "milliseconds that the whole notice takes",
        "newest_at": "the highest time that the journal held, which the clock is behind (UTC)",
        "note": "what was written down with the objection",
        "notice": "of a verdict, whether the call needs one; of an ended call, its result, to_follow or not_due",
        "now": "what the clock says that is right again (UTC)",
        "number": "E.164; of a verdict, what was dialled where that was no number",
        "offered": "whether the agent logged that the register was pointed at",
        "page_sha256": "of the page around the dossier",
        "phonenumbers": "the version of phonenumbers that reads numbers (older records have no such field)",
        "pid": "the process",
        "problem": "why the load was rejected",
        "problems": "how many lines were wrong",
        "product": "what was sold",
        "product_group": "the group of similar products that the sale is in",
        "profile": "the law that held (agent.domain.profile)",
        "prompt": "the name of the sound file",
        "proof": "what heard_ms rests on (agent.notices.Proof); null when nothing is known to have been played",
        "question": "what was asked (agent.domain.choice.Question)",
        "rang": "whether it rang at the consumer",
        "read_with": "versions of phonenumbers that read the load and what it builds on; null where that is not known",
        "reason": "of a verdict, why (agent.domain.model.Reason); else in somebody's words",
        "reasons": "rows that were taken out, by reason",
        "received": "RTP packets that came meanwhile: none may be a dead line, or one that does not send silence",
        "register_sha256": "of the register's file",
        "rejected": "lines that were wrong and left out (older records have no such field)",
        "removed": "of a scrub, the file of rows that may not be called",
        "result": "of the notice: heard, partial or not_played",
        "root": "over all records up to upto (agent.domain.merkle)",
        "rule": "which rule decided (agent.domain.rules)",
        "scope": "everything, or one sector",
        "sector": "the sector that the campaign is in",
        "seller": "on whose behalf is called",
        "sent": "RTP packets that were sent to the far end meanwhile; null where the line has no RTP",
        "sha256": "of the file; of a dossier, of its content",
        "since": "the day of the objection, where it was told (older records have no such field)",
        "sold_on": "the day of the sale",
        "source": "through which door it came",
        "to": "of a dossier, the instant up to which it tells, without it",
        "undoes": "the number of the record that no longer counts",
        "uniqueid": "Asterisk's id of the channel that the script ran on",
        "until": "by kind, the instant before which records were made that were purged",
        "upto": "the last record that the dossier knows of",
        "valid_until": "how long the scrub may be relied on",
        "verdict": "allow or block",
        "version": "of this software",
        "voicemail": "whether the agent logged that a machine answered",
        "what": "what was shown in full",
        "why": "of a verdict, how far it came that Asterisk did not confirm (agent.domain.model.DeliveryFailure); of "
        "agent.stopped, what ended it: a signal, a successor, or what was wrong (older records have no such field)",
        "wished_at": "when it was first said",
    }
)
"""What each field says."""

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

REGISTER_CHANGES: Final = frozenset({EventType.REGISTER_LOADED, EventType.REGISTER_ROLLED_BACK})
"""Those after which another load of a profile's register is in force."""

RESTRICTING: Final = PROTECTIVE_CHANGES - REGISTER_CHANGES
"""Those that may turn an allow of the number that they name into a block."""


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
