"""Profiles: one country's law as data. The engine holds no country; a second register is a second profile here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from types import MappingProxyType
from typing import Final
from zoneinfo import ZoneInfo

from agent.domain.clock import CLOCK_TOLERANCE
from agent.domain.dialogue import NL_BMNR_NOTICE, NoticeScript
from agent.domain.model import Generation, Purpose


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Which numbers, periods and rules apply to the campaigns that name this profile."""

    key: str
    name: str
    region: str
    """ISO 3166 region whose numbers the register holds."""
    language: str
    """Of the notice, for a call whose campaign is not configured any more."""
    timezone: str
    """Where the register's dates are dates."""
    load_valid_days: int
    """How old a load may be when it is used, counted from the start of its as-of day."""
    emergency_numbers: frozenset[str]
    """Always put through."""
    exempt_purposes: frozenset[Purpose]
    """Purposes outside the register's law."""
    notice_purposes: frozenset[Purpose]
    """Purposes for which the consumer must be pointed at the register in every conversation."""
    notice: NoticeScript
    """How the notice is conducted."""
    registration_days: int
    """Within how many days a registration taken in a call must be with the registrar."""

    def local_date(self, moment: datetime) -> date:
        """The calendar day of ``moment`` where the register's dates count."""
        return moment.astimezone(ZoneInfo(self.timezone)).date()

    def valid_until(self, generation: Generation) -> datetime:
        """The last instant at which ``generation`` may be used.

        Conservative: the file may have been made in the first minute of its as-of day.
        """
        start = datetime.combine(generation.as_of, time(), tzinfo=ZoneInfo(self.timezone))
        return start + timedelta(days=self.load_valid_days)

    def age(self, generation: Generation, now: datetime) -> timedelta:
        """How old ``generation`` is, counted from the start of its as-of day."""
        return now - (self.valid_until(generation) - timedelta(days=self.load_valid_days))

    def is_stale(self, generation: Generation, now: datetime) -> bool:
        """Whether ``generation`` is past its period, or of the future, so that nobody knows how old it is.

        That happens when it was loaded while the clock was ahead. ``agent.domain.clock`` says whether it is right now.
        """
        return now > self.valid_until(generation) or generation.as_of > self.local_date(now + CLOCK_TOLERANCE)


NL_BMNR: Final = Profile(
    key="nl-bmnr",
    name="Bel-me-niet Register (Netherlands, 2009-2021)",
    region="NL",
    language="nl",
    timezone="Europe/Amsterdam",
    # Telecommunicatiewet art. 11.7 (2009-2021) and the register's terms: a scrub holds for four weeks.
    load_valid_days=28,
    # 911 is put through to 112 by Dutch mobile networks, and libphonenumber lists both for NL.
    emergency_numbers=frozenset({"112", "911"}),
    exempt_purposes=frozenset({Purpose.RESEARCH, Purpose.SERVICE}),
    notice_purposes=frozenset({Purpose.COMMERCIAL, Purpose.CHARITY}),
    notice=NL_BMNR_NOTICE,
    # From an article of 2009 on the draft rules; the final text was not found.
    registration_days=10,
)

PROFILES: Final[Mapping[str, Profile]] = MappingProxyType({NL_BMNR.key: NL_BMNR})
