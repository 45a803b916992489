"""What ``/metrics`` counts: one metric for each kind of event, labelled with enum members and configured names only.

No number, agent or call id ever becomes a label. What has to be asked of Redis or the journal is in
``agent.state_metrics``.
"""

from __future__ import annotations

import functools
import itertools
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from typing import Any, Final, TypeVar, cast

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info
from prometheus_client.process_collector import ProcessCollector

from agent.domain.call_story import NoticeResult
from agent.domain.choice import Source
from agent.domain.condition import Loss
from agent.domain.errors import ListsEvicted, LookupTimedOut, LookupUnavailable
from agent.domain.model import Reason
from agent.domain.watch import Abort, Stage, Watch
from agent.notices import NoticeEnd

NO_CAMPAIGN: Final = "-"
"""The label of screenings whose campaign is not configured; no configured name begins like that."""
_SCREENING_BUCKETS: Final = (
    *(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05),
    *(0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0),
)
_COMMIT_BUCKETS: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 2.0)

_Method = TypeVar("_Method", bound=Callable[..., None])


class Offer(StrEnum):
    """Whether the agent logged that he pointed at the register."""

    MADE = "made"
    MISSED = "missed"


class Outcome(StrEnum):
    """Of an attempt."""

    DONE = "done"
    FAILED = "failed"


class RedisFailure(StrEnum):
    """How Redis failed."""

    TIMED_OUT = "timed_out"
    EVICTING = "evicting"
    UNAVAILABLE = "unavailable"


def _harmless(method: _Method) -> _Method:
    """Count what goes wrong in counting, and let the call go on: an answer must never depend on it."""

    @functools.wraps(method)
    def counted(self: Metrics, *arguments: Any, **named: Any) -> None:
        try:
            method(self, *arguments, **named)
        except Exception:  # noqa: BLE001  # see above
            self.errors.inc()

    return cast("_Method", counted)


