"""What is counted, under which labels, and that counting harms nobody."""

from __future__ import annotations

import inspect
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from prometheus_client import generate_latest

from agent.config_sellers import CampaignSettings
from agent.domain.deadline import Deadline
from agent.domain.errors import ListsBehind, ListsEvicted, LookupTimedOut
from agent.domain.model import Reason
from agent.domain.watch import Watch
from agent.metrics import NO_CAMPAIGN, Metrics
from agent.service_state import State
from tests.metric_families import FULL_STATE, families, make_metrics, state_collector, tell_everything
from tests.waiting import until


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    """One sample."""
    return metrics.registry.get_sample_value(name, labels)


def row(metrics: Metrics) -> dict[str, float]:
    """The technical reasons that the newest verdicts have in a row."""
    name = "bmn_technical_blocks_in_a_row"
    counts = {str(reason): value(metrics, name, reason=reason) for reason in Reason if reason.technical}
    assert None not in counts.values()
    return {reason: count for reason, count in counts.items() if count}


def test_everything_that_can_be_told_is_counted() -> None:
    """Each method of the watch does something else than nothing, and nothing goes wrong."""
    metrics = make_metrics()
    tell_everything(metrics)
    assert value(metrics, "bmn_metrics_errors_total") == 0
    for name in vars(Watch):
        assert name.startswith("__") or name in vars(Metrics), name


def test_a_verdict_is_counted_by_reason_and_campaign() -> None:
    """A campaign that is not configured is one label, whatever was dialled with it."""
    metrics = make_metrics("energy")
    metrics.screened(Reason.REGISTERED, "energy", delivered=True)
    metrics.screened(Reason.REGISTERED, "energy", delivered=False)
    metrics.screened(Reason.UNKNOWN_CAMPAIGN, None, delivered=True)
    counted = {"verdict": "block", "reason": "registered", "campaign": "energy"}
    assert value(metrics, "bmn_verdicts_total", **counted) == 2
    unknown = {"verdict": "block", "reason": "unknown_campaign", "campaign": NO_CAMPAIGN}
    assert value(metrics, "bmn_verdicts_total", **unknown) == 1
    assert value(metrics, "bmn_verdicts_undelivered_total") == 1


def test_no_campaign_can_have_the_name_of_those_that_are_unknown() -> None:
    """Or their verdicts would be added up."""
    from agent.config import Settings

    with pytest.raises(ValueError, match="a name is 1 to 64"):
        Settings(campaigns={NO_CAMPAIGN: CampaignSettings(seller="acme", purpose="service")})


def test_technical_blocks_count_in_a_row_and_begin_anew_after_anything_else() -> None:
    """Another technical reason begins its own row; a verdict that says something of the consumer ends all."""
    metrics = make_metrics()
    for _ in range(3):
        metrics.screened(Reason.LOOKUP_UNAVAILABLE, "energy", delivered=True)
    assert row(metrics) == {"lookup_unavailable": 3}
    metrics.screened(Reason.OVERLOADED, "energy", delivered=True)
    assert row(metrics) == {"overloaded": 1}
    metrics.screened(Reason.NOT_REGISTERED, "energy", delivered=True)
    assert row(metrics) == {}
    metrics.screened(Reason.OVERLOADED, "energy", delivered=True)
    assert row(metrics) == {"overloaded": 1}


def test_notices_without_a_key_count_in_a_row_until_one_is_heard() -> None:
    """A trunk whose keys Asterisk cannot hear looks like that; nothing is said of consumers who hung up before."""
    metrics = make_metrics()
    rows = []
    for came in (False, False, True, False):
        metrics.keys_awaited(came=came)
        rows.append(value(metrics, "bmn_notices_without_keys_in_a_row"))
    assert rows == [1, 2, 0, 1]


def test_the_row_is_counted_right_from_many_threads() -> None:
    """As workers do, here with a switch between them wherever there can be one."""
    metrics = make_metrics()

    def screen() -> None:
        for _ in range(2_000):
            metrics.screened(Reason.OVERLOADED, "energy", delivered=True)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as workers:
            for _ in range(8):
                workers.submit(screen)
    finally:
        sys.setswitchinterval(before)
    assert row(metrics) == {"overloaded": 16_000}


def test_failures_of_redis_are_told_apart() -> None:
    """Slow, dangerous, and everything else."""
    metrics = make_metrics()
    for error in (LookupTimedOut(), ListsEvicted(), ListsBehind()):
        metrics.redis_failed(error)
    kinds = ("timed_out", "evicting", "unavailable")
    assert [value(metrics, "bmn_redis_errors_total", kind=kind) for kind in kinds] == [1, 1, 1]


