"""Registrations that the registrar is waiting for, the most urgent first."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from starlette.responses import Response

from agent.domain.registration import Due, Registration, RegistrationState
from agent.entrypoints.dashboard.visits import Visit
from agent.registrations import Registrations

_SHOWN: Final = 200
_OPEN: Final = (RegistrationState.PENDING, RegistrationState.REJECTED, RegistrationState.EXPORTED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Open:
    """A registration that is not finished."""

    item: Registration
    due: datetime
    nearness: Due | None
    """None: the registrar has it, and has not answered yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """All registrations."""

    counts: dict[RegistrationState, int]
    overdue: int
    open: tuple[Open, ...]
    """The most urgent ones."""
    more: int
    """Open ones that are not shown."""


async def show(visit: Visit) -> Response:
    """Those that are not finished, and how many there are of each state."""
    overview = await visit.site.ask(_overview, visit.site.app.registrations)
    return visit.page("registrations.html", overview=overview)


def _overview(registrations: Registrations) -> Overview:
    counts = dict.fromkeys(RegistrationState, 0)
    found: list[Open] = []
    for item in registrations.all():
        counts[item.state] += 1
        if item.state in _OPEN:
            found.append(Open(item=item, due=registrations.due(item), nearness=registrations.nearness(item)))
    order: list[Due | None] = [*Due, None]
    found.sort(key=lambda one: (order.index(one.nearness), one.due))
    return Overview(
        counts=counts,
        overdue=sum(one.nearness is Due.OVERDUE for one in found),
        open=tuple(found[:_SHOWN]),
        more=max(0, len(found) - _SHOWN),
    )
