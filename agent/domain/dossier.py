"""A dossier: all that the journal holds of one number for a period, as values that a supervisor can read.

``agent.domain.dossier_reading`` makes one of journal records; ``record`` is always the number of the journal record
that says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

from agent.domain.journal_events import EventType, JsonValue
from agent.domain.model import DeliveryFailure, Notice, Reason, Verdict
from agent.domain.phone_number import PhoneNumber


class RegisterAnswer(StrEnum):
    """Was the number registered when it was called? Append only: documents hold these words."""

    LISTED = "listed"
    """Yes: an entry of that load covered the campaign."""
    OWN_REGISTRATION = "own_registration"
    """Yes: what was registered in our own calls covered the campaign. Whether the load had it too is not recorded."""
    NOT_LISTED = "not_listed"
    """No entry of that load, and no registration of our own, covered the campaign."""
    NOT_ASKED = "not_asked"
    """The verdict did not rest on the register."""


class WindowAnswer(StrEnum):
    """Was the call inside the processing window of the load? Append only."""

    INSIDE = "inside"
    OUTSIDE = "outside"
    NO_REGISTER = "no_register"
    """Nothing was loaded; the call was blocked for that."""
    NOT_NEEDED = "not_needed"
    """The verdict was given without the register, and names no load."""
    UNKNOWN = "unknown"
    """The load's record is not in the journal (any more)."""


