"""The end of a call on a real journal: what was due, what was heard, and what was missed."""

from __future__ import annotations

import json
from copy import copy
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from agent.bootstrap import Application
from agent.domain.call_story import NoticeResult
from agent.domain.deadline import Deadline
from agent.domain.journal_events import EventType
from agent.domain.ports import Sound
from agent.finishing import NOTICE_WITHIN, Finishing
from agent.notices import NoticeEnd, notice_begun, notice_played
from deploy.lab.agent_service import bmn
from tests.integration.test_choices import bodies, call, finish, loaded, press, soon

__all__ = ["loaded"]


@pytest.mark.parametrize(
    ("dialstatus", "ended_by", "notice", "played"),
    [
        ("ANSWER", "", "to_follow", []),
        ("ANSWER", "hand_over", "to_follow", []),
        ("ANSWER", "consumer", "not_played", ["consumer_left"]),
        ("ANSWER", "cut_off", "not_played", ["cut_off"]),
        ("ANSWER", "transferred", "to_follow", []),
        ("ANSWER", "nonsense", "to_follow", []),
        ("BUSY", "", "not_due", []),
        ("BUSY", "consumer", "not_due", []),
        ("", "", "not_due", []),
    ],
)
def test_the_end_of_a_call(loaded: Application, dialstatus: str, ended_by: str, notice: str, played: list[str]) -> None:
    """What is due, to follow, or was missed; once, however often it is told."""
    call_id = call(loaded)
    assert finish(loaded, call_id, ended_by, dialstatus).repeated is False
    assert finish(loaded, call_id, ended_by, dialstatus).repeated is True
    (finished,) = bodies(loaded, EventType.CALL_FINISHED)
    assert (finished["notice"], finished["answered"]) == (notice, dialstatus == "ANSWER")
    assert [one["ended"] for one in bodies(loaded, EventType.NOTICE_PLAYED)] == played
    assert finish(loaded, "no-such-call") is None


def test_a_call_that_a_colleague_picked_up_did_not_reach_the_consumer(loaded: Application) -> None:
    """DIALSTATUS says ANSWER; the consumer did not, so nothing was due."""
    finished = finish(loaded, call(loaded), "", "ANSWER", answered=False)
    assert (finished.answered, finished.ended_by, finished.notice) == (False, "not_answered", "not_due")
    (record,) = bodies(loaded, EventType.CALL_FINISHED)
    assert (record["dialstatus"], record["answered"], record["answered_s"]) == ("ANSWER", False, 0)


@pytest.mark.parametrize(
    ("ended_by", "who", "ended"),
    [
        ("transferred", "consumer", "transferred"),
        ("transferred", "cut_off", "transferred"),
        ("", "consumer", "consumer_left"),
        ("", "cut_off", "cut_off"),
        ("hand_over", "nonsense", "consumer_left"),
    ],
)
def test_a_consumer_who_leaves_before_the_notice_that_was_to_follow(
    loaded: Application, ended_by: str, who: str, ended: str
) -> None:
    """On record at once, with why, and once."""
    call_id = call(loaded)
    assert loaded.finishing.left(call_id, who, "1.9", Deadline.after_ms(60)) is None, "the agent's side is not over"
    finish(loaded, call_id, ended_by)
    left = loaded.finishing.left(call_id, who, "1.9", soon())
    assert left is not None
    assert left.ended == ended
    assert loaded.finishing.left(call_id, who, "1.9", soon()) is None
    (played,) = bodies(loaded, EventType.NOTICE_PLAYED)
    assert (played["result"], played["ended"], played["uniqueid"]) == ("not_played", ended, "1.9")


