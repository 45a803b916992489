"""Everything on one number."""

from __future__ import annotations

from starlette.responses import Response

from agent.entrypoints.dashboard.visits import Visit


async def show(visit: Visit) -> Response:
    """The form."""
    return visit.page("dossier.html")


async def open_record(visit: Visit) -> Response:
    """The dossier of a record's number."""
    return visit.page("dossier.html")
