"""A number's dossier: everything the journal has on it, masked; in full and as a document, for those who may."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from starlette.responses import Response

from agent.adapters.evidence_page import page_words, render
from agent.bootstrap import evidence, now_utc
from agent.domain.dossier import Dossier
from agent.domain.errors import InputRejected
from agent.domain.journal_events import EventType
from agent.domain.phone_number import PhoneNumber, mask, mask_within
from agent.entrypoints.dashboard.forms import position, read_number
from agent.entrypoints.dashboard.visits import Visit
from agent.evidence import days

_SHOWN: Final = 100
"""Attempts; the document has them all."""
_KINDS: Final = {"html": "text/html; charset=utf-8", "json": "application/json"}


async def ask(visit: Visit) -> Response:
    """The form."""
    return visit.page("dossier_form.html", problem="")


async def find(visit: Visit) -> Response:
    """Read the number, and send the browser to an address without it."""
    number = read_number(visit, visit.form.get("number", ""))
    if number is None:
        return visit.page("dossier_form.html", status=400, here="/dossier", problem=visit.words("history.bad_number"))
    return visit.see("dossier-of", word=visit.session.hide(number.e164))


async def open_record(visit: Visit) -> Response:
    """The same for the number of a record of the journal."""
    seq = position(visit.form.get("record", ""))
    record = None if seq is None else await visit.site.ask(visit.site.app.journal.record, seq)
    number = "" if record is None else str(record.body.get("number") or "")
    if not number.startswith("+"):
        raise InputRejected(visit.words("dossier.no_number"))
    return visit.see("dossier-of", word=visit.session.hide(number))


async def show(visit: Visit) -> Response:
    """The dossier, numbers masked."""
    return await _page(visit, revealed=False)


async def reveal(visit: Visit) -> Response:
    """The dossier in full, once the journal has that it was asked for."""
    number = _number(visit)
    if number is not None:
        about = f"number {number.e164}"
        await visit.site.record(visit.session, EventType.NUMBER_REVEALED, what="dossier", filter=about, count=1)
    return await _page(visit, revealed=True)


async def export(visit: Visit) -> Response:
    """The document that ``bmn evidence`` makes. The journal has the export before a byte of it leaves."""
    number, kind = _number(visit), visit.form.get("kind", "")
    if number is None or kind not in _KINDS:
        return _forgotten(visit)
    site, file = visit.site, _Document(kind=kind)
    wired = evidence(site.app, visit.session.user.by)
    period = days(site.profile, None, None, now_utc())
    await site.ask(wired.export, number, site.profile, period, visit.words.language, file, lambda *_: None)
    headers = {"Content-Disposition": f'attachment; filename="{file.name}"'}
    return Response(bytes(file.content), media_type=_KINDS[kind], headers=headers)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Document:
    """See ``agent.evidence.EvidenceFile``: in memory, on its way to a browser."""

    kind: str
    content: bytearray = field(default_factory=bytearray)

    @property
    def name(self) -> str:
        return f"bmn-dossier.{self.kind}"

    def page(self, content: Mapping[str, Any]) -> bytes | None:
        return render(content) if self.kind == "html" else None

    def write(self, document: bytes) -> None:
        self.content.extend(document)

    def publish(self) -> None:
        """There is no name to give: the browser does."""


async def _page(visit: Visit, *, revealed: bool) -> Response:
    number, word = _number(visit), visit.request.path_params["word"]
    if number is None:
        return _forgotten(visit)
    site = visit.site
    wired = evidence(site.app, visit.session.user.by)
    found: Dossier = await site.ask(wired.dossier, number, site.profile, days(site.profile, None, None, now_utc()))
    told = page_words({"language": visit.words.language, "dossier": {"timezone": site.profile.timezone}})
    return visit.page(
        "dossier.html",
        here=visit.below_root(visit.path("dossier-of", word=word)),
        word_of_number=word,
        number=number.e164 if revealed else str(number),
        dossier=found,
        attempts=found.attempts[::-1][:_SHOWN],
        more=max(0, len(found.attempts) - _SHOWN),
        entries=found.entries[::-1],
        told=told["words"],
        word=told["word"],
        text=_text(revealed),
        name=str if revealed else site.masking.name,
        dialled=str if revealed else mask,
        revealed=revealed,
    )


def _text(revealed: bool) -> Callable[[object], str]:
    """How texts are shown that somebody wrote, and that may have numbers in them."""
    return str if revealed else lambda text: mask_within(str(text))


def _number(visit: Visit) -> PhoneNumber | None:
    known = visit.session.hidden(visit.request.path_params["word"])
    return None if known is None else PhoneNumber(digits=known.removeprefix("+"))


def _forgotten(visit: Visit) -> Response:
    problem = visit.words("history.number_forgotten")
    return visit.page("dossier_form.html", status=404, here="/dossier", problem=problem)
