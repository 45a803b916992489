"""Every metric that the code can tell, found by making it tell all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from prometheus_client import CollectorRegistry

from agent.choices import UNDO, Rejection
from agent.domain.call_story import NoticeResult
from agent.domain.choice import Answer, Source
from agent.domain.deadline import Deadline
from agent.domain.errors import ListsEvicted, LookupTimedOut, LookupUnavailable
from agent.domain.model import Generation, Reason
from agent.domain.profile import NL_BMNR
from agent.domain.registration import Due
from agent.domain.watch import Abort, Stage
from agent.metrics import Metrics
from agent.notices import NoticeEnd
from agent.outbox import Backlog
from agent.service_state import RegisterState, RegistrationsState, State
from agent.state_metrics import StateCollector

FULL_STATE = State(
    redis_up=True,
    redis_bytes=1_000_000,
    registers=(
        RegisterState(
            profile=NL_BMNR,
            generation=Generation(
                id="20261101T080000-0a1b",
                profile=NL_BMNR.key,
                as_of=date(2026, 11, 1),
                loaded_at=datetime(2026, 11, 1, 8, tzinfo=UTC),
                count=1_000,
                sha256="0" * 64,
            ),
            age=timedelta(days=7),
        ),
    ),
    outbox=Backlog(records=2, oldest=timedelta(seconds=30)),
    registrations=RegistrationsState(
        due={Due.OVERDUE: 1, Due.WITHIN_1_DAY: 2, Due.WITHIN_3_DAYS: 3, Due.LATER: 4},
        unanswered=5,
        oldest=timedelta(days=11),
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One metric as Prometheus knows it."""

    kind: str
    meaning: str
    labels: frozenset[str]


def make_metrics(*campaigns: str) -> Metrics:
    """Metrics on a registry of their own."""
    return Metrics(CollectorRegistry(), campaigns or ("energy",), version="0.0.0", screening_deadline_ms=1_000)


@contextmanager
def state_collector(
    read: Callable[[Deadline], State], failed: Callable[[], None] = lambda: None, **options: Any
) -> Iterator[StateCollector]:
    """A collector whose journal has three appends waiting, and whose log has dropped four lines."""
    collector = StateCollector(read, lambda: 3, lambda: 4, failed, **options)
    try:
        yield collector
    finally:
        collector.close()


def tell_everything(metrics: Metrics) -> None:
    """Let everything happen once, with every word that there is for it."""
    for reason in Reason:
        metrics.screened(reason, "energy", delivered=True)
        metrics.screened(reason, None, delivered=False)
    metrics.timed(dict.fromkeys(Stage, 0.01))
    metrics.finished("energy", offered=True)
    metrics.finished("energy", offered=False)
    for result in NoticeResult:
        for ended in (*NoticeEnd, None):
            metrics.notices_played(result, ended)
    metrics.keys_awaited(came=False)
    metrics.keys_awaited(came=True)
    for source in Source:
        for answer in (*Answer, UNDO):
            metrics.chosen(source, answer)
    for rejection in Rejection:
        metrics.key_rejected(rejection)
    for script in ("screen", "notice", "key", "finish", "left", "health"):
        metrics.session_began(script)
        metrics.session_ended(script)
        metrics.overloaded(script)
        metrics.request_failed(script)
    for why in Abort:
        metrics.session_aborted(why)
    metrics.dialogue_began()
    metrics.dialogue_ended()
    metrics.peer_refused()
    metrics.worker_stuck()
    metrics.accept_failed()
    metrics.committed(1, 0.001)
    metrics.commit_failed()
    metrics.redis_connected()
    for error in (LookupTimedOut(), ListsEvicted(), LookupUnavailable()):
        metrics.redis_failed(error)


def families() -> dict[str, Family]:
    """By name, as it stands on the page; without those of the process."""
    metrics = make_metrics()
    tell_everything(metrics)
    with state_collector(lambda _: FULL_STATE) as state:
        metrics.registry.register(state)
        found = list(metrics.registry.collect())
    suffix = {"counter": "_total", "info": "_info"}
    return {
        family.name + suffix.get(family.type, ""): Family(
            kind="gauge" if family.type == "info" else family.type,
            meaning=family.documentation,
            labels=frozenset(label for sample in family.samples for label in sample.labels) - {"le"},
        )
        for family in found
        if not family.name.startswith("process_")
    }


def series_names() -> set[str]:
    """Every name that an expression may use, of the process and of histograms too."""
    metrics = make_metrics()
    tell_everything(metrics)
    with state_collector(lambda _: FULL_STATE) as state:
        metrics.registry.register(state)
        names = {sample.name for family in metrics.registry.collect() for sample in family.samples}
    return {name for name in names if not name.endswith("_created")}
