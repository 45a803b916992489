"""Choices on a real journal and a real Redis: on disk, in force, undone, and applied late."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from agent.bootstrap import Application
from agent.choices import KeyOutcome, KeyPress, KeyResult, Rejection
from agent.domain.choice import AGENT_KEYS, Answer, Question
from agent.domain.deadline import Deadline
from agent.domain.dialogue import Said
from agent.domain.journal_events import EventType
from agent.domain.phone_number import PhoneNumber
from agent.finishing import FinishReport
from agent.screening import ScreenRequest
from deploy.lab.redis_server import PrivateRedis
from tests.conftest import load_register, wired

NUMBER = "0612345678"
E164 = PhoneNumber(digits="31612345678")
EMPTY = "0611111111\n"
CHANNEL = "1.7"


def soon() -> Deadline:
    """Time enough."""
    return Deadline.after_ms(5_000)


def call(app: Application, campaign: str = "energy", number: str = NUMBER) -> str:
    """A call that was screened; its id."""
    request = ScreenRequest(number=number, campaign=campaign, agent="agent-7", source="fastagi", uniqueid=CHANNEL)
    return app.screening.screen(request, soon())[0].call_id


def reason(app: Application, campaign: str = "energy", number: str = NUMBER) -> str:
    """The verdict's reason now."""
    request = ScreenRequest(number=number, campaign=campaign, agent="", source="command")
    return app.screening.screen(request, soon())[0].decision.reason


def press(app: Application, call_id: str, key: str, *, uniqueid: str = CHANNEL, connected: bool = True) -> KeyOutcome:
    """A key of the agent."""
    return app.choices.press(KeyPress(call=call_id, key=key, uniqueid=uniqueid, connected=connected), soon())


def say(app: Application, call_id: str, answer: Answer, question: Question = Question.MENU) -> bool:
    """A key of the consumer."""
    story = app.choices.story(call_id)
    assert story is not None
    return app.choices.record(
        story, Said(question=question, answer=answer, digit="1"), "menu-acme", None, "1.8", soon()
    )


def bodies(app: Application, kind: EventType) -> list[dict[str, Any]]:
    """The records of a type."""
    return [{"seq": record.seq, **record.body} for record in app.journal.records("type = ?", (kind,))]


@pytest.fixture
def loaded(app: Application) -> Application:
    """A register that holds none of our numbers."""
    load_register(app, EMPTY)
    return app


def test_a_key_is_on_disk_and_in_force(loaded: Application) -> None:
    """One record, applied before the answer, and the record that it is in force with how long that took."""
    outcome = press(loaded, call(loaded), "seller_optout")
    assert (outcome.result, outcome.applied) == (KeyResult.RECORDED, True)
    assert reason(loaded) == "seller_optout"
    (chosen,) = bodies(loaded, EventType.CHOICE_RECORDED)
    (applied,) = bodies(loaded, EventType.CHOICE_APPLIED)
    assert (applied["choice"], applied["call"]) == (chosen["seq"], chosen["call"])
    assert 0 <= applied["after_ms"] < 5_000


@pytest.mark.parametrize(
    ("change", "rejection"),
    [
        ({"key": "hand_over"}, Rejection.UNKNOWN_KEY),
        ({"key": ""}, Rejection.UNKNOWN_KEY),
        ({"key": "register"}, Rejection.UNKNOWN_KEY),
        ({"call_id": "no-such-call"}, Rejection.UNKNOWN_CALL),
        ({"call_id": ""}, Rejection.UNKNOWN_CALL),
        ({"connected": False}, Rejection.NOT_CONNECTED),
        ({"key": "undo"}, Rejection.NOTHING_TO_UNDO),
    ],
)
def test_a_key_that_cannot_count_is_rejected(loaded: Application, change: dict[str, Any], rejection: Rejection) -> None:
    """Nothing is recorded, and the reason is told."""
    pressed: dict[str, Any] = {"call_id": call(loaded), "key": "declined", **change}
    outcome = press(loaded, **pressed)
    assert (outcome.result, outcome.rejection) == (KeyResult.REJECTED, rejection)
    assert bodies(loaded, EventType.CHOICE_RECORDED) == []


def test_a_call_that_was_blocked_takes_no_keys(loaded: Application) -> None:
    """Only the number that is connected can be registered."""
    blocked = call(loaded, number="0611111111")
    assert press(loaded, blocked, "register_with_charities").rejection is Rejection.NOT_CONNECTED
    emergency = call(loaded, number="112")
    assert press(loaded, emergency, "seller_optout").rejection is Rejection.NOT_CONNECTED


def test_whoever_the_consumer_was_passed_on_to_logs_for_their_call(loaded: Application) -> None:
    """The part of the agent who dialled is over; the record has the leg that the key was pressed on."""
    call_id = call(loaded)
    finish(loaded, call_id, "transferred")
    assert press(loaded, call_id, "seller_optout", uniqueid="9.9").result is KeyResult.RECORDED
    (chosen,) = bodies(loaded, EventType.CHOICE_RECORDED)
    assert (chosen["call"], chosen["uniqueid"]) == (call_id, "9.9")
    assert reason(loaded) == "seller_optout"


