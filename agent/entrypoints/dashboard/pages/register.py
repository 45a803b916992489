"""The register's loads: which is in force, how old it is, what may be gone back to."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Self

from starlette.responses import Response

from agent.domain.errors import LookupUnavailable
from agent.domain.profile import Profile
from agent.entrypoints.dashboard.visits import Visit
from agent.register_status import RegisterStatus


class Freshness(StrEnum):
    """How urgent the next load is."""

    MISSING = "missing"
    FRESH = "fresh"
    AGEING = "ageing"
    STALE = "stale"


@dataclass(frozen=True, slots=True, kw_only=True)
class Age:
    """How much of its time a load has used up."""

    freshness: Freshness
    days: float = 0
    percent: int = 0
    """At most 100."""

    @classmethod
    def of(cls, status: RegisterStatus, profile: Profile) -> Self:
        """Of the load in force."""
        if status.age is None:
            return cls(freshness=Freshness.MISSING)
        share = status.age / timedelta(days=profile.load_valid_days)
        freshness = Freshness.AGEING if status.ageing else Freshness.FRESH
        return cls(
            freshness=Freshness.STALE if status.stale else freshness,
            days=status.age / timedelta(days=1),
            percent=max(0, min(100, int(share * 100))),
        )


async def show(visit: Visit) -> Response:
    """Everything that ``bmn register status`` says."""
    site = visit.site
    try:
        status = await site.ask(site.app.registers.status, site.profile)
    except LookupUnavailable as error:
        return visit.page("register.html", status=503, register=None, age=None, failure=str(error))
    age = Age.of(status, site.profile)
    return visit.page("register.html", register=status, age=age, profile=site.profile, failure="")
