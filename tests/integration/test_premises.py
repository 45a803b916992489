"""A verdict and what forbids it, in one order: what an entry rests on is checked when it is written."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from agent.adapters.sqlite_journal import SqliteJournal
from agent.bootstrap import Application
from agent.choices import KeyPress
from agent.domain.errors import InputRejected, LookupUnavailable, PremiseOutdated
from agent.domain.journal_events import Event, EventType
from agent.domain.model import Facts
from agent.domain.phone_number import PhoneNumber
from agent.domain.premise import Premise
from agent.domain.profile import NL_BMNR
from tests.conftest import load_register
from tests.integration.aged_journal import AgedJournal
from tests.integration.test_choices import bodies, call, finish, loaded, soon
from tests.integration.test_journal import an_event, key_of
from tests.integration.test_screening import last_verdict, reason, screen

__all__ = ["loaded"]

NUMBER = PhoneNumber(digits="31612345000")
HELD = Event.of(EventType.AGENT_STARTED, {})


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[SqliteJournal]:
    """An empty journal."""
    path = tmp_path / "journal.db"
    with SqliteJournal(path, key_of(path)) as journal:
        yield journal


def a_load(profile: str = "nl-bmnr") -> Event:
    """A load of a register."""
    return Event.of(EventType.REGISTER_LOADED, {"profile": profile, "generation": "g"})


def an_answer(answer: str) -> Event:
    """Something that was said in a call for acme."""
    return Event.of(EventType.CHOICE_RECORDED, {"number": "+31612340001", "seller": "acme", "answer": answer})


def an_end(call_id: str = "c") -> Event:
    """The end of a call."""
    return Event.of(EventType.CALL_FINISHED, {"call": call_id})


def a_notice(kind: EventType, call_id: str = "c") -> Event:
    """A notice that began, or what became of it."""
    return Event.of(kind, {"call": call_id})


ENDED = (EventType.CALL_FINISHED,)
UNHEARD = (EventType.NOTICE_BEGUN, EventType.NOTICE_PLAYED)


@pytest.mark.parametrize(
    ("later", "premise", "holds"),
    [
        (an_event(1), {"number": "+31612340001"}, False),
        (an_event(2), {"number": "+31612340001"}, True),
        (an_event(1, EventType.OPTOUT_REMOVED), {"number": "+31612340001"}, True),
        (Event.of(EventType.CUSTOMER_REMOVED, {"number": "+31612340001"}), {"number": "+31612340001"}, False),
        (Event.of(EventType.CHOICE_RECORDED, {"number": "+31612340001"}), {"number": "+31612340001"}, False),
        (Event.of(EventType.CHOICE_UNDONE, {"number": "+31612340001"}), {"number": "+31612340001"}, False),
        (an_event(1), {"assigned": {"acme", "bank"}}, True),
        (an_event(1), {"assigned": {"bank"}}, False),
        (an_answer("seller_optout"), {"assigned": {"bank"}}, False),
        (an_answer("seller_optout"), {"assigned": {"acme"}}, True),
        (an_answer("offered"), {"assigned": {"bank"}}, True),
        (an_event(1, EventType.OPTOUT_REMOVED), {"assigned": {"bank"}}, True),
        (HELD, {"until": datetime.now(UTC)}, False),
        (HELD, {"until": datetime.now(UTC) + timedelta(days=1)}, True),
        (a_load(), {"profile": "nl-bmnr"}, False),
        (a_load("another"), {"profile": "nl-bmnr"}, True),
        (Event.of(EventType.REGISTER_ROLLED_BACK, {"profile": "nl-bmnr"}), {"profile": "nl-bmnr"}, False),
        (an_end(), {"call": "c", "without": ENDED}, False),
        (an_end("another"), {"call": "c", "without": ENDED}, True),
        (an_end(), {"call": "c", "without": UNHEARD}, True),
        (a_notice(EventType.NOTICE_BEGUN), {"call": "c", "without": UNHEARD}, False),
        (a_notice(EventType.NOTICE_PLAYED), {"call": "c", "without": UNHEARD}, False),
        (a_notice(EventType.NOTICE_BEGUN), {"call": "c", "without": UNHEARD[1:]}, True),
        (a_notice(EventType.NOTICE_PLAYED, "another"), {"call": "c", "without": UNHEARD}, True),
    ],
)
@pytest.mark.parametrize("together", [False, True], ids=["before", "in one transaction"])
def test_an_entry_is_written_only_where_its_premise_holds(
    journal: SqliteJournal, later: Event, premise: dict[str, Any], holds: bool, together: bool
) -> None:
    """Whether what it excludes was committed before, or comes ahead of it in the same transaction."""
    journal.append([an_event(1)], soon())
    upto = journal.state().seq
    entry = Event.of(EventType.AGENT_STOPPED, {})
    outcome: list[Exception | None] = []

    def append() -> None:
        try:
            journal.append([entry], soon(), Premise(upto=upto, **premise))
            outcome.append(None)
        except PremiseOutdated as error:
            outcome.append(error)

    if together:
        in_one_transaction(journal, [lambda: journal.append([later], soon()), append])
    else:
        journal.append([later], soon())
        append()
    assert (outcome == [None]) is holds
    assert len(list(journal.records("type = ?", (entry.type,)))) == holds


def in_one_transaction(journal: SqliteJournal, steps: list[Callable[[], Any]]) -> None:
    """Run ``steps`` so that what they append waits for one commit, in their order."""
    waiting, go = threading.Event(), threading.Event()
    commit = journal._writer._commit

    def held(connection: Any, batch: Any) -> int:
        waiting.set()
        assert go.wait(10)
        journal._writer._commit = commit  # type: ignore[method-assign]
        return commit(connection, batch)

    journal._writer._commit = held  # type: ignore[method-assign]
    threads = [threading.Thread(target=lambda: journal.append([HELD], soon()))]
    threads[0].start()
    assert waiting.wait(10)
    for place, step in enumerate(steps, 1):
        threads.append(threading.Thread(target=step))
        threads[-1].start()
        while journal._writer._queue.qsize() < place:
            pass
    go.set()
    for thread in threads:
        thread.join(10)


def meanwhile(app: Application, monkeypatch: pytest.MonkeyPatch, act: Callable[[], Any], times: int = 1) -> list[Facts]:
    """Do ``act`` after the lists have answered and before the verdict is written, for the first lookups."""
    lists, seen = app.screening._lists, []
    facts_of = lists.facts

    def facts(*arguments: Any) -> Facts:
        found = facts_of(*arguments)
        seen.append(found)
        if len(seen) <= times:
            act()
        return found

    monkeypatch.setattr(lists, "facts", facts)
    return seen


def object_to(app: Application, number: PhoneNumber = NUMBER) -> None:
    """Another process records an objection; its outbox is not waited for."""
    body = {"seller": "acme", "number": number.e164, "source": "letter", "note": None, "by": "tests"}
    app.journal.append([Event.of(EventType.OPTOUT_ADDED, body)], soon())


def test_an_objection_between_lookup_and_record_is_not_overlooked(
    app: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lists are asked again, and the journal has one verdict: a block after the objection."""
    load_register(app, "0687654321\n")
    looked = meanwhile(app, monkeypatch, lambda: object_to(app))
    assert reason(app, NUMBER.e164) == "seller_optout"
    assert len(looked) == 2
    kinds = [str(record.type) for record in app.journal.records("number = ?", (NUMBER.e164,))]
    assert kinds == ["optout.added", "call.screened"]