class UnknownKind(StrEnum):
    """What a dossier cannot tell. Append only."""

    NOT_FINISHED = "not_finished"
    """The call was allowed, and nothing says how it ended, or that it was dialled at all."""
    NOTICE_NOT_FOLLOWED = "notice_not_followed"
    """A notice was to follow, and there is no record of it."""
    NOTICE_UNMEASURED = "notice_unmeasured"
    """Something was played, but how long the sound file is was not known."""
    NOTICE_CUT_OFF = "notice_cut_off"
    """The notice began, and this system broke off before it recorded how far it came."""
    NOTICE_NOT_COUNTED = "notice_not_counted"
    """Something was played by the count of its sound file; the packets that were sent were not counted."""
    CHOICE_NOT_APPLIED = "choice_not_applied"
    """A choice is on record, but not when it came into force in Redis."""
    LOAD_MISSING = "load_missing"
    """The record of the load that the verdict names is not there."""
    CUSTOMER_MISSING = "customer_missing"
    """The call was exempt for a customer, and no customer record of that time is there."""
    CUSTOMER_AMBIGUOUS = "customer_ambiguous"
    """Customer records of several product groups were in force; the verdict does not name its group."""
    NOT_CONFIRMED = "not_confirmed"
    """Asterisk did not confirm that it took the permission: whether the call was dialled is not known."""
    FROM_COMMAND = "from_command"
    """Somebody asked on the command line; whether it was dialled then is not known."""
    MACHINE = "machine"
    """The agent logged an answering machine."""
    PURGED = "purged"
    """Bodies of records of this period were purged by retention; of which numbers they were is not known any more."""
    SCRUBS = "scrubs"
    """Call files were scrubbed in the period: the journal names the files, and not the numbers in them."""
    REVEALS = "reveals"
    """Lists with full numbers were shown or exported in the period: whether this number was among them is not known."""
    BEFORE_JOURNAL = "before_journal"
    """Nothing from before the first record is known."""
    ANSWERED = "answered"
    """"Answered" means that a connection was made; a person and a machine look the same to the exchange."""
    OFFER = "offer"
    """"Offered" is what the agent logged; the conversation itself is not recorded here."""
    HEARD = "heard"
    """Milliseconds are what Asterisk sent; nobody knows who listened."""
    REDIS = "redis"
    """What Redis held is not evidence in itself; the journal holds what it answered."""
    CLOCK = "clock"
    """All times are those of the clock of the machine."""
    OUTSIDE = "outside"
    """Calls that went past this system, or that the dialplan blocked because this system did not answer."""
    SPELLING = "spelling"
    """What was dialled and could not be read as a number is on record as it was dialled, and under no number."""
    REGISTER_FILE = "register_file"
    """The journal holds the digest of a register file, not the file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """One thing that is not known: of a call, or (``call`` is None) of the whole period."""

    kind: UnknownKind
    call: str | None = None
    count: int | None = None
    since: datetime | None = None
    """For ``before_journal``: when the journal begins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """A load of the register that a verdict names."""

    generation: str
    as_of: date
    """The day that the supplier made the file."""
    loaded_at: datetime
    valid_until: datetime
    """The end of its processing window, by the profile."""
    sha256: str
    files: tuple[str, ...]
    count: int
    record: int
    base: Load | None
    """For a list of changes: the load that it was applied to; None for a whole register, or when its record is gone."""
    base_generation: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerRecord:
    """The evidence of an exemption: the customer record in force when the call was screened."""

    seller: str
    product_group: str
    sold_on: date
    product: str
    evidence: str | None
    source: str
    recorded_at: datetime
    record: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a dialled call ended."""

    at: datetime
    dialstatus: str
    rang: bool
    answered: bool
    answered_s: int
    cause: int | None
    """Q.931."""
    ended_by: str
    notice: str
    record: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NotDelivered:
    """A verdict that Asterisk did not confirm."""

    at: datetime
    why: DeliveryFailure
    record: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticePlayed:
    """One notice, or why there was none."""

    at: datetime
    result: str
    ended: str
    heard_ms: int
    long_ms: int | None
    language: str | None
    prompt: str
    sha256: str | None
    """Of the sound file."""
    proof: str | None
    """What ``heard_ms`` rests on; None when nothing was played, and in older records."""
    sent: int | None
    """RTP packets; None where they were not counted."""
    record: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeBegun:
    """That a notice began."""

    at: datetime
    record: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoiceMade:
    """One answer of the consumer, or one key of the agent."""

    at: datetime
    source: str
    question: str | None
    answer: str
    sector: str | None
    undone_at: datetime | None
    undone_by: int | None
    """The record that took it back."""
    applied_ms: int | None
    """Milliseconds from the record to its being in force in Redis; None when that is not on record."""
    record: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrarStep:
    """A registration on its way to the registrar, or back."""

    at: datetime
    type: EventType
    batch: str
    action: str | None
    scope: str | None
    charities: str | None
    accepted: bool | None
    reason: str | None
    record: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One screened call."""

    call: str
    at: datetime
    campaign: str
    seller: str | None
    formerly: tuple[str, ...]
    """Keys that the seller had before, whose lists counted too."""
    agent: str
    dialled: str
    source: str
    verdict: Verdict
    reason: Reason
    rule: str
    failure: str | None
    profile: str
    load: Load | None
    generation: str | None
    registered: RegisterAnswer
    window: WindowAnswer
    customers: tuple[CustomerRecord, ...]
    """For ``exempt_customer``."""
    notice_due: Notice
    ending: Ending | None
    offered: bool
    voicemail: bool
    notices_begun: tuple[NoticeBegun, ...]
    notices: tuple[NoticePlayed, ...]
    choices: tuple[ChoiceMade, ...]
    wish: str
    """What the choices add up to; ``none`` for none."""
    registrar: tuple[RegistrarStep, ...]
    record: int
    undelivered: NotDelivered | None = None
    """For an allowed call that was dialled all the same, ``ending`` says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One record about the number beside the attempts of the period: a list change, an access, an older choice."""

    at: datetime
    type: EventType
    seller: str | None
    details: Mapping[str, JsonValue]
    before: bool
    """True when it is older than the period, and given for what it still meant in it."""
    record: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InForce:
    """How the number stood at the end of the period."""

    optouts: tuple[tuple[str, int], ...]
    """Sellers, each with the record that holds the objection up."""
    registrations: tuple[tuple[str, str], ...]
    """Profiles, each with what our own registrations block."""
    customers: tuple[tuple[str, str, int], ...]
    """Sellers, product groups and records."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dossier:
    """Everything on one number for a period, and what is not known."""

    number: PhoneNumber
    since: datetime
    until: datetime
    """The first instant after the period."""
    profile: str
    timezone: str
    journal: str
    """The journal's id."""
    upto: int
    """The last record that was there."""
    attempts: tuple[Attempt, ...]
    entries: tuple[Entry, ...]
    in_force: InForce
    unknown: tuple[Unknown, ...]
    records: tuple[int, ...]
    """Every record that it rests on."""
