"""``bmn log``."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

import click

from agent.adapters.journal_history import JournalHistory
from agent.adapters.journal_views import JournalCalls
from agent.adapters.sqlite_journal import SqliteJournal
from agent.config import Settings
from agent.domain.errors import JournalReplaced, JournalUnavailable
from agent.domain.history import HistoryFilter, HistoryPage
from agent.domain.journal_events import EventType, Record
from agent.domain.model import DeliveryFailure, Reason, Verdict
from agent.entrypoints.cli import context, log_views, output, reveal
from agent.entrypoints.cli.arguments import Moment, Word, meant
from agent.entrypoints.masking import Masking

_NEWEST: Final = 50
"""Calls shown when neither a number of them nor a time was asked for."""
_PAGE: Final = 1_000
_POLL_S: Final = 0.2
_ALL: Final = "all"
_ALL_OF_THEM: Final = -1
_SCREENED: Final = frozenset({EventType.CALL_SCREENED})
_BEGINNING: Final = datetime(1970, 1, 1, tzinfo=UTC)


@click.command()
@click.option("--since", type=Moment(), help="From this time: 2026-11-01T09:00 (local time), today, or 15m, 2h, 3d.")
@click.option("--until", type=Moment(), help="Before this time.")
@click.option("--verdict", type=Word("verdict", Verdict), help="Only allowed, or only blocked calls: allow, block.")
@click.option("--reason", type=Word("reason", Reason), help="Only calls with this reason, as in the README.")
@click.option("--campaign", help="Only this campaign.")
@click.option("--seller", help="Only this seller.")
@click.option("--agent", help="Only this agent.")
@click.option("--number", help="Only this number, in any spelling.")
@click.option("--call", help="Only the call with this id, as in the CDR.")
@click.option(
    "--type",
    "types",
    type=Word("type", (*EventType, _ALL)),
    multiple=True,
    help="Instead of screened calls: records of this type, as in the README, or all; may be repeated.",
)
@click.option(
    "--missing-offer",
    is_flag=True,
    help="Instead: answered calls in which the agent logged no offer, with what was heard of the notice.",
)
@click.option(
    "--without-end",
    is_flag=True,
    help="Instead: allowed calls of whose end nothing is known: they go on, or their end was never reported.",
)
@click.option("--limit", type=click.IntRange(min=1), help="At most the newest N; default 50, all with --since.")
@click.option("--follow", "-f", is_flag=True, help="Go on showing what happens, until interrupted.")
@reveal.option
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV with a header.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one object a line.")
def log(
    since: datetime | None,
    until: datetime | None,
    verdict: str | None,
    reason: str | None,
    campaign: str | None,
    seller: str | None,
    agent: str | None,
    number: str | None,
    call: str | None,
    types: tuple[str, ...],
    missing_offer: bool,
    without_end: bool,
    limit: int | None,
    follow: bool,
    revealed: bool,
    as_csv: bool,
    as_json: bool,
) -> None:
    """Show screened calls, the newest last.

    \b
    bmn log --verdict block --since 2h      what was blocked in the last two hours
    bmn log --reason register_stale -f      watch for one reason
    bmn log --csv --since 2026-11-01        for a spreadsheet
    bmn log --number 0612345678             every attempt to call a number
    bmn log --type all --call CALL          everything that is recorded of one call
    bmn log --missing-offer --since 1d      conversations in which the register was not pointed at
    bmn log --without-end --since 1d        calls that were allowed, and nobody knows what became of them
    """
    config = context.settings()
    if as_csv and as_json:
        raise click.UsageError("--csv and --json exclude each other")
    if missing_offer and (verdict or reason or types):
        raise click.UsageError(
            "--missing-offer is about calls that were answered: --verdict, --reason and --type do not apply"
        )
    if without_end and (verdict or reason or types or missing_offer or campaign or seller or agent or number or call):
        raise click.UsageError("--without-end shows all such calls: only --since and --limit narrow it")
    if without_end and follow:
        raise click.UsageError("whether a call has an end is known later, so --follow does not go with --without-end")
    if types and (verdict or reason):
        raise click.UsageError("only screened calls have a verdict and a reason: leave --type out")
    if follow and until is not None:
        raise click.UsageError("--follow never ends, so --until does not go with it")
    shown = _shown_types(types, missing_offer=missing_offer)
    chosen = HistoryFilter(
        since=since,
        until=until,
        types=shown,
        verdict=Verdict(verdict) if verdict else None,
        reason=Reason(reason) if reason else None,
        campaign=campaign,
        seller=seller,
        agent=agent,
        number=context.recorded_number(config, number) if number else None,
        call=call,
    )
    if revealed:
        with context.application() as app:
            reveal.record(app, "call log", _in_words(chosen), None)
    masking = None if revealed else Masking.of(config)
    view = log_views.MISSING_OFFER if missing_offer else log_views.RECORDS if types else log_views.SCREENED
    newest = limit if limit is not None else None if since else _NEWEST
    with ExitStack() as opened:
        log_file = _Log(config, chosen, opened, missing_offer=missing_offer, without_end=without_end)
        records = log_file.records(newest)
        show = log_views.csv_writer(view) if as_csv else log_views.show_json if as_json else log_views.table(view)
        if not _show(records, show, log_file, view, masking) and not (as_csv or as_json):
            click.echo(f"nothing matches{_hint(config, chosen)}", err=True)
        if follow:
            with suppress(KeyboardInterrupt):
                _show(log_file.following(), show, log_file, view, masking)


Found = tuple[Record, DeliveryFailure | None]


class _Log:
    """The journal as this command reads it. When another one takes its place, that one is followed.

    Each record comes with what is known of a verdict that Asterisk did not confirm; when screened calls are followed, a
    record of its own says that, because the screening was shown before.
    """

    def __init__(
        self, config: Settings, chosen: HistoryFilter, opened: ExitStack, *, missing_offer: bool, without_end: bool
    ) -> None:
        self._config = config
        self._chosen = chosen
        self._opened = opened
        self._missing_offer = missing_offer
        self._without_end = without_end
        self._open()
        self._upto = self._journal.head().seq

    def _open(self) -> None:
        path, key_path = self._config.journal.path, self._config.journal.key_path
        self._journal = SqliteJournal(path, key_path, create=False, progress=output.say_update)
        self._opened.callback(self._journal.close)
        self._history = JournalHistory(self._journal)
        self.calls = JournalCalls(self._journal)
        self._inode = path.stat().st_ino

    def records(self, newest: int | None) -> Iterable[Found]:
        """The newest, or all, in the order in which they were recorded."""
        if self._missing_offer:
            since = self._chosen.since or _BEGINNING
            return ((record, None) for record in reversed(self._history.missing_offers(since, newest, self._chosen)))
        if self._without_end:
            since = self._chosen.since or _BEGINNING
            found = self._history.unfinished_calls(since, newest or _ALL_OF_THEM)
            return ((record, None) for record in reversed(found))
        if newest is None:
            return self._after(0, self._chosen)
        return _oldest_first(self._history.page(self._chosen, before=self._upto + 1, limit=newest))

    def _after(self, seq: int, chosen: HistoryFilter) -> Iterator[Found]:
        """All that match after a record, page by page; at the end of it all up to then is known."""
        more = True
        while more:
            page = self._history.page(chosen, after=seq, limit=_PAGE)
            yield from _oldest_first(page)
            more = page.more
            seq = page.records[0].seq if more else page.upto
        self._upto = seq

    def following(self) -> Iterator[Found]:
        """What is appended from now on, without an end."""
        chosen = self._chosen
        if chosen.types == _SCREENED and chosen.wanted_reasons is None:
            chosen = replace(chosen, types=_SCREENED | {EventType.VERDICT_UNDELIVERED})
        while True:
            with suppress(JournalReplaced):  # the new one is opened below
                for record, undelivered in self._after(self._upto, chosen):
                    if not self._missing_offer or self._history.lacks_offer(record):
                        yield record, undelivered
            sys.stdout.flush()
            time.sleep(_POLL_S)
            self._reopen_replaced()

    def _reopen_replaced(self) -> None:
        """Go on with the journal that is there now, when it is another file, or one that was set back."""
        try:
            replaced = self._config.journal.path.stat().st_ino != self._inode
        except OSError:  # between the old one and the new one
            return
        if not replaced:
            with suppress(JournalReplaced):
                self._upto = min(self._upto, self._journal.head().seq)
                return
        left = self._journal
        try:
            self._open()
        except JournalUnavailable:  # not whole yet
            return
        known = self._journal.id == left.id
        self._upto = min(self._upto, self._journal.head().seq) if known else 0
        left.close()
        click.echo("bmn: the journal was replaced; going on with the new one", err=True)


def _shown_types(types: tuple[str, ...], *, missing_offer: bool) -> frozenset[EventType]:
    if missing_offer:
        return frozenset({EventType.CALL_FINISHED})
    if _ALL in types:
        return frozenset()
    return frozenset(EventType(name) for name in types) or _SCREENED


def _oldest_first(page: HistoryPage) -> Iterator[Found]:
    return ((record, page.undelivered.get(str(record.body.get("call")))) for record in reversed(page.records))


def _show(
    records: Iterable[Found],
    show: Callable[[log_views.Row], None],
    log_file: _Log,
    view: log_views.View,
    masking: Masking | None,
) -> bool:
    """Print them; whether there were any."""
    any_shown = False
    for record, undelivered in records:
        show(log_views.row_of(view, log_file.calls, record, masking, undelivered))
        any_shown = True
    return any_shown


def _in_words(chosen: HistoryFilter) -> str:
    """How the records that are revealed were selected."""
    given = {
        "type": " ".join(sorted(chosen.types - _SCREENED)),
        "verdict": chosen.verdict,
        "reason": chosen.reason,
        "campaign": chosen.campaign,
        "seller": chosen.seller,
        "agent": chosen.agent,
        "number": chosen.number and chosen.number.e164,
        "call": chosen.call,
        "until": chosen.until,
    }
    words = ", ".join(f"{name} {value}" for name, value in given.items() if value) or "all"
    return f"{words}; since {chosen.since or '-'}"


def _hint(config: Settings, chosen: HistoryFilter) -> str:
    """What may be misspelt, where nothing was found."""
    for kind, name, known in (
        ("campaign", chosen.campaign, config.campaigns),
        ("seller", chosen.seller, config.domain_sellers()),
    ):
        if name is not None and name not in known:
            return f"; no {kind} {name!r} is configured{meant(name, sorted(known))}"
    return ""
