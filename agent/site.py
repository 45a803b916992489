"""A site as the doctor looks at it: what can be asked of each part, and what a finding is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from agent.domain.condition import (
    Asterisk,
    Audited,
    ExpectedDialplan,
    JournalCondition,
    SellersOnRecord,
    ServerMemory,
    Undelivered,
    Waiting,
)
from agent.domain.model import Campaign, Generation
from agent.domain.ports import ListServer, SoundFaults
from agent.domain.profile import Profile


class State(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one check found."""

    check: str
    state: State
    what: str
    todo: str = ""
    """What the operator can do; empty when all is well."""


class Server(ListServer, Protocol):
    """Redis. Raises ``LookupUnavailable``."""

    def memory(self) -> ServerMemory:
        """How much it uses, of how much."""

    def time(self) -> datetime:
        """What its clock says."""


class Loads(Protocol):
    """The loads of the register in Redis. Raises ``LookupUnavailable``."""

    def current(self, profile: str) -> Generation | None:
        """The generation in force."""

    def memory(self, generation: str) -> int | None:
        """Bytes that a generation takes; None when Redis will not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What the checks look at."""

    campaigns: Mapping[str, Campaign]
    profiles: Mapping[str, Profile]
    journal_opens: Callable[[], bool]
    """False when there is no journal yet. Raises ``JournalUnavailable``."""
    journal_condition: Callable[[], JournalCondition]
    """Of a journal that opens. Raises ``JournalUnavailable``."""
    waiting: Callable[[], Waiting]
    """The outbox. Raises ``JournalUnavailable`` or ``LookupUnavailable``."""
    undelivered: Callable[[], Sequence[Undelivered]]
    """What the registrar must have in time. Raises ``JournalUnavailable``."""
    sellers_on_record: Callable[[], SellersOnRecord]
    """Of a journal that opens. Raises ``JournalUnavailable``."""
    unread: Callable[[str], str]
    """What this version of phonenumbers may read and the load in force of a profile lacks, in words; empty for nothing.

    Of a journal that opens. Raises ``JournalUnavailable``.
    """
    service_numbering: Callable[[], str | None]
    """The version of phonenumbers that the running service reads numbers with; None when that is not known.

    Of a journal that opens. Raises ``JournalUnavailable``.
    """
    numbering: str
    """The version that reads them here."""
    in_force: Callable[[str], str | None]
    """The load of a profile that is in force by the journal; None for none.

    Of a journal that opens. Raises ``JournalUnavailable``.
    """
    audited: Callable[[], Audited | None]
    """Whether Redis has all that it should; None while it does not say how far it has come.

    Of a journal that opens. Raises ``JournalUnavailable`` or ``LookupUnavailable``.
    """
    server: Server
    generations: Loads
    sounds: SoundFaults
    asterisk: Asterisk | None
    """None where there is no such command."""
    service_is_well: Callable[[], bool]
    """What the script ``health`` answers. Raises ``ServiceUnavailable``."""
    listen: tuple[str, int]
    """Where the service should be."""
    synchronised: Callable[[], bool | None]
    """Whether the clock of this machine is kept right; None when it does not say."""
    dialplan: ExpectedDialplan
    clock: Callable[[], datetime]


def needed_profiles(site: Site) -> list[Profile]:
    """The profiles of campaigns that the register binds."""
    used = [(site.profiles[campaign.profile], campaign.purpose) for campaign in site.campaigns.values()]
    return list({profile.key: profile for profile, purpose in used if purpose not in profile.exempt_purposes}.values())
