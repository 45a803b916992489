"""Registrations that the registrar is waiting for, the most urgent first."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from starlette.responses import Response

from agent.bootstrap import now_utc
from agent.domain.registration import Registration, RegistrationState
from agent.entrypoints.dashboard.visits import Visit
from agent.registrations import Registrations

_SHOWN: Final = 200
_SOON: Final = timedelta(days=3)
_OPEN: Final = (RegistrationState.PENDING, RegistrationState.REJECTED, RegistrationState.EXPORTED)


class Urgency(StrEnum):
    """How near the deadline of a registration is; the most urgent first."""

    OVERDUE = "overdue"
    SOON = "soon"
    IN_TIME = "in_time"
    DELIVERED = "delivered"
    """The registrar has it, and has not answered yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """A registration that is not finished."""

    item: Registration
    due: datetime
    urgency: Urgency


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """All registrations."""

    counts: dict[RegistrationState, int]
    overdue: int
    open: tuple[Due, ...]
    """The most urgent ones."""
    more: int
    """Open ones that are not shown."""


async def show(visit: Visit) -> Response:
    """Those that are not finished, and how many there are of each state."""
    overview = await visit.site.ask(_overview, visit.site.app.registrations, now_utc())
    return visit.page("registrations.html", overview=overview)


def _overview(registrations: Registrations, now: datetime) -> Overview:
    counts = dict.fromkeys(RegistrationState, 0)
    found: list[Due] = []
    for item in registrations.all():
        counts[item.state] += 1
        if item.state in _OPEN:
            due = registrations.due(item)
            found.append(Due(item=item, due=due, urgency=_urgency(registrations, item, due, now)))
    order = list(Urgency)
    found.sort(key=lambda one: (order.index(one.urgency), one.due))
    return Overview(
        counts=counts,
        overdue=sum(one.urgency is Urgency.OVERDUE for one in found),
        open=tuple(found[:_SHOWN]),
        more=max(0, len(found) - _SHOWN),
    )


def _urgency(registrations: Registrations, item: Registration, due: datetime, now: datetime) -> Urgency:
    if registrations.is_overdue(item):
        return Urgency.OVERDUE
    if item.state is RegistrationState.EXPORTED:
        return Urgency.DELIVERED
    return Urgency.SOON if due - now < _SOON else Urgency.IN_TIME