def test_an_objection_of_somebody_else_costs_no_second_look(app: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    """An index says that it was another number."""
    load_register(app, "0687654321\n")
    looked = meanwhile(app, monkeypatch, lambda: object_to(app, PhoneNumber(digits="31612345999")))
    assert reason(app, NUMBER.e164) == "not_registered"
    assert len(looked) == 1


def test_a_key_between_lookup_and_record_is_not_overlooked(
    loaded: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A consumer who asked to be registered in another call."""
    call_id = call(loaded)
    number = str(bodies(loaded, EventType.CALL_SCREENED)[-1]["number"])
    press = KeyPress(call=call_id, key="register_with_charities", uniqueid="1.7", connected=True)
    monkeypatch.setattr(loaded.choices, "_apply", lambda *_: True)  # recorded, and not in Redis yet
    meanwhile(loaded, monkeypatch, lambda: loaded.choices.press(press, soon()))
    assert reason(loaded, number) == "registered"


def test_a_load_between_lookup_and_record_is_not_overlooked(app: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    """The verdict is that of the load in force when it was written, and names it."""
    load_register(app, "0687654321\n")
    loads: list[str] = []
    looked = meanwhile(app, monkeypatch, lambda: loads.append(load_register(app, "0612345000\n").generation.id))
    assert reason(app, NUMBER.e164) == "registered"
    assert (len(looked), last_verdict(app)["generation"]) == (2, loads[0])


def test_a_rollback_between_lookup_and_record_is_not_overlooked(
    app: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The load that was gone back to has the number."""
    load_register(app, "0612345000\n")
    load_register(app, "0687654321\n")
    meanwhile(app, monkeypatch, lambda: app.registers.rollback(NL_BMNR))
    assert reason(app, NUMBER.e164) == "registered"


def test_an_objection_to_somebody_unknown_between_lookup_and_record_is_not_overlooked(
    app: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another consumer's: it stops every promotional call from then on, and so this one."""
    load_register(app, "0687654321\n")
    look, seen = app.unassigned.sellers, []

    def sellers(watermark: int) -> tuple[str, ...]:
        found = look(watermark)
        seen.append(found)
        if len(seen) == 1:
            body = {"seller": "ghost", "number": "+31612345999", "source": "letter", "by": "tests"}
            app.journal.append([Event.of(EventType.OPTOUT_ADDED, body)], soon())
        return found

    monkeypatch.setattr(app.unassigned, "sellers", sellers)
    assert reason(app, NUMBER.e164) == "objections_unassigned"
    assert seen == [(), ("ghost",)]


def test_a_load_that_expires_between_decision_and_record_allows_nothing(
    app: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At midnight, with the journal locked by somebody; or a machine that was put to sleep just then."""
    loaded = load_register(app, "0687654321\n").generation
    expires = NL_BMNR.valid_until(loaded)
    moments = iter([expires - timedelta(milliseconds=1), expires + timedelta(milliseconds=2)])
    monkeypatch.setattr(app.screening, "_clock", lambda: next(moments))
    with AgedJournal(app, monkeypatch).at(expires + timedelta(milliseconds=1)):
        assert reason(app, NUMBER.e164) == "register_stale"
    assert [one["verdict"] for one in bodies(app, EventType.CALL_SCREENED)] == ["block"]


@pytest.mark.parametrize(("times", "expected"), [(2, "not_registered"), (3, "lookup_unavailable")])
def test_a_number_that_never_rests_is_blocked(
    app: Application, monkeypatch: pytest.MonkeyPatch, times: int, expected: str
) -> None:
    """Decided three times at most; nobody waits for ever."""
    load_register(app, "0687654321\n")
    keys = {"call": "other", "number": NUMBER.e164, "seller": "bank", "profile": "nl-bmnr", "answer": "offered"}
    offered = Event.of(EventType.CHOICE_RECORDED, {**keys, "source": "agent_key"})
    looked = meanwhile(app, monkeypatch, lambda: app.journal.append([offered], soon()), times)
    screened = screen(app, NUMBER.e164)
    assert (screened.decision.reason, len(looked)) == (expected, 3)
    assert bool(screened.failure) is (expected == "lookup_unavailable")
    assert len(bodies(app, EventType.CALL_SCREENED)) == 1


def test_a_removal_does_not_take_an_objection_that_came_meanwhile(
    app: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who removed it did not know of the new one."""
    app.seller_lists.add_optout("acme", NUMBER, "letter", None)
    found = app.seller_lists._records.optout

    def look(seller: str, number: PhoneNumber) -> Any:
        known = found(seller, number)
        object_to(app)
        return known

    with monkeypatch.context() as patch:
        patch.setattr(app.seller_lists._records, "optout", look)
        with pytest.raises(InputRejected, match="look again"):
            app.seller_lists.remove_optout("acme", NUMBER, "asked")
    assert app.seller_lists.opted_out("acme", [NUMBER]) == 1
    assert app.seller_lists.remove_optout("acme", NUMBER, "asked")


def test_a_load_is_not_put_in_force_over_one_that_it_did_not_know(
    app: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the lock in Redis was lost, the journal still has one succession of loads."""
    load_register(app, "0687654321\n")
    monkeypatch.setattr("agent.adapters.redis_import_lock.ImportLock.renew", lambda _: None)
    renew = "agent.adapters.redis_generations._Changes.renew"

    def another(_: object) -> None:
        app.journal.append([a_load()], soon())

    monkeypatch.setattr(renew, another)
    with pytest.raises(LookupUnavailable, match="another load came into force meanwhile"):
        load_register(app, "0612345000\n")
    assert len(bodies(app, EventType.REGISTER_LOADED)) == 2


def test_the_end_of_a_call_is_recorded_once_however_often_it_is_reported_at_once(
    loaded: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two reports that both found no end on record."""
    call_id = call(loaded)
    barrier = threading.Barrier(4)
    of_call = loaded.finishing._calls.of_call

    def slow(name: str) -> Any:
        found = of_call(name)
        barrier.wait(10)
        return found

    monkeypatch.setattr(loaded.finishing._calls, "of_call", slow)
    outcomes: list[bool] = []
    threads = [threading.Thread(target=lambda: outcomes.append(finish(loaded, call_id).repeated)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert sorted(outcomes) == [False, True, True, True]
    assert len(bodies(loaded, EventType.CALL_FINISHED)) == 1


def test_the_price_of_a_premise_is_an_index_probe(journal: SqliteJournal) -> None:
    """No scan of a type or of the table, however long the journal is."""
    from agent.adapters import journal_writer

    plans = {
        journal_writer._OF_CALL: ("call.finished", "c"),
        journal_writer._RESTRICTED: ("+31612340001", 5),
        journal_writer._OBJECTED_TO_ANOTHER: (5, '["acme"]'),
        journal_writer._REGISTER_CHANGED: (5, "nl-bmnr"),
    }
    for query, parameters in plans.items():
        plan = " ".join(str(row[3]) for row in journal.query(f"EXPLAIN QUERY PLAN {query}", parameters))
        assert "SCAN" not in plan.replace("SCAN json_each", ""), plan
        assert "records_by_call" in plan or "records_by_number" in plan or "type=? AND seq>?" in plan, plan
