"""Scrubs: certificates, how long they hold, which rows stay, and numbers that were seen before."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.domain.journal_events import FIELDS, EventType, JsonValue, Mark, Record
from agent.domain.model import Purpose, Reason, Verdict
from agent.domain.ports import JournalState
from agent.domain.profile import NL_BMNR
from agent.domain.scrub import binding_generation, certificate, differences, stays, valid_until
from agent.scrub_checks import ScrubChecks
from agent.seen_numbers import SeenNumbers
from tests.unit.builders import NOW, a_campaign, a_generation

CLEAN: JsonValue = {"name": "clean.csv", "sha256": "c" * 64, "rows": 2}
BODY: dict[str, JsonValue] = {
    **dict.fromkeys(FIELDS[EventType.SCRUB_COMPLETED]),
    "campaign": "energy",
    "clean": CLEAN,
    "valid_until": (NOW + timedelta(days=3)).isoformat(),
}


class FakeJournal:
    """One scrub at record 7, one opt-out at record 6."""

    id = "abc"

    def record(self, seq: int) -> Record | None:
        """Two of them."""
        types = {6: EventType.OPTOUT_ADDED, 7: EventType.SCRUB_COMPLETED}
        return Record(seq, NOW, types[seq], BODY) if seq in types else None

    def mark(self, seq: int) -> Mark | None:
        """Of any."""
        return Mark(journal=self.id, seq=seq, link="ab" * 32)

    def state(self) -> JournalState:
        """Of this moment."""
        return JournalState(seq=7, restriction_watermark=6, newest_at=None)


def a_certificate(**changes: object) -> dict[str, object]:
    """That of record 7."""
    journal = FakeJournal()
    record, mark = journal.record(7), journal.mark(7)
    assert record is not None
    assert mark is not None
    return {**certificate(record, mark), **changes}


def check(found: dict[str, object], sha256: str | None = "c" * 64, now: datetime = NOW) -> list[tuple[str, bool]]:
    """Subject and outcome of each finding."""
    findings = ScrubChecks(FakeJournal(), lambda: now).check(found, "clean.csv", sha256)
    return [(finding.subject, finding.holds) for finding in findings]


def test_a_certificate_says_what_the_record_says_and_where_it_is() -> None:
    """The anchor is what bmn journal verify --expect takes."""
    found = a_certificate()
    assert found.items() >= BODY.items()
    assert (found["journal"], found["record"], found["anchor"]) == ("abc", 7, "7:" + "ab" * 8)
    assert (found["format"], found["at"]) == ("bmn-scrub-1", NOW.isoformat())


def test_what_was_not_touched_holds() -> None:
    """With the file and without."""
    assert check(a_certificate()) == [("certificate", True), ("file", True), ("validity", True)]
    assert check(a_certificate(), None) == [("certificate", True), ("validity", True)]


def test_another_file_does_not_hold() -> None:
    """The certificate still does."""
    assert check(a_certificate(), "d" * 64) == [("certificate", True), ("file", False), ("validity", True)]


def test_the_journal_is_believed_and_not_the_certificate() -> None:
    """A later end and another digest, written into it by hand, help nobody."""
    late = NOW + timedelta(days=4)
    until = (NOW + timedelta(days=300)).isoformat()
    altered = a_certificate(valid_until=until, clean={"name": "clean.csv", "sha256": "d" * 64, "rows": 2})
    assert check(altered, "d" * 64, late) == [("certificate", False), ("file", False), ("validity", False)]


@pytest.mark.parametrize(
    "changes", [{"journal": "other"}, {"record": 6}, {"record": 8}, {"record": "7"}, {"record": True}, {"record": -1}]
)
def test_a_certificate_of_nowhere_does_not_hold(changes: dict[str, object]) -> None:
    """Another journal, another record, none."""
    assert check(a_certificate(**changes)) == [("certificate", False)]


def test_differences_are_named() -> None:
    """Changed, missing, added."""
    assert differences({"a": 1, "c": 3, "x": 1}, {"a": 1, "b": 2, "c": 4}) == ["b", "c", "x"]


def test_a_scrub_holds_as_long_as_its_register() -> None:
    """And 28 days where the register does not bind, whatever register is loaded."""
    generation = a_generation()
    assert valid_until(NL_BMNR, generation, NOW) == NL_BMNR.valid_until(generation)
    assert valid_until(NL_BMNR, None, NOW) == NOW + timedelta(days=28)
    assert binding_generation(a_campaign(), NL_BMNR, generation) is generation
    for purpose in (Purpose.RESEARCH, Purpose.SERVICE):
        assert binding_generation(a_campaign(purpose, None), NL_BMNR, generation) is None


@pytest.mark.parametrize("reason", Reason)
def test_a_row_stays_when_its_call_is_allowed(reason: Reason) -> None:
    """But no call file holds 112."""
    assert stays(reason) == (reason.verdict is Verdict.ALLOW and reason is not Reason.EMERGENCY_NUMBER)


def test_numbers_are_seen_once() -> None:
    """Within one column and over several; over the ends of pages and bytes."""
    seen = SeenNumbers()
    numbers = [31612345678, 31699999999, 31700000000, 31612345678, 31612345679, 0, 31699999999]
    assert seen.first(np.array(numbers, dtype=np.uint64)).tolist() == [True, True, True, False, True, True, False]
    again = np.arange(31612345672, 31612345681, dtype=np.uint64)
    assert seen.first(again).tolist() == [True, True, True, True, True, True, False, False, True]
    assert seen.first(np.array([], dtype=np.uint64)).tolist() == []


@given(
    st.lists(
        st.lists(st.integers(31610000000, 31610000030) | st.sampled_from([0, 31699999999, 31700000000]), max_size=40),
        max_size=4,
    )
)
def test_of_equal_numbers_the_first_is_the_first(columns: list[list[int]]) -> None:
    """As a set of those that came before has it."""
    seen, before = SeenNumbers(), set[int]()
    for column in columns:
        expected = [number not in before and number not in column[:place] for place, number in enumerate(column)]
        assert seen.first(np.array(column, dtype=np.uint64)).tolist() == expected
        before.update(column)


def test_certificates_carry_aware_times() -> None:
    """UTC."""
    assert datetime.fromisoformat(str(a_certificate()["at"])).tzinfo == UTC
