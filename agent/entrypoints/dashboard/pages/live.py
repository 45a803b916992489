"""Calls as they are screened."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Final

from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.responses import Response

from agent.config_dashboard import Role
from agent.domain.journal_events import EventType, Record
from agent.domain.model import Verdict
from agent.entrypoints.dashboard.calls import CallRow
from agent.entrypoints.dashboard.live import Calls
from agent.entrypoints.dashboard.visits import Visit

_SHOWN: Final = 50
_LOOKED_BACK: Final = 5_000
"""Records in which the first page looks for calls to show."""


async def show(visit: Visit) -> Response:
    """The newest calls; a script adds those that come."""
    everything = _wants_all(visit)
    head, records = await visit.site.ask(_newest, visit, everything)
    rows = [CallRow.of(record, visit.words, visit.site.masking) for record in reversed(records)]
    return visit.page("live.html", rows=rows, head=head, everything=everything)


async def events(visit: Visit) -> Response:
    """Server-sent events: calls in batches, each with the journal record up to which they go as its id."""
    asked = visit.request.headers.get("last-event-id") or visit.request.query_params.get("after", "")
    after = int(asked[:18]) if asked.isdecimal() else await visit.site.ask(visit.site.tail.head)
    return EventSourceResponse(_stream(visit, after), ping=0)


def _wants_all(visit: Visit) -> bool:
    return visit.request.query_params.get("show") == "all"


def _newest(visit: Visit, everything: bool) -> tuple[int, list[Record]]:
    tail = visit.site.tail
    head = tail.head()
    records, _ = tail.screened(max(0, head - _LOOKED_BACK), head, _LOOKED_BACK)
    return head, [record for record in records if everything or _is_blocked(record)][-_SHOWN:]


async def _stream(visit: Visit, after: int) -> AsyncIterator[ServerSentEvent]:
    async for calls in visit.site.live.watch(after):
        if _is_over(visit):
            yield ServerSentEvent(event="over", data="")
            return
        yield _event(visit, calls)


def _is_over(visit: Visit) -> bool:
    """Whether the session has ended. To watch is to use it, for those who can see nothing in full."""
    site, watching = visit.site, visit.session.user.role is Role.VIEWER
    return site.sessions.find(visit.request.cookies.get(site.session_cookie, ""), use=watching) is None


def _event(visit: Visit, calls: Calls) -> ServerSentEvent:
    shown = [record for record in calls.records if _wants_all(visit) or _is_blocked(record)]
    rows = [CallRow.of(record, visit.words, visit.site.masking) for record in shown]
    told = [
        {
            "seq": row.seq,
            "at": row.at.isoformat(),
            "blocked": row.blocked,
            "cells": {
                "time": row.time,
                "verdict": row.verdict,
                "number": row.number,
                "text": row.number,
                "reason": row.reason,
                "failure": row.failure,
                "campaign": row.campaign,
                "agent": row.agent,
            },
        }
        for row in rows
    ]
    data = json.dumps({"calls": told, "leftOut": calls.left_out}, ensure_ascii=False)
    return ServerSentEvent(event="calls", id=str(calls.upto), data=data)


def _is_blocked(record: Record) -> bool:
    """Nor was anything dialled on a verdict that Asterisk did not get, as far as is known."""
    return record.type is EventType.VERDICT_UNDELIVERED or record.body.get("verdict") == Verdict.BLOCK
