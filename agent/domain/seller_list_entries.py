"""Entries of a seller's own lists: who objected, and who is a customer by which sale."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from agent.domain.phone_number import PhoneNumber


@dataclass(frozen=True, slots=True, kw_only=True)
class OptOut:
    """A consumer's objection to one seller, in force."""

    seller: str
    number: PhoneNumber
    since: datetime
    source: str
    note: str | None
    by: str
    objected_on: date | None = None
    """The day of the objection, where that was told; ``since`` is when it was recorded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Objection:
    """One objection as it came in."""

    source: str
    """How: a letter, an e-mail, …"""
    note: str | None = None
    objected_on: date | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sale:
    """The evidence that makes somebody a customer: what was sold, when, and where that can be seen."""

    sold_on: date
    product: str
    evidence: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Customer:
    """A customer of a seller for one product group, in force."""

    seller: str
    product_group: str
    number: PhoneNumber
    sale: Sale
    since: datetime
    source: str
    by: str