def test_what_goes_wrong_in_counting_is_counted_and_goes_no_further() -> None:
    """A call must not be blocked because something could not be counted."""
    metrics = make_metrics()
    metrics.screened("nonsense", "energy", delivered=True)  # type: ignore[arg-type]
    metrics.timed({"nonsense": 1.0})  # type: ignore[dict-item]
    assert value(metrics, "bmn_metrics_errors_total") == 2


def test_no_label_holds_a_number_of_a_consumer() -> None:
    """Labels are enum members and configured names; of digits there are the generation's and the version's."""
    allowed = {"verdict", "reason", "campaign", "stage", "result", "ended", "source", "answer", "rejection", "script"}
    allowed |= {"why", "kind", "profile", "generation", "as_of", "due", "version"}
    assert {label for family in families().values() for label in family.labels} == allowed


def text(collector_of: Metrics) -> str:
    """The page."""
    return generate_latest(collector_of.registry).decode()


def test_the_state_is_read_again_only_after_some_time() -> None:
    """However often somebody scrapes."""
    reads: list[Deadline] = []

    def read(deadline: Deadline) -> State:
        reads.append(deadline)
        return FULL_STATE

    metrics = make_metrics()
    with state_collector(read, fresh_s=3_600) as state:
        metrics.registry.register(state)
        assert reads == []
        pages = [text(metrics) for _ in range(5)]
        assert len(reads) == 1
    assert all("bmn_outbox_lag_records 2.0" in page for page in pages)


def test_each_scrape_reads_anew_when_nothing_may_be_kept() -> None:
    """So that the test above cannot pass by accident."""
    reads: list[Deadline] = []

    def read(deadline: Deadline) -> State:
        reads.append(deadline)
        return FULL_STATE

    metrics = make_metrics()
    with state_collector(read, fresh_s=0) as state:
        metrics.registry.register(state)
        text(metrics)
        text(metrics)
    assert len(reads) == 2


def test_a_state_that_cannot_be_read_leaves_the_rest_of_the_page() -> None:
    """And is counted."""
    metrics = make_metrics()

    def broken(_: Deadline) -> State:
        raise RuntimeError("a thing that nobody thought of")

    with state_collector(broken, metrics.errors.inc) as state:
        metrics.registry.register(state)
        page = text(metrics)
    assert "bmn_redis_up" not in page
    assert "bmn_journal_unwritten_records 3.0" in page
    assert value(metrics, "bmn_metrics_errors_total") == 1


def test_a_reading_that_hangs_holds_nobody_up_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scrapes get what was last known, and only one reading is under way."""
    monkeypatch.setattr("agent.state_metrics._WAIT_S", 0.01)
    hanging, go_on = threading.Event(), threading.Event()
    reads: list[Deadline] = []

    def read(deadline: Deadline) -> State:
        reads.append(deadline)
        if len(reads) > 1:
            hanging.set()
            assert go_on.wait(5)
        return FULL_STATE

    metrics = make_metrics()
    with state_collector(read, fresh_s=0) as state:
        metrics.registry.register(state)
        # The first reading may take longer than a scrape waits here.
        until(lambda: "bmn_redis_up 1.0" in text(metrics))
        try:
            for _ in range(20):
                assert "bmn_redis_up 1.0" in text(metrics)
            assert hanging.is_set()
            assert len(reads) == 2
        finally:
            go_on.set()


def test_what_is_not_known_is_left_out() -> None:
    """A dead Redis is a 0, and neither an age of 0 nor an empty register."""
    unknown = State(redis_up=False, redis_bytes=None, registers=(), outbox=None, registrations=None)
    metrics = make_metrics()
    with state_collector(lambda _: unknown) as state:
        metrics.registry.register(state)
        page = text(metrics)
    assert "bmn_redis_up 0.0" in page
    for name in ("bmn_register_age_seconds{", "bmn_register_loaded{", "bmn_outbox_lag", "bmn_registrations"):
        assert name not in page


class Broken:
    """An instrument that fails whatever is done with it."""

    def __getattr__(self, name: str) -> object:
        raise RuntimeError("broken")


@pytest.mark.parametrize("name", [name for name in vars(Watch) if not name.startswith("_")])
def test_nothing_that_is_counted_raises_into_a_call(name: str) -> None:
    """Whatever it is told, and however broken: counting must not decide about a call. What went wrong is counted."""
    metrics = make_metrics()
    for attribute in set(vars(metrics)) - {"errors", "registry"}:
        setattr(metrics, attribute, Broken())
    parameters = list(inspect.signature(getattr(Watch, name)).parameters.values())[1:]
    named = {one.name: object() for one in parameters if one.kind is one.KEYWORD_ONLY}
    getattr(metrics, name)(*[object() for one in parameters if one.kind is not one.KEYWORD_ONLY], **named)
    assert value(metrics, "bmn_metrics_errors_total") == 1
