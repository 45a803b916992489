"""Short runs of the measurements, so that they still work when somebody needs them."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent.adapters.journal_check import verify
from agent.adapters.sqlite_journal import SqliteJournal
from agent.domain.deadline import Deadline
from agent.domain.journal_events import Event, EventType, JsonValue
from tests.bench import (
    classic_limit,
    effective_at_once,
    history,
    import_register,
    lookup_cost,
    metrics_cost,
    mixed_load,
    national_scale,
    raced_screenings,
    screening_beside_loads,
    screening_beside_notices,
    scrub,
)
from tests.bench.import_register import dutch_numbers, measure
from tests.bench.journal_maker import make_journal


def test_the_import_can_be_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """On few numbers; the figures are for the long run."""
    monkeypatch.setattr(import_register, "give_way", lambda: None)  # it would be for all tests that follow
    with tempfile.TemporaryDirectory(prefix="bmn-") as folder:
        figures = dict(measure(5_000, Path(folder)))
    assert figures["numbers"] == "5,000"
    assert float(figures["Redis, bytes/number"]) > 0


def test_the_cost_of_a_lookup_can_be_measured() -> None:
    """On our side, and on that of Redis."""
    assert [name for name, bare, ours in lookup_cost.measure(20, 2) if bare > 0 and ours > 0] == [
        "wall",
        "this process",
        "Redis",
    ]


def test_no_verdict_is_wrong_while_loads_come_and_go() -> None:
    """Each is compared with the load that it rests on; the long run is tests.bench.screening_beside_loads."""
    figures = dict(screening_beside_loads.measure(3_000, 8))
    assert (figures["wrong verdicts"], figures["errors"]) == ("0", "0")
    assert int(figures["generations that answered"]) > 2
    assert int(figures["screenings meanwhile"].replace(",", "")) > 100


def test_a_wrong_verdict_would_be_found() -> None:
    """By what the load holds, and by when it was in force."""
    model = screening_beside_loads.Model()
    model.contents = {"a": frozenset({"0612345678"}), "b": frozenset()}
    model.change("a", 10.0, 11.0)
    model.change("b", 20.0, 21.0)

    def seen(reason: str, began: float, generation: str) -> bool:
        screened = screening_beside_loads.Screened("call", "0612345678", reason, began, began + 1)
        return model.is_right(screened, generation)

    assert seen("registered", 12.0, "a")
    assert not seen("not_registered", 12.0, "a")
    assert seen("registered", 20.5, "a")
    assert not seen("registered", 22.0, "a")
    assert seen("not_registered", 22.0, "b")
    assert not seen("not_registered", 12.0, "b")
    assert not seen("registered", 12.0, "unknown")


def test_the_aims_are_read_out_of_the_tables() -> None:
    """Every one of them; missed ones are told."""
    assert national_scale.number("1,234.5 (3 s)") == 1234.5
    aim = national_scale.Aim(measurement="x", row="y", most=3)
    assert (aim.holds(3.0), aim.holds(3.1), str(aim)) == (True, False, "<= 3")
    assert {aim.measurement for aim in national_scale.AIMS} == set(national_scale.COMMANDS)


def test_synthetic_numbers_are_distinct() -> None:
    """As many as were asked for."""
    assert len(set(dutch_numbers(20_000))) == 20_000


def test_the_time_from_key_to_block_can_be_measured() -> None:
    """On two services; the figures are for the long run."""
    recorded, blocked, screening = effective_at_once.measure(2)
    assert len(recorded) == len(blocked) == 2
    assert screening > 0


def test_screening_beside_notices_can_be_measured() -> None:
    """With a few of them; the figures are for the long run."""
    assert [row[0] for row in screening_beside_notices.measure(3, 20)] == ["alone", "beside 3 notices", "alone again"]


def test_the_limit_of_classic_scripts_can_be_measured() -> None:
    """With two calls; and no allow is on record that Asterisk does not have. The figures are for the long run."""
    classic, service = classic_limit.measure([2])
    assert (classic.through, service.through) == ("classic", "service")
    assert classic.allowed + classic.blocked + classic.given_up == 2
    assert (service.allowed, service.given_up) == (2, 0)
    assert (classic.false_allows, service.false_allows) == (0, 0)


def test_the_cost_of_metrics_can_be_measured() -> None:
    """On few screenings; the figures are for the long run."""
    rows = metrics_cost.measure(20, 4.0)
    assert [row[0] for row in rows] == ["without", "with metrics", "without, again", "with metrics, scraped"]
    assert metrics_cost.counting_us(10) > 0


@pytest.mark.parametrize("quoted", [False, True])
def test_the_scrub_can_be_measured(quoted: bool) -> None:
    """On few rows, beside DuckDB, which finds the same; the figures are for the long run."""
    with tempfile.TemporaryDirectory(prefix="bmn-") as folder:
        figures = dict(scrub.measure(2_000, 500, Path(folder), quoted=quoted, runs=1))
    assert figures["rows removed"] == "50"
    assert figures["same rows as DuckDB"] == "yes"


def test_reading_a_long_journal_can_be_measured(tmp_path: Path) -> None:
    """On a short one, whose chain is whole; the figures are for the long run."""
    path = tmp_path / "journal.db"
    make_journal(path, 3_000, datetime.now(UTC), lambda *_: None)
    assert verify(path, path.with_name("journal.db.key"), lambda *_: None).whole
    found = {what: count for what, _, _, count in history.measure_reading(path)}
    assert (found["page: everything"], found["page: agent, none, any type"]) == (50, 0)
    before, now = history.measure_appending(20, 2)
    assert min(before, now) > 0


def test_no_allow_stands_after_what_forbids_it() -> None:
    """Two services, objections, keys and loads; the long run is tests.bench.raced_screenings."""
    figures = dict(raced_screenings.measure(700))
    assert (figures["allows after what forbids them"], figures["journal"]) == ("0", "whole"), figures[
        "the first of them"
    ]
    assert int(figures["objections and exemptions raced"].replace(",", "")) > 50


def test_the_callers_and_the_journal_agree_after_kills() -> None:
    """A quarter of a minute of everything at once; the long run is tests.bench.mixed_load."""
    figures = dict(mixed_load.measure(15))
    assert figures["disagreements"] == "0", figures["the first of them"]
    assert figures["journal"].startswith("whole")
    assert int(figures["facts that were confirmed"].replace(",", "")) > 100
    assert figures["troubles"]


def test_an_allow_after_what_forbids_it_would_be_found(tmp_path: Path) -> None:
    """An objection, a load, the end of an exemption: each of them, and nothing before it."""
    path = tmp_path / "journal.db"
    number: dict[str, JsonValue] = {"number": "+31612345678", "seller": "acme"}
    allow: dict[str, JsonValue] = {
        **number,
        "call": "c",
        "verdict": "allow",
        "reason": "not_registered",
        "generation": "g1",
    }
    screened = EventType.CALL_SCREENED
    exempt: dict[str, JsonValue] = {**allow, "reason": "exempt_customer"}
    steps: list[tuple[EventType, dict[str, JsonValue]]] = [
        (EventType.REGISTER_LOADED, {"generation": "g1", "profile": "nl-bmnr"}),
        (screened, allow),
        (EventType.CUSTOMER_ADDED, dict(number)),
        (screened, exempt),
        (EventType.CUSTOMER_REMOVED, dict(number)),
        (screened, exempt),
        (EventType.REGISTER_LOADED, {"generation": "g2", "profile": "nl-bmnr"}),
        (screened, allow),
        (screened, {**allow, "generation": "g2"}),
        (EventType.OPTOUT_ADDED, dict(number)),
        (screened, {**allow, "generation": "g2", "number": "+31612345679"}),
        (screened, {**exempt}),
    ]
    with SqliteJournal(path, tmp_path / "journal.key") as journal:
        for kind, body in steps:
            journal.append([Event.of(kind, body)], Deadline.after_ms(5_000))
    contents = {"g1": frozenset[str](), "g2": frozenset({"+31612345678"})}
    found = list(raced_screenings.wrongly_allowed(path, contents))
    assert [line.split(" ")[1] for line in found] == ["6", "8", "9", "12", "12"]


def test_a_lost_or_invented_record_would_be_found(tmp_path: Path) -> None:
    """The comparison of the mixed load finds a fact that is not on record, one twice, and one that nobody told."""
    path = tmp_path / "journal.db"
    end: dict[str, JsonValue] = {"call": "c1"}
    verdict: dict[str, JsonValue] = {"call": "c2", "verdict": "allow"}
    with SqliteJournal(path, tmp_path / "journal.key") as journal:
        for kind, body in (
            (EventType.CALL_FINISHED, end),
            (EventType.CALL_FINISHED, end),
            (EventType.CALL_SCREENED, verdict),
        ):
            journal.append([Event.of(kind, body)], Deadline.after_ms(5_000))
    ledger = mixed_load.Ledger()
    ledger.add(("end", "c1"), sure=True)
    ledger.add(("key", "c1", "offered"), sure=True)
    ledger.add(("heard", "c1"), sure=False)
    assert list(mixed_load.disagreements(path, ledger)) == [
        "end c1: 1 told, 2 on record",
        "key c1 offered: 1 told, 0 on record",
        "verdict c2 allow: nobody was told, 1 on record",
    ]
