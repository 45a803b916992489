"""How the parts of a site are, as the doctor is told: the memory of Redis, the files of the journal, the outbox."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from agent.domain.errors import BmnError


class AsteriskUnavailable(BmnError):
    """Asterisk could not be asked."""


class ServiceUnavailable(BmnError):
    """The FastAGI service did not answer."""


class Loss(StrEnum):
    """What Redis was found to have lost a part of."""

    LISTS = "lists"
    """The sets that the outbox writes, or their roster: all of the journal is applied again."""
    REGISTER = "register"
    """The load in force, or its roster: no register is in force until it was loaded again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditStep:
    """What a look at a few of the sets that Redis must have has found."""

    loss: Loss | None
    """None when they are all there."""
    expiring: int
    """Keys that had a time to live, after which they would be gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Audited:
    """What a look at all sets that Redis must have has found."""

    losses: frozenset[Loss]
    expiring: int
    """Keys with a time to live."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerMemory:
    """The memory of Redis, in bytes."""

    used: int
    limit: int
    """``maxmemory``; all that the machine has where none is set; 0 when that is not told."""
    limited: bool
    """Whether ``maxmemory`` is set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalCondition:
    """What can be seen of the journal without changing it."""

    problem: str
    """What is wrong with the newest records of the chain; empty when they hold."""
    checked: int
    """How many of them were looked at."""
    newest_at: datetime | None
    """The highest time of its records since a clock was last put right."""
    unended: int
    """Calls of the last day that were allowed, and whose books were closed without an end."""
    writable: bool
    exposed: tuple[str, ...]
    """Files that others can read, by path."""
    free_bytes: int
    """On its disk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """What the journal holds and the lists in Redis do not yet."""

    changes: int
    """Counted up to a thousand."""
    since: datetime | None
    """When the oldest of them was recorded; None when nothing waits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Undelivered:
    """A registration that the registrar does not have as the consumer wants it."""

    due: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class UnassignedSeller:
    """A seller to whom somebody objects, and of whom the configuration does not say who it is now."""

    key: str
    configured: bool
    """Whether it has a table in the configuration, which no campaign names."""
    objections: int


@dataclass(frozen=True, slots=True, kw_only=True)
class IdleCustomers:
    """Customers who are exempt for no campaign: none of the seller has that product group."""

    seller: str
    product_group: str
    customers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SellersOnRecord:
    """Where the journal speaks of sellers and product groups that no campaign has."""

    unassigned: tuple[UnassignedSeller, ...]
    idle: tuple[IdleCustomers, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedDialplan:
    """What our dialplan files bring into an Asterisk, and how it asks the service, by name."""

    contexts: tuple[str, ...]
    features: tuple[str, ...]
    """The agents' keys, as the application map names them."""
    globals: tuple[str, ...]
    """Those without which no call is dialled."""
    agi_global: str
    """The one that says where this service is."""
    campaign_global: str
    """The one that names the campaign of calls that name none."""
    timeout_global: str
    """The one that limits the wait for a verdict."""
    prefix_global: str
    suffix_global: str
    """What stands before and behind a number in ``Dial``."""
    way_in: str
    """The context that agents' calls enter."""
    modules: tuple[str, ...]
    """Of Asterisk, whose applications and functions our dialplan calls."""
    reasons: tuple[str, ...]
    """With which the dialplan itself blocks."""
    health_script: str
    health_variable: str
    """What that script sets, to ``health_ok`` when all is well."""
    health_ok: str


class Asterisk(Protocol):
    """The console of Asterisk."""

    def ask(self, command: str) -> str:
        """What ``asterisk -rx COMMAND`` prints. Raises ``AsteriskUnavailable``."""
