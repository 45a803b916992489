"""What people fill in, read into values; what cannot be read is said in their words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from functools import partial
from typing import Final, Self, TypeVar

from agent.adapters.journal_views import is_on_record
from agent.domain.history import HistoryFilter
from agent.domain.journal_events import EventType
from agent.domain.model import Reason, Verdict
from agent.domain.phone_number import PhoneNumber, read_recorded
from agent.entrypoints.dashboard.visits import Visit

FIELDS: Final = ("since", "until", "verdict", "reason", "campaign", "seller", "agent", "call", "n")
"""Of the history's addresses. A number stands there as a word of the session (``n``), never itself."""
_LONGEST: Final = 100
Member = TypeVar("Member", bound=StrEnum)


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryQuery:
    """What is looked for in the history."""

    query: Mapping[str, str]
    """``FIELDS`` as they stand in an address; what does not narrow is left out."""
    chosen: HistoryFilter
    problems: tuple[str, ...]
    """What could not be read. Then ``chosen`` is wider than what was meant, and nothing may be shown by it."""

    @classmethod
    def posted(cls, visit: Visit) -> Self:
        """From the form, in which the number stands as it was typed."""
        values, problems = dict(visit.form), list[str]()
        if typed := values.pop("number", "").strip():
            number = read_number(visit, typed)
            if number is None:
                problems.append(visit.words("history.bad_number"))
            else:
                values["n"] = visit.session.hide(number.e164)
        return cls.of(visit, values, problems)

    @classmethod
    def of(cls, visit: Visit, values: Mapping[str, str], problems: list[str] | None = None) -> Self:
        """From an address."""
        given = {name: values.get(name, "").strip()[:_LONGEST] for name in FIELDS}
        wrong = list(problems or ())
        since, until = (_day(visit, given[name], wrong) for name in ("since", "until"))
        known = visit.session.hidden(given["n"]) if given["n"] else None
        if given["n"] and known is None:
            wrong.append(visit.words("history.number_forgotten"))
        verdict, reason = (
            _member(visit, Verdict, given["verdict"], wrong),
            _member(visit, Reason, given["reason"], wrong),
        )
        chosen = HistoryFilter(
            since=_midnight(visit, since),
            until=_midnight(visit, until + timedelta(days=1) if until else None),
            types=frozenset({EventType.CALL_SCREENED}),
            verdict=verdict,
            reason=reason,
            campaign=given["campaign"] or None,
            seller=given["seller"] or None,
            agent=given["agent"] or None,
            number=PhoneNumber(digits=known.removeprefix("+")) if known else None,
            call=given["call"] or None,
        )
        return cls(query={name: value for name, value in given.items() if value}, chosen=chosen, problems=tuple(wrong))

    @property
    def described(self) -> str:
        """What narrows, for the journal."""
        chosen = self.chosen
        told = {
            "since": chosen.since and chosen.since.isoformat(),
            "until": chosen.until and chosen.until.isoformat(),
            "verdict": chosen.verdict,
            "reason": chosen.reason,
            "campaign": chosen.campaign,
            "seller": chosen.seller,
            "agent": chosen.agent,
            "call": chosen.call,
            "number": chosen.number and chosen.number.e164,
        }
        return ", ".join(f"{name} {value}" for name, value in told.items() if value) or "all"


def read_number(visit: Visit, typed: str) -> PhoneNumber | None:
    """A number in any spelling, valid or on record; None when it is neither."""
    app = visit.site.app
    on_record = partial(is_on_record, app.journal)
    number = read_recorded(typed, visit.site.profile, app.settings.dialling.pbx_prefixes, on_record)
    return number if isinstance(number, PhoneNumber) else None


def position(text: str) -> int | None:
    """A record of the journal."""
    return int(text) if text.isdecimal() and len(text) <= 18 else None


def _member(visit: Visit, kind: type[Member], text: str, problems: list[str]) -> Member | None:
    if not text:
        return None
    try:
        return kind(text)
    except ValueError:
        problems.append(visit.words("history.bad_word", text=text, known=", ".join(kind)))
        return None


def _day(visit: Visit, text: str, problems: list[str]) -> date | None:
    if not text:
        return None
    try:
        day = date.fromisoformat(text)
    except ValueError:
        day = date.min
    if not 1970 <= day.year <= 2999:
        problems.append(visit.words("history.bad_day", text=text))
        return None
    return day


def _midnight(visit: Visit, day: date | None) -> datetime | None:
    """When a day begins, where the register's days begin."""
    return None if day is None else datetime.combine(day, time(), visit.site.zone).astimezone(UTC)