def test_a_leg_that_ended_waits_for_the_end_of_the_agents_part(
    loaded: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both hung up at once, and the consumer's end came here first: it is on record as soon as the other one is."""
    call_id, looks = call(loaded), []
    of_call = loaded.finishing._calls.of_call

    def late(name: str) -> Any:
        found = of_call(name)
        looks.append(name)
        if len(looks) == 2:
            finish(loaded, call_id)
        return found

    monkeypatch.setattr(loaded.finishing._calls, "of_call", late)
    left = loaded.finishing.left(call_id, "consumer", "1.9", soon())
    assert left is not None
    assert [one["ended"] for one in bodies(loaded, EventType.NOTICE_PLAYED)] == ["consumer_left"]


@pytest.mark.parametrize("kind", ["left", "never_began", "cut_off"])
def test_what_became_of_a_notice_is_on_record_once_whoever_finds_out(
    loaded: Application, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Two services look before either has written: a leg that is reported twice, books that both close."""
    call_id = call(loaded)
    if kind == "cut_off":
        begin_notice(loaded, call_id)
    finish(loaded, call_id)
    if kind != "left":
        monkeypatch.setattr(loaded.finishing, "_clock", lambda: datetime.now(UTC) + NOTICE_WITHIN * 1.01)
    other = copy(loaded.finishing)
    other._never_began, other._cut_off = copy(other._never_began), copy(other._cut_off)

    def report(finishing: Finishing) -> bool:
        if kind == "left":
            return finishing.left(call_id, "consumer", "1.9", soon()) is not None
        return bool(finishing.close_open(soon()))

    append, outcomes = loaded.journal.append, []

    def slow(*arguments: Any) -> Any:
        monkeypatch.setattr(loaded.journal, "append", append)
        outcomes.append(report(other))  # has looked, and writes, between the look of the first and its act
        return append(*arguments)

    monkeypatch.setattr(loaded.journal, "append", slow)
    outcomes.append(report(loaded.finishing))
    assert outcomes == [True, False]
    assert len(bodies(loaded, EventType.NOTICE_PLAYED)) == 1


@pytest.mark.parametrize(
    ("ended_by", "left", "ended"),
    [
        ("transferred", "consumer", "transferred"),
        ("transferred", "cut_off", "transferred"),
        ("", "consumer", "consumer_left"),
        ("", "cut_off", "cut_off"),
        ("hand_over", "consumer", "consumer_left"),
    ],
)
def test_a_consumer_who_has_left_when_the_agents_part_ends(
    loaded: Application, ended_by: str, left: str, ended: str
) -> None:
    """Nothing is to follow, whoever ended the conversation; reported by its own leg as well, it is on record once."""
    call_id = call(loaded)
    finished = finish(loaded, call_id, ended_by, left=left)
    assert (finished.ended_by, finished.notice) == (ended_by or "agent", "not_played")
    assert loaded.finishing.left(call_id, left, "1.9", soon()) is None
    (played,) = bodies(loaded, EventType.NOTICE_PLAYED)
    assert (played["result"], played["ended"]) == ("not_played", ended)


@pytest.mark.parametrize("ended_by", ["", "consumer", "transferred"])
def test_who_hangs_up_in_the_notice_is_reported_by_the_notice(loaded: Application, ended_by: str) -> None:
    """It has begun, and its own record says how far it came: neither end of a leg adds one."""
    call_id = call(loaded)
    begin_notice(loaded, call_id)
    assert finish(loaded, call_id, ended_by, left="consumer").notice == "to_follow"
    assert loaded.finishing.left(call_id, "consumer", "1.9", soon()) is None
    assert bodies(loaded, EventType.NOTICE_PLAYED) == []


@pytest.mark.parametrize("ended_by", ["consumer", "cut_off"])
def test_what_needs_no_notice_any_more_is_not_reported_again(loaded: Application, ended_by: str) -> None:
    """The end of the call said it already; and a call that needs no notice, or that there is not, has none to miss."""
    call_id, survey = call(loaded), call(loaded, campaign="survey")
    finish(loaded, call_id, ended_by)
    finish(loaded, survey)
    for one in (call_id, survey, "no-such-call"):
        assert loaded.finishing.left(one, ended_by, "1.9", soon()) is None
    assert len(bodies(loaded, EventType.NOTICE_PLAYED)) == 1


def test_a_notice_that_failed_is_not_recorded_twice(loaded: Application) -> None:
    """Handed over, the sound was missing, then the agent's side ends: one record says so."""
    call_id = call(loaded)
    story = loaded.choices.story(call_id)
    assert story is not None
    event = notice_played(
        story, "1.8", "nl", "notice-acme", None, NoticeResult.NOT_PLAYED, NoticeEnd.NO_SOUND, heard_ms=0
    )
    loaded.journal.append([event], soon())
    for ended_by in ("hand_over", "consumer"):
        finish(loaded, call_id, ended_by)
    assert [one["ended"] for one in bodies(loaded, EventType.NOTICE_PLAYED)] == ["no_sound"]
    assert [one["notice"] for one in bodies(loaded, EventType.CALL_FINISHED)] == ["not_played"]


def test_research_needs_no_notice(loaded: Application) -> None:
    """Nothing is missing at its end."""
    call_id = call(loaded, campaign="survey")
    assert finish(loaded, call_id, "consumer").notice == "not_due"


def test_conversations_without_an_offer_are_shown(loaded: Application, tmp_path: Path) -> None:
    """Answered, the notice due, no key of the agent, and no machine; with what was heard of the notice."""
    missing, offered, voicemail, busy = (call(loaded) for _ in range(4))
    press(loaded, offered, "offered")
    press(loaded, voicemail, "voicemail")
    for call_id in (missing, offered, voicemail):
        finish(loaded, call_id)
    finish(loaded, busy, dialstatus="BUSY")
    finish(loaded, call(loaded, campaign="survey"))
    left = call(loaded)
    finish(loaded, left, "consumer")
    environment = {"BMN_CONFIG": str(tmp_path / "bmn.toml")}
    done = bmn("log", "--missing-offer", "--json", environment=environment)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(row["call"], row["notice"]) for row in rows] == [(missing, "not_played"), (left, "not_played")]
    assert bmn("log", "--missing-offer", "--csv", environment=environment).stdout.count(missing) == 1
    assert missing in bmn("log", "--missing-offer", environment=environment).stdout
    wrong = bmn("log", "--missing-offer", "--verdict", "block", environment=environment, check=False)
    assert wrong.returncode == 2


def test_a_notice_that_never_began_is_on_record(loaded: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    """The service was down: once no conversation can go on any more somebody says so, once."""
    call_id = call(loaded)
    finish(loaded, call_id)
    assert loaded.finishing.close_open(soon()) == {}
    monkeypatch.setattr(loaded.finishing, "_clock", lambda: datetime.now(UTC) + NOTICE_WITHIN - timedelta(minutes=1))
    assert loaded.finishing.close_open(soon()) == {}
    monkeypatch.setattr(loaded.finishing, "_clock", lambda: datetime.now(UTC) + NOTICE_WITHIN + timedelta(minutes=1))
    never_began = {(NoticeResult.NOT_PLAYED, NoticeEnd.NEVER_BEGAN): 1}
    assert [loaded.finishing.close_open(soon()) for _ in range(2)] == [never_began, {}]
    (played,) = bodies(loaded, EventType.NOTICE_PLAYED)
    assert (played["call"], played["result"], played["ended"]) == (call_id, "not_played", "never_began")
    assert (played["proof"], played["sent"]) == (None, None), "nothing was played, so nothing is to be proved"


@pytest.mark.parametrize("finished_first", [True, False], ids=["the call ended", "its end is not on record either"])
def test_a_notice_that_was_cut_off_by_a_crash_is_not_one_that_never_began(
    loaded: Application, monkeypatch: pytest.MonkeyPatch, finished_first: bool
) -> None:
    """What is on disk of it is its beginning: so part of it may have been heard, and 0 ms are known."""
    call_id = call(loaded)
    if finished_first:
        finish(loaded, call_id)
    begin_notice(loaded, call_id)
    assert loaded.finishing.close_open(soon()) == {}
    monkeypatch.setattr(loaded.finishing, "_clock", lambda: datetime.now(UTC) + timedelta(minutes=16))
    cut_off = {(NoticeResult.PARTIAL, NoticeEnd.AGENT_LOST): 1}
    assert [loaded.finishing.close_open(soon()) for _ in range(2)] == [cut_off, {}]
    (played,) = bodies(loaded, EventType.NOTICE_PLAYED)
    about = ("call", "result", "ended", "heard_ms", "prompt", "long_ms", "proof", "uniqueid")
    assert [played[name] for name in about] == [call_id, "partial", "agent_lost", 0, "notice-acme", 9000, None, "1.8"]


def test_a_notice_that_goes_on_is_still_to_follow(loaded: Application, tmp_path: Path) -> None:
    """While it is being heard nobody says that it was not played, however the agent's leg ended."""
    call_id = call(loaded)
    begin_notice(loaded, call_id)
    assert finish(loaded, call_id, "consumer").notice == "to_follow"
    assert bodies(loaded, EventType.NOTICE_PLAYED) == []
    environment = {"BMN_CONFIG": str(tmp_path / "bmn.toml")}
    (row,) = map(json.loads, bmn("log", "--missing-offer", "--json", environment=environment).stdout.splitlines())
    assert row["notice"] == "to_follow"


def begin_notice(app: Application, call_id: str) -> None:
    """What is on disk before the first sound of a notice."""
    story = app.choices.story(call_id)
    assert story is not None
    sound = Sound(name="notice-acme", sha256="ab" * 32, milliseconds=9_000, silent=False)
    app.journal.append([notice_begun(story, "1.8", "nl", "notice-acme", sound)], soon())
