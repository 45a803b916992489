"""The part of ``/metrics`` that is read when somebody asks: how Redis, the journal and the register stand.

Reading takes place on one thread of its own and at most every few seconds, whoever asks and however often. Who asks
waits a moment for it, then gets what was last known.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as TooLate
from datetime import timedelta
from time import monotonic
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from agent.domain.deadline import Deadline
from agent.domain.registration import Due
from agent.service_state import State

FRESH_S: Final = 5.0
"""How old the state may be that a scrape is told."""
_READ_MS: Final = 500
_WAIT_S: Final = 2.0


class StateCollector(Collector):
    """Reports the state that ``read`` learns by a deadline. Thread-safe; ``close`` it."""

    def __init__(
        self,
        read: Callable[[Deadline], State],
        unwritten: Callable[[], int],
        lines_dropped: Callable[[], int],
        failed: Callable[[], None],
        *,
        fresh_s: float = FRESH_S,
    ) -> None:
        """``unwritten`` and ``lines_dropped`` are cheap, asked each time; ``failed`` is told when ``read`` raises."""
        self._read = read
        self._unwritten = unwritten
        self._lines_dropped = lines_dropped
        self._failed = failed
        self._fresh_s = fresh_s
        self._known: State | None = None
        self._until = 0.0
        self._reading: Future[None] | None = None
        self._turn = threading.Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="metrics-state")

    def close(self) -> None:
        """Let a reading that is under way end, within its deadline."""
        self._thread.shutdown()

    def describe(self) -> Iterator[Metric]:
        """Nothing: the names are known without reading anything."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """All metrics of the state; what is not known now is left out."""
        yield GaugeMetricFamily(
            "bmn_journal_unwritten_records", "Appends that wait for the disk.", value=self._unwritten()
        )
        yield CounterMetricFamily(
            "bmn_log_lines_dropped",
            "Lines of the log that nobody took, or that could not be written.",
            value=self._lines_dropped(),
        )
        state = self._state()
        if state is not None:
            yield from _redis(state)
            yield from _register(state)
            yield from _outbox(state)
            yield from _registrations(state)

    def _state(self) -> State | None:
        with self._turn:
            if monotonic() >= self._until and (self._reading is None or self._reading.done()):
                self._reading = self._thread.submit(self._refresh)
            reading = self._reading
        if reading is not None:
            try:
                reading.result(_WAIT_S)
            except TooLate:
                return self._known
        return self._known

    def _refresh(self) -> None:
        try:
            self._known = self._read(Deadline.after_ms(_READ_MS))
        except Exception:  # noqa: BLE001  # whatever it was, it is counted, and what can be counted is told
            self._known = None
            self._failed()
        self._until = monotonic() + self._fresh_s


def _redis(state: State) -> Iterator[Metric]:
    yield GaugeMetricFamily("bmn_redis_up", "1 when Redis answers and may be believed.", value=state.redis_up)
    if state.redis_bytes is not None:
        yield GaugeMetricFamily("bmn_redis_memory_bytes", "Memory that Redis uses.", value=state.redis_bytes)


def _register(state: State) -> Iterator[Metric]:
    def gauge(name: str, meaning: str, *labels: str) -> GaugeMetricFamily:
        return GaugeMetricFamily(name, meaning, labels=("profile", *labels))

    loaded = gauge("bmn_register_loaded", "1 when a load of the register is in force, 0 when there is none.")
    age = gauge("bmn_register_age_seconds", "Age of the load in force, from the start of its as-of day.")
    share = gauge("bmn_register_age_ratio", "Age of the load in force as a share of its period; stale above 1.")
    entries = gauge("bmn_register_entries", "Numbers in the load in force.")
    info = gauge("bmn_register_generation_info", "Which load is in force.", "generation", "as_of")
    for register in state.registers:
        labels = [register.profile.key]
        loaded.add_metric(labels, register.generation is not None)
        if register.generation is not None and register.age is not None:
            age.add_metric(labels, register.age.total_seconds())
            share.add_metric(labels, register.age / timedelta(days=register.profile.load_valid_days))
            entries.add_metric(labels, register.generation.count)
            info.add_metric([*labels, register.generation.id, register.generation.as_of.isoformat()], 1)
    yield from (loaded, age, share, entries, info)


def _outbox(state: State) -> Iterator[Metric]:
    if state.outbox is None:
        return
    yield GaugeMetricFamily(
        "bmn_outbox_lag_records",
        "List changes of the journal that Redis has yet to apply, counted up to 2,000.",
        value=state.outbox.records,
    )
    yield GaugeMetricFamily(
        "bmn_outbox_lag_seconds",
        "How long ago the oldest of them was recorded.",
        value=state.outbox.oldest.total_seconds(),
    )


def _registrations(state: State) -> Iterator[Metric]:
    if state.registrations is None:
        return
    pending = GaugeMetricFamily(
        "bmn_registrations_pending",
        "Registrations that the registrar must still get, by how near their deadline is.",
        labels=("due",),
    )
    for due in Due:
        pending.add_metric([due], state.registrations.due[due])
    oldest = state.registrations.oldest or timedelta()
    yield pending
    yield GaugeMetricFamily(
        "bmn_registrations_oldest_pending_seconds",
        "How long ago the oldest of them was said; 0: there is none.",
        value=oldest.total_seconds(),
    )
    yield GaugeMetricFamily(
        "bmn_registrations_unanswered",
        "Registrations that were handed over, and of which the registrar has said nothing yet.",
        value=state.registrations.unanswered,
    )