class Metrics(Watch):
    """Counts for ``registry``. Thread-safe."""

    def __init__(
        self, registry: CollectorRegistry, campaigns: Iterable[str], *, version: str, screening_deadline_ms: int
    ) -> None:
        """``campaigns`` are the configured names: no other becomes a label."""
        self.registry = registry
        self._last_reason: Reason | None = None
        self._in_a_row = 0
        self._row = threading.Lock()
        ProcessCollector(registry=registry)
        self.errors = self._counter("bmn_metrics_errors", "Things that could not be counted or read.")
        Info("bmn_build", "The version that runs.", registry=registry).info({"version": version})
        self._gauge(
            "bmn_screening_deadline_seconds", "Within what time a screening must be answered (agi.deadline_ms)."
        ).set(screening_deadline_ms / 1000)
        self._make_screening_metrics()
        self._make_conversation_metrics(campaigns)
        self._make_session_metrics()
        self._make_store_metrics()

    def _make_screening_metrics(self) -> None:
        self._verdicts = self._counter(
            "bmn_verdicts", "Verdicts; campaign is - when it is not configured.", "verdict", "reason", "campaign"
        )
        self._undelivered = self._counter(
            "bmn_verdicts_undelivered", "Verdicts that Asterisk did not confirm: it had hung up, or stopped waiting."
        )
        self._row_length = self._gauge(
            "bmn_technical_blocks_in_a_row",
            "How many of the newest verdicts are blocks with this one technical reason, without any other between.",
            "reason",
        )
        for reason in Reason:
            if reason.technical:
                self._row_length.labels(reason)
        self._screening_seconds = Histogram(
            "bmn_screening_seconds",
            "Where the time of a screening goes.",
            ("stage",),
            buckets=_SCREENING_BUCKETS,
            registry=self.registry,
        )
        self._stages = {stage: self._screening_seconds.labels(stage) for stage in Stage}

    def _make_conversation_metrics(self, campaigns: Iterable[str]) -> None:
        self._offers = self._counter(
            "bmn_offers", "Conversations that called for an offer, by whether it was logged.", "result", "campaign"
        )
        for campaign in campaigns:
            for offer in Offer:
                self._offers.labels(offer, campaign)
        self._notices = self._counter(
            "bmn_notices", "Notices that were due, by how much was heard and how they ended.", "result", "ended"
        )
        for result, ended in itertools.product(NoticeResult, NoticeEnd):
            self._notices.labels(result, ended)
        self._keyless = self._gauge(
            "bmn_notices_without_keys_in_a_row",
            "How many of the newest notices whose questions were heard to the end got no key at all.",
        )
        self._dialogues = self._gauge("bmn_dialogues_open", "Consumers who are hearing a notice or answering it.")
        self._choices = self._counter("bmn_choices", "Answers and keys that are on disk.", "source", "answer")
        self._keys_rejected = self._counter("bmn_keys_rejected", "Keys of agents that were not recorded.", "rejection")

    def _make_session_metrics(self) -> None:
        self._sessions = self._counter("bmn_agi_sessions", "AGI sessions that were handed to a script.", "script")
        self._sessions_open = self._gauge("bmn_agi_sessions_open", "AGI sessions that are being served.", "script")
        self._overloads = self._counter(
            "bmn_agi_overloads", "Requests that waited longer than their deadline.", "script"
        )
        self._failed = self._counter("bmn_agi_requests_failed", "Requests that met an unexpected error.", "script")
        self._aborted = self._counter("bmn_agi_sessions_aborted", "AGI sessions that broke off.", "why")
        for why in Abort:
            self._aborted.labels(why)
        self._refused = self._counter("bmn_agi_peers_refused", "Connections from outside agi.allowed_peers.")
        self._stuck = self._counter(
            "bmn_agi_workers_stuck", "Workers that hung in a session; others took their places."
        )
        self._accept_failures = self._counter("bmn_agi_accept_failures", "Times that no connection could be taken.")

    def _make_store_metrics(self) -> None:
        self._records = self._counter("bmn_journal_records", "Journal records that this process put on disk.")
        self._commit_seconds = Histogram(
            "bmn_journal_commit_seconds",
            "How long one transaction of the journal takes, fsync included.",
            buckets=_COMMIT_BUCKETS,
            registry=self.registry,
        )
        self._last_commit = self._gauge(
            "bmn_journal_last_commit_timestamp_seconds", "When this process last put a record on disk; 0: not yet."
        )
        self._journal_errors = self._counter("bmn_journal_errors", "Transactions of the journal that failed.")
        self._lost = self._counter(
            "bmn_journal_lost_records", "Records that were promised for later and will never be on disk."
        )
        self._closed = self._counter(
            "bmn_calls_closed_unknown", "Allowed calls that got no end, and whose books were closed without one."
        )
        self._redis_connections = self._counter("bmn_redis_connections", "Connections opened for lookups.")
        self._redis_silences = self._counter(
            "bmn_redis_silent_connections", "Times that kept connections were found to be dead without a word."
        )
        self._redis_errors = self._counter("bmn_redis_errors", "Failures of Redis.", "kind")
        for kind in RedisFailure:
            self._redis_errors.labels(kind)
        self._redis_losses = self._counter(
            "bmn_redis_losses", "Times that Redis was found to have lost a part of what it should hold.", "kind"
        )
        for loss in Loss:
            self._redis_losses.labels(loss)
        self._repairs = self._counter(
            "bmn_register_repairs", "Attempts to load a register again that Redis lost.", "result"
        )
        for outcome in Outcome:
            self._repairs.labels(outcome)

    def _counter(self, name: str, meaning: str, *labels: str) -> Counter:
        return Counter(name, meaning, labels, registry=self.registry)

    def _gauge(self, name: str, meaning: str, *labels: str) -> Gauge:
        return Gauge(name, meaning, labels, registry=self.registry)

    @_harmless
    def screened(self, reason: Reason, campaign: str | None, *, delivered: bool) -> None:
        """See ``Watch``."""
        self._verdicts.labels(reason.verdict, reason, campaign or NO_CAMPAIGN).inc()
        if not delivered:
            self._undelivered.inc()
        with self._row:
            before = self._last_reason
            self._in_a_row = self._in_a_row + 1 if reason is before else 1
            self._last_reason = reason
            if before is not None and before.technical and before is not reason:
                self._row_length.labels(before).set(0)
            if reason.technical:
                self._row_length.labels(reason).set(self._in_a_row)

    @_harmless
    def timed(self, seconds: Mapping[Stage, float]) -> None:
        """See ``Watch``."""
        for stage, spent in seconds.items():
            self._stages[stage].observe(spent)

    @_harmless
    def finished(self, campaign: str, *, offered: bool) -> None:
        """See ``Watch``."""
        self._offers.labels(Offer.MADE if offered else Offer.MISSED, campaign).inc()

    @_harmless
    def dialogue_began(self) -> None:
        """See ``Watch``."""
        self._dialogues.inc()

    @_harmless
    def dialogue_ended(self) -> None:
        """See ``Watch``."""
        self._dialogues.dec()

    @_harmless
    def notices_played(self, result: StrEnum, ended: StrEnum | None, count: int = 1) -> None:
        """See ``Watch``."""
        self._notices.labels(result, ended or "no_call").inc(count)

    @_harmless
    def keys_awaited(self, *, came: bool) -> None:
        """See ``Watch``."""
        if came:
            self._keyless.set(0)
        else:
            self._keyless.inc()

    @_harmless
    def chosen(self, source: Source, answer: str) -> None:
        """See ``Watch``."""
        self._choices.labels(source, answer).inc()

    @_harmless
    def key_rejected(self, rejection: StrEnum) -> None:
        """See ``Watch``."""
        self._keys_rejected.labels(rejection).inc()

    @_harmless
    def session_began(self, script: str) -> None:
        """See ``Watch``."""
        self._sessions.labels(script).inc()
        self._sessions_open.labels(script).inc()

    @_harmless
    def session_ended(self, script: str) -> None:
        """See ``Watch``."""
        self._sessions_open.labels(script).dec()

    @_harmless
    def overloaded(self, script: str) -> None:
        """See ``Watch``."""
        self._overloads.labels(script).inc()

    @_harmless
    def request_failed(self, script: str) -> None:
        """See ``Watch``."""
        self._failed.labels(script).inc()

    @_harmless
    def session_aborted(self, why: Abort) -> None:
        """See ``Watch``."""
        self._aborted.labels(why).inc()

    @_harmless
    def peer_refused(self) -> None:
        """See ``Watch``."""
        self._refused.inc()

    @_harmless
    def worker_stuck(self) -> None:
        """See ``Watch``."""
        self._stuck.inc()

    @_harmless
    def accept_failed(self) -> None:
        """See ``Watch``."""
        self._accept_failures.inc()

    @_harmless
    def committed(self, records: int, seconds: float) -> None:
        """See ``Watch``."""
        self._records.inc(records)
        self._commit_seconds.observe(seconds)
        self._last_commit.set(time.time())

    @_harmless
    def commit_failed(self) -> None:
        """See ``Watch``."""
        self._journal_errors.inc()

    @_harmless
    def records_lost(self, records: int) -> None:
        """See ``Watch``."""
        self._lost.inc(records)

    @_harmless
    def calls_closed(self, calls: int) -> None:
        """See ``Watch``."""
        self._closed.inc(calls)

    @_harmless
    def redis_connected(self) -> None:
        """See ``Watch``."""
        self._redis_connections.inc()

    @_harmless
    def redis_fell_silent(self) -> None:
        """See ``Watch``."""
        self._redis_silences.inc()

    @_harmless
    def redis_lost(self, loss: Loss) -> None:
        """See ``Watch``."""
        self._redis_losses.labels(loss).inc()

    @_harmless
    def register_repaired(self, *, done: bool) -> None:
        """See ``Watch``."""
        self._repairs.labels(Outcome.DONE if done else Outcome.FAILED).inc()

    @_harmless
    def redis_failed(self, error: LookupUnavailable) -> None:
        """See ``Watch``."""
        match error:
            case LookupTimedOut():
                kind = RedisFailure.TIMED_OUT
            case ListsEvicted():
                kind = RedisFailure.EVICTING
            case _:
                kind = RedisFailure.UNAVAILABLE
        self._redis_errors.labels(kind).inc()
