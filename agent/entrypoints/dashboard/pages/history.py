"""Every screened call: search, page by page, as CSV; and in full, for those who may."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Mapping
from typing import Final

from starlette.responses import RedirectResponse, Response, StreamingResponse

from agent.domain.history import HistoryPage
from agent.domain.journal_events import EventType, Record
from agent.domain.model import Reason, Verdict
from agent.entrypoints.csv_cells import csv_cell
from agent.entrypoints.dashboard.calls import CallRow
from agent.entrypoints.dashboard.forms import HistoryQuery, position
from agent.entrypoints.dashboard.visits import Visit
from agent.entrypoints.masking import Masking

PAGE: Final = 50
_CSV_PAGE: Final = 1_000
_COLUMNS: Final = (
    *("at", "verdict", "reason", "number", "campaign", "seller", "agent", "call", "rule", "generation"),
    "undelivered",
)


async def show(visit: Visit) -> Response:
    """One page, numbers masked."""
    return await _page(visit, HistoryQuery.of(visit, visit.request.query_params))


async def search(visit: Visit) -> Response:
    """Read the form, and send the browser to an address without a number in it."""
    wanted = HistoryQuery.posted(visit)
    if wanted.problems:
        return await _page(visit, wanted)
    return RedirectResponse(visit.link("history", wanted.query), status_code=303)


async def reveal(visit: Visit) -> Response:
    """The same page with numbers in full, once the journal has that they were asked for."""
    wanted = HistoryQuery.of(visit, visit.form)
    if wanted.problems:
        return await _page(visit, wanted, status=400)
    return await _page(visit, wanted, revealed=True)


async def masked_csv(visit: Visit) -> Response:
    """All that match, numbers masked."""
    wanted = HistoryQuery.of(visit, visit.request.query_params)
    if wanted.problems:
        return await _page(visit, wanted, status=400)
    return _csv(visit, wanted, revealed=False)


async def full_csv(visit: Visit) -> Response:
    """The same with numbers in full, recorded first."""
    wanted = HistoryQuery.of(visit, visit.form)
    if wanted.problems:
        return await _page(visit, wanted, status=400)
    await visit.site.record(
        visit.session, EventType.NUMBER_REVEALED, what="call history as CSV", filter=wanted.described, count=None
    )
    return _csv(visit, wanted, revealed=True)


async def _page(visit: Visit, wanted: HistoryQuery, *, revealed: bool = False, status: int = 200) -> Response:
    """Where something could not be read, a page without calls: those found would not be those that were meant."""
    values = visit.form if visit.request.method == "POST" else visit.request.query_params
    before, after = position(values.get("before", "")), position(values.get("after", ""))
    if before is not None:
        after = None
    if wanted.problems:
        page = HistoryPage(records=(), more=False, upto=0)
        before = after = None
    else:
        page = await visit.site.ask(visit.site.app.history.page, wanted.chosen, before=before, after=after, limit=PAGE)
    if after is not None and len(page.records) < PAGE:  # the newest page, whole
        page = await visit.site.ask(visit.site.app.history.page, wanted.chosen, limit=PAGE)
        before = after = None
    if revealed:
        about = f"{wanted.described}; records {', '.join(str(record.seq) for record in page.records) or '-'}"
        await visit.site.record(
            visit.session, EventType.NUMBER_REVEALED, what="call history", filter=about, count=len(page.records)
        )
    older = page.more if after is None else True
    newer = before is not None or (after is not None and page.more)
    return visit.page(
        "history.html",
        status=status,
        here=visit.below_root(visit.link("history", {**wanted.query, "before": before, "after": after})),
        wanted=wanted,
        rows=[
            CallRow.of(
                record,
                visit.words,
                None if revealed else visit.site.masking,
                page.undelivered.get(str(record.body["call"])),
            )
            for record in page.records
        ],
        older=page.records[-1].seq if older and page.records else None,
        newer=page.records[0].seq if newer and page.records else None,
        place={"before": before or "", "after": after or ""},
        verdicts=list(Verdict),
        reasons=list(Reason),
        campaigns=sorted(visit.site.app.settings.campaigns),
        sellers=_sellers(visit),
        revealed=revealed,
    )


def _sellers(visit: Visit) -> dict[str, str]:
    """The names of the sellers by the keys that records name them by, former ones too."""
    found = sorted(visit.site.app.settings.domain_sellers().items())
    return {key: seller.name if key == seller.key else f"{seller.name} ({key})" for key, seller in found}


def _csv(visit: Visit, wanted: HistoryQuery, *, revealed: bool) -> Response:
    name = "bmn-calls-full.csv" if revealed else "bmn-calls.csv"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(_lines(visit, wanted, revealed), media_type="text/csv; charset=utf-8", headers=headers)


async def _lines(visit: Visit, wanted: HistoryQuery, revealed: bool) -> AsyncIterator[str]:
    yield _text([_COLUMNS])
    before: int | None = None
    while True:
        page = await visit.site.ask(visit.site.app.history.page, wanted.chosen, before=before, limit=_CSV_PAGE)
        masking = None if revealed else visit.site.masking
        yield _text([_cells(record, masking, page.undelivered) for record in page.records])
        if not page.more:
            return
        before = page.records[-1].seq


def _cells(record: Record, masking: Masking | None, undelivered: Mapping[str, str]) -> tuple[str, ...]:
    body = {name: masking.field(name, value) if masking else value for name, value in record.body.items()}
    texts = {name: "" if value is None else str(value) for name, value in body.items()} | {"at": record.at.isoformat()}
    texts["undelivered"] = undelivered.get(str(record.body["call"]), "")
    return tuple(csv_cell(texts[name]) for name in _COLUMNS)


def _text(rows: list[tuple[str, ...]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerows(rows)
    return out.getvalue()
