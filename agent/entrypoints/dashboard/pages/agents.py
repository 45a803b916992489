"""Agents who need attention: blocked numbers dialled again, conversations without an offer."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from starlette.responses import Response

from agent.bootstrap import now_utc
from agent.entrypoints.dashboard.visits import Visit

PERIODS: Final = {"day": 1, "week": 7, "month": 30}
_SHOWN: Final = 50


async def show(visit: Visit) -> Response:
    """Both, over one period."""
    asked = visit.request.query_params.get("period", "week")
    period = asked if asked in PERIODS else "week"
    since = now_utc() - timedelta(days=PERIODS[period])
    site, history = visit.site, visit.site.app.history
    return visit.page(
        "agents.html",
        period=period,
        periods=tuple(PERIODS),
        repeated=await site.ask(history.repeated_attempts, since, _SHOWN),
        ranked=await site.ask(history.agents_missing_offers, since, _SHOWN),
        missing=await site.ask(history.missing_offers, since, _SHOWN),
        shown=_SHOWN,
    )