def test_a_screening_from_the_command_line_is_nobodys_call(loaded: Application) -> None:
    """It has no channel, so nobody was dialled."""
    request = ScreenRequest(number=NUMBER, campaign="energy", agent="", source="command")
    call_id = loaded.screening.screen(request, soon())[0].call_id
    assert press(loaded, call_id, "declined", uniqueid="").rejection is Rejection.NOT_CONNECTED


def finish(
    app: Application,
    call_id: str,
    ended_by: str = "",
    dialstatus: str = "ANSWER",
    answered: bool | None = None,
    left: str = "",
) -> Any:
    """The end of a call, answered as ``dialstatus`` says when that is not given."""
    report = FinishReport(
        call=call_id,
        dialstatus=dialstatus,
        answered=dialstatus == "ANSWER" if answered is None else answered,
        answered_s=9,
        cause=16,
        rang=True,
        ended_by=ended_by,
        uniqueid=CHANNEL,
        left=left,
    )
    return app.finishing.finish(report, soon())


def test_every_key_of_the_contract_is_taken(loaded: Application) -> None:
    """By its name."""
    call_id = call(loaded)
    assert all(press(loaded, call_id, key).result is KeyResult.RECORDED for key in sorted(AGENT_KEYS))


def test_undo_is_a_record_and_takes_away_only_its_own(loaded: Application) -> None:
    """What another call holds up stays."""
    first, second = call(loaded), call(loaded)
    press(loaded, first, "register_with_charities")
    press(loaded, second, "register_with_charities")
    assert press(loaded, second, "undo").result is KeyResult.RECORDED
    assert reason(loaded) == "registered"
    press(loaded, first, "undo")
    assert reason(loaded) == "not_registered"
    assert press(loaded, first, "undo").rejection is Rejection.NOTHING_TO_UNDO
    assert len(bodies(loaded, EventType.CHOICE_RECORDED)) == 2


def test_a_choice_while_redis_is_away_is_in_force_when_it_is_back(tmp_path: Path, own_redis: PrivateRedis) -> None:
    """Recorded all the same; nothing is dialled until then; also across a restart of the agent."""
    with wired(tmp_path, own_redis.url) as app:
        load_register(app, EMPTY)
        call_id = call(app)
        own_redis.stop()
        outcome = press(app, call_id, "register_with_charities")
        assert (outcome.result, outcome.applied) == (KeyResult.RECORDED, False)
        assert reason(app) == "lookup_unavailable"
    own_redis.start()
    with wired(tmp_path, own_redis.url) as app:
        load_register(app, EMPTY)
        assert reason(app, "loans") == "registered"
        assert len(bodies(app, EventType.CHOICE_APPLIED)) == 1


def test_a_redis_that_forgot_gets_choices_back_without_a_second_record(loaded: Application) -> None:
    """Applied anew, by the first screening that notices; in the journal it came into force once."""
    press(loaded, call(loaded), "seller_optout")
    with loaded.redis.commands() as client:
        client.flushall()
    assert reason(loaded) == "seller_optout"
    assert len(bodies(loaded, EventType.CHOICE_APPLIED)) == 1


def test_an_optout_of_a_call_is_an_optout_like_others(loaded: Application) -> None:
    """Listed with its source, removed with a reason, and not added twice."""
    press(loaded, call(loaded), "seller_optout")
    (listed,) = loaded.seller_lists.optouts("acme")
    assert (listed.number, listed.source, listed.by) == (E164, "agent_key", "agent-7")
    assert loaded.seller_lists.add_optout("acme", E164, "letter", None) is True, "evidence of its own"
    assert loaded.seller_lists.add_optout("acme", E164, "letter", None) is False
    assert loaded.seller_lists.remove_optout("acme", E164, "asked for it") is True
    assert list(loaded.seller_lists.optouts("acme")) == []
    assert reason(loaded) == "not_registered"


def test_an_undone_key_leaves_the_letter(loaded: Application) -> None:
    """Written during the call; the key of that very call is taken back after it, and the list can still be shown."""
    call_id = call(loaded)
    press(loaded, call_id, "seller_optout")
    press(loaded, call_id, "seller_optout")
    assert loaded.seller_lists.add_optout("acme", E164, "letter", None) is True
    for _ in range(2):
        assert press(loaded, call_id, "undo").result is KeyResult.RECORDED
        assert reason(loaded) == "seller_optout"
        assert [item.source for item in loaded.seller_lists.optouts("acme")] == ["letter"]


def test_a_key_that_was_rejected_is_not_written(loaded: Application, tmp_path: Path) -> None:
    """The journal is locked for longer than the key may wait: nothing of it is there when the lock is gone."""
    call_id = call(loaded)
    press(loaded, call_id, "register_with_charities")
    with closing(sqlite3.connect(tmp_path / "journal.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        pressed = KeyPress(call=call_id, key="undo", uniqueid=CHANNEL, connected=True)
        assert loaded.choices.press(pressed, Deadline.after_ms(200)).rejection is Rejection.JOURNAL_UNAVAILABLE
        other.execute("ROLLBACK")
    press(loaded, call_id, "offered")
    assert bodies(loaded, EventType.CHOICE_UNDONE) == []
    assert reason(loaded) == "registered"
