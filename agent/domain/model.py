"""The values that the rules speak about. Words as in the README's glossary; members are stored, so append only."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum

from agent.domain.phone_number import Dialled, EmergencyNumber, PhoneNumber, UnusableNumber


class Purpose(StrEnum):
    """Why a campaign calls. The register binds commercial and charity calls only."""

    COMMERCIAL = "commercial"
    CHARITY = "charity"
    RESEARCH = "research"
    SERVICE = "service"


class Sector(StrEnum):
    """What a consumer may block separately."""

    AUTOMOTIVE = "automotive"
    BOOKS_MUSIC = "books_music"
    ENERGY = "energy"
    FINANCE = "finance"
    CHARITIES = "charities"
    HOROSCOPES = "horoscopes"
    LOTTERIES = "lotteries"
    NEWSPAPERS = "newspapers"
    TELECOM_COMPUTERS = "telecom_computers"
    HOME_SHOPPING = "home_shopping"


class Blocked(StrEnum):
    """What an entry of the register blocks: everything, everything but charities, or one sector by its name.

    A number may have several sectors, never a sector beside one of the first two in one file; where lists disagree
    the widest holds.
    """

    ALL = "all"
    ALL_EXCEPT_CHARITIES = "all_except_charities"
    AUTOMOTIVE = "automotive"
    BOOKS_MUSIC = "books_music"
    ENERGY = "energy"
    FINANCE = "finance"
    CHARITIES = "charities"
    HOROSCOPES = "horoscopes"
    LOTTERIES = "lotteries"
    NEWSPAPERS = "newspapers"
    TELECOM_COMPUTERS = "telecom_computers"
    HOME_SHOPPING = "home_shopping"


class Verdict(StrEnum):
    """The outcome of a screening. Whatever is not an explicit ``allow`` is not dialled."""

    ALLOW = "allow"
    BLOCK = "block"


class Reason(StrEnum):
    """Why. Append only: dialplans, reports and the journal hold these words."""

    NOT_REGISTERED = "not_registered"
    EXEMPT_RESEARCH = "exempt_research"
    EXEMPT_SERVICE = "exempt_service"
    EXEMPT_CUSTOMER = "exempt_customer"
    EMERGENCY_NUMBER = "emergency_number"

    REGISTERED = "registered"
    REGISTERED_SECTOR = "registered_sector"
    REGISTERED_CHARITIES = "registered_charities"
    SELLER_OPTOUT = "seller_optout"
    INVALID_NUMBER = "invalid_number"
    UNSUPPORTED_COUNTRY = "unsupported_country"
    UNKNOWN_CAMPAIGN = "unknown_campaign"
    REGISTER_MISSING = "register_missing"
    REGISTER_STALE = "register_stale"
    LOOKUP_UNAVAILABLE = "lookup_unavailable"
    DEADLINE_EXCEEDED = "deadline_exceeded"
    OVERLOADED = "overloaded"
    JOURNAL_UNAVAILABLE = "journal_unavailable"
    INTERNAL_ERROR = "internal_error"
    CLOCK_UNSOUND = "clock_unsound"
    OBJECTIONS_UNASSIGNED = "objections_unassigned"
    UNDELIVERED = "undelivered"

    @property
    def verdict(self) -> Verdict:
        """The verdict that this reason goes with; a reason never serves both."""
        return Verdict.ALLOW if self in _ALLOWING else Verdict.BLOCK

    @property
    def technical(self) -> bool:
        """True when the block says something of this system and nothing of the consumer."""
        return self in _TECHNICAL


_ALLOWING = frozenset(
    {
        Reason.NOT_REGISTERED,
        Reason.EXEMPT_RESEARCH,
        Reason.EXEMPT_SERVICE,
        Reason.EXEMPT_CUSTOMER,
        Reason.EMERGENCY_NUMBER,
    }
)
_TECHNICAL = frozenset(
    {
        Reason.UNKNOWN_CAMPAIGN,
        Reason.REGISTER_MISSING,
        Reason.REGISTER_STALE,
        Reason.LOOKUP_UNAVAILABLE,
        Reason.DEADLINE_EXCEEDED,
        Reason.OVERLOADED,
        Reason.JOURNAL_UNAVAILABLE,
        Reason.INTERNAL_ERROR,
        Reason.CLOCK_UNSOUND,
        Reason.OBJECTIONS_UNASSIGNED,
        Reason.UNDELIVERED,
    }
)


class DeliveryFailure(StrEnum):
    """Why a verdict that is on record is not known to be with Asterisk. Append only: the journal holds these words."""

    NOT_SENT = "not_sent"
    """The session had ended before the answer left: Asterisk does not have it."""
    REFUSED = "refused"
    """Asterisk answered that it did not take it."""
    LOST = "lost"
    """The session ended after the answer had left, and before it was confirmed."""
    TIMED_OUT = "timed_out"
    """The answer left, and no confirmation came in time."""
    GARBLED = "garbled"
    """The answer left, and what came back is no confirmation."""
    HUNG_UP = "hung_up"
    """Asterisk took it and said that the channel had hung up: nothing is dialled any more."""

    @property
    def may_have_arrived(self) -> bool:
        """Whether Asterisk may have taken it all the same, and have dialled: an end of the call would say so."""
        return self in (DeliveryFailure.LOST, DeliveryFailure.TIMED_OUT, DeliveryFailure.GARBLED)


class LookupFailure(StrEnum):
    """How a lookup failed: no answer to be had, or none in time."""

    UNAVAILABLE = "unavailable"
    TIMED_OUT = "timed_out"


class Notice(StrEnum):
    """Whether the consumer must be pointed at the register in this call."""

    REQUIRED = "required"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seller:
    """The advertiser on whose behalf is called; legally responsible together with the call centre."""

    key: str
    name: str
    formerly: tuple[str, ...] = ()
    """Keys that it had before: what was recorded for one of them holds for it too."""

    @property
    def keys(self) -> tuple[str, ...]:
        """Every key that records and lists may name it by, the present one first."""
        return (self.key, *self.formerly)


@dataclass(frozen=True, slots=True, kw_only=True)
class Campaign:
    """One calling action of one seller."""

    key: str
    seller: Seller
    purpose: Purpose
    sector: Sector | None
    """None only for research and service, which the register does not bind."""
    product_group: str | None
    """What is sold, in the seller's own words; an own customer is exempt for the same group only."""
    profile: str
    language: str
    caller_id: str | None = None

    @property
    def for_charity(self) -> bool:
        """True when the call asks for a charity; the configuration keeps purpose and sector in step."""
        return self.purpose is Purpose.CHARITY


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """One complete, immutable, dated load of the register."""

    id: str
    profile: str
    as_of: date
    """The day that the supplier made the file, in the profile's time zone; its age counts from the start of it."""
    loaded_at: datetime
    count: int
    """Distinct numbers in it."""
    sha256: str
    """Of the file that was loaded; of the digests of all files in order, when there were several."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the lists say of one number for one campaign, read together.

    With ``failure`` set, nothing else in it means anything: rule 4 blocks before any later rule looks.
    """

    failure: LookupFailure | None = None
    upto: int = 0
    """The journal record up to which the lists were sure to be."""
    newest_at: datetime | None = None
    """The highest time that the journal holds; None when it holds none."""
    generation: Generation | None = None
    register_entry: frozenset[Blocked] = field(default_factory=frozenset)
    """Of the register, those lists that can matter to this campaign: all, all_except_charities, and its sector."""
    own_registration: frozenset[Blocked] = field(default_factory=frozenset)
    """The same of registrations taken in our own calls."""
    seller_optout: bool = False
    """Objected to this seller, under whichever of its keys."""
    unassigned: tuple[str, ...] = ()
    """Sellers to whom somebody objects, whoever it is, and of whom the configuration does not say who they are now."""
    unassigned_objector: bool = False
    """Objected to one of ``unassigned``."""
    customer: bool = False
    """Customer of this seller for this product group, the number obtained in a sale."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One attempt to dial."""

    dialled: Dialled
    campaign: Campaign | None
    """None when the campaign that was asked for is not configured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A verdict with exactly why: the reason, and the name of the rule that spoke."""

    reason: Reason
    rule: str

    @property
    def verdict(self) -> Verdict:
        """Follows from the reason."""
        return self.reason.verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Screened:
    """The answer to one screening, as it stands in the journal and as the dialplan gets it."""

    call_id: str
    decision: Decision
    dialled: Dialled
    notice: Notice
    generation: str | None
    """Id of the generation consulted, if one was."""
    failure: str = ""
    """For technical blocks: what failed, in a few words for the operator."""

    @property
    def number_to_dial(self) -> str:
        """The only number that may be dialled: E.164 (or the emergency number); empty unless allowed."""
        if self.decision.verdict is not Verdict.ALLOW:
            return ""
        match self.dialled:
            case PhoneNumber():
                return self.dialled.e164
            case EmergencyNumber():
                return self.dialled.digits
            case UnusableNumber():
                return ""
