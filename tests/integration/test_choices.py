"""Choices on a real journal and a real Redis: on disk, in force, undone, applied late, and due to the registrar."""

from __future__ import annotations

import csv
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from agent.bootstrap import Application
from agent.choices import KeyOutcome, KeyPress, KeyResult, Rejection
from agent.domain.call_story import NoticeResult
from agent.domain.choice import AGENT_KEYS, Answer, Question
from agent.domain.deadline import Deadline
from agent.domain.dialogue import Said
from agent.domain.errors import InputRejected
from agent.domain.journal_events import EventType
from agent.domain.phone_number import PhoneNumber
from agent.domain.registration import Acknowledgement, AcknowledgementFile, RegistrationState
from agent.finishing import FinishReport
from agent.notices import NoticeEnd, notice_played
from agent.registrations import Exported
from agent.screening import ScreenRequest
from deploy.lab.agent_service import bmn
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
        ({"uniqueid": "9.9"}, Rejection.NOT_THEIRS),
        ({"uniqueid": ""}, Rejection.NOT_THEIRS),
        ({"connected": False}, Rejection.NOT_CONNECTED),
        ({"key": "undo"}, Rejection.NOTHING_TO_UNDO),
    ],
)
def test_a_key_that_is_not_theirs_to_press_is_rejected(
    loaded: Application, change: dict[str, Any], rejection: Rejection
) -> None:
    """Nothing is recorded, and the reason is told."""
    pressed: dict[str, Any] = {"call_id": call(loaded), "key": "declined", **change}
    outcome = press(loaded, **pressed)
    assert (outcome.result, outcome.rejection) == (KeyResult.REJECTED, rejection)
    assert bodies(loaded, EventType.CHOICE_RECORDED) == []


def test_a_call_that_was_blocked_or_is_over_takes_no_keys(loaded: Application) -> None:
    """Only the number that is connected can be registered."""
    blocked = call(loaded, number="0611111111")
    assert press(loaded, blocked, "register_with_charities").rejection is Rejection.NOT_CONNECTED
    emergency = call(loaded, number="112")
    assert press(loaded, emergency, "seller_optout").rejection is Rejection.NOT_CONNECTED
    over = call(loaded)
    finish(loaded, over)
    assert press(loaded, over, "declined").rejection is Rejection.NOT_CONNECTED


def test_a_screening_from_the_command_line_is_nobodys_call(loaded: Application) -> None:
    """It has no channel, so no channel is the one that it was made on."""
    request = ScreenRequest(number=NUMBER, campaign="energy", agent="", source="command")
    call_id = loaded.screening.screen(request, soon())[0].call_id
    assert press(loaded, call_id, "declined", uniqueid="").rejection is Rejection.NOT_THEIRS


def finish(app: Application, call_id: str, ended_by: str = "", dialstatus: str = "ANSWER") -> Any:
    """The end of a call."""
    report = FinishReport(
        call=call_id, dialstatus=dialstatus, answered_s=9, cause=16, rang=True, ended_by=ended_by, uniqueid=CHANNEL
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


# --- the end of a call


@pytest.mark.parametrize(
    ("dialstatus", "ended_by", "notice", "played"),
    [
        ("ANSWER", "", "to_follow", []),
        ("ANSWER", "hand_over", "to_follow", []),
        ("ANSWER", "consumer", "not_played", ["consumer_left"]),
        ("ANSWER", "transferred", "not_played", ["transferred"]),
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


# --- the registrar


def export(app: Application, path: Path, *, rejected: bool = False) -> Exported | None:
    """A batch, once every call is over."""
    for item in app.registrations.all():
        finish(app, item.call)
    return app.registrations.export(path, rejected=rejected)


def states(app: Application) -> list[str]:
    """Of all registrations."""
    return [item.state for item in app.registrations.all()]


def answered(*rows: tuple[str, bool, str | None]) -> AcknowledgementFile:
    """An answer of the registrar."""
    return AcknowledgementFile(
        name="answer.csv",
        sha256="0" * 64,
        rows=tuple(
            Acknowledgement(line=line, call=call_id, batch="", number="", accepted=accepted, reason=why)
            for line, (call_id, accepted, why) in enumerate(rows, start=2)
        ),
    )


@pytest.fixture
def settled(tmp_path: Path, redis_url: str) -> Any:
    """Calls count as over at once."""
    with wired(tmp_path, redis_url, BMN_REGISTRATIONS__SETTLE_MINUTES="0") as application:
        load_register(application, EMPTY)
        yield application


def test_a_registration_is_handed_over_once(settled: Application, tmp_path: Path) -> None:
    """The batch holds what was answered and nothing else; the next has none of it; the same batch can be had again."""
    first, second = call(settled), call(settled, number="0687654321")
    say(settled, first, Answer.REGISTER)
    press(settled, second, "register_without_charities")
    press(settled, call(settled, number="0687654322"), "seller_optout")
    exported = export(settled, tmp_path / "batch.csv")
    assert exported is not None
    rows = list(csv.DictReader((tmp_path / "batch.csv").read_text().splitlines()))
    assert [(row["call"], row["number"], row["scope"], row["charities"]) for row in rows] == [
        (first, "+31612345678", "not_answered", "not_answered"),
        (second, "+31687654321", "everything", "no"),
    ]
    assert (tmp_path / "batch.csv").stat().st_mode & 0o777 == 0o600
    assert export(settled, tmp_path / "empty.csv") is None
    assert not (tmp_path / "empty.csv").exists()
    settled.registrations.rewrite(exported.batch, tmp_path / "again.csv")
    assert (tmp_path / "again.csv").read_bytes() == (tmp_path / "batch.csv").read_bytes()
    assert states(settled) == [RegistrationState.EXPORTED] * 2


def test_a_call_that_may_go_on_waits(loaded: Application, tmp_path: Path) -> None:
    """What is said a minute later would not be in the file."""
    press(loaded, call(loaded), "register_with_charities")
    assert loaded.registrations.export(tmp_path / "batch.csv") is None
    assert states(loaded) == [RegistrationState.PENDING]


def test_a_file_that_exists_is_not_replaced(settled: Application, tmp_path: Path) -> None:
    """And nothing counts as handed over."""
    press(settled, call(settled), "register_with_charities")
    (tmp_path / "batch.csv").write_text("precious")
    with pytest.raises(InputRejected):
        export(settled, tmp_path / "batch.csv")
    with pytest.raises(InputRejected):
        export(settled, tmp_path / "no-such-folder" / "batch.csv")
    assert states(settled) == [RegistrationState.PENDING]
    assert (tmp_path / "batch.csv").read_text() == "precious"


def test_a_crash_between_record_and_file_exports_nothing_twice(
    settled: Application, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The journal has the batch, so the next one is without it; ``again`` writes the file."""
    press(settled, call(settled), "register_with_charities")

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.link", die)
    with pytest.raises(KeyboardInterrupt):
        export(settled, tmp_path / "batch.csv")
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir() if "batch" in path.name] == []
    assert export(settled, tmp_path / "batch.csv") is None
    (item,) = settled.registrations.all()
    assert item.batch is not None
    settled.registrations.rewrite(item.batch, tmp_path / "batch.csv")
    assert "+31612345678" in (tmp_path / "batch.csv").read_text()


def test_what_the_registrar_answers(settled: Application, tmp_path: Path) -> None:
    """Accepted, rejected with a reason, again in a batch of its own; the same file twice changes nothing."""
    first, second = call(settled), call(settled, number="0687654321")
    press(settled, first, "register_with_charities")
    press(settled, second, "register_with_charities")
    export(settled, tmp_path / "1.csv")
    file = answered((first, True, None), (second, False, "number not in use"))
    done = settled.registrations.acknowledge(file)
    assert (done.accepted, done.rejected, done.unchanged) == (1, 1, 0)
    assert settled.registrations.acknowledge(file).unchanged == 2
    assert states(settled) == [RegistrationState.ACCEPTED, RegistrationState.REJECTED]
    again = export(settled, tmp_path / "2.csv", rejected=True)
    assert again is not None
    assert again.count == 1
    assert second in (tmp_path / "2.csv").read_text()
    assert states(settled) == [RegistrationState.ACCEPTED, RegistrationState.EXPORTED]


@pytest.mark.parametrize(
    "rows",
    [
        lambda known: answered(("no-such-call", True, None)),
        lambda known: answered((known, True, None), ("no-such-call", False, "x")),
        lambda known: answered((known, False, None)),
    ],
)
def test_a_wrong_answer_records_nothing(
    settled: Application, tmp_path: Path, rows: Callable[[str], AcknowledgementFile]
) -> None:
    """An unknown call, or a rejection without a reason, rejects the whole file."""
    known = call(settled)
    press(settled, known, "register_with_charities")
    export(settled, tmp_path / "1.csv")
    with pytest.raises(InputRejected):
        settled.registrations.acknowledge(rows(known))
    assert states(settled) == [RegistrationState.EXPORTED]


def test_what_was_taken_back_is_not_handed_over(settled: Application, tmp_path: Path) -> None:
    """Withdrawn before a batch it is in none; after one the registrar is told, once."""
    other = call(settled)
    press(settled, other, "register_with_charities")
    press(settled, other, "undo")
    finish(settled, other)
    call_id = call(settled)
    press(settled, call_id, "register_with_charities")
    say(settled, call_id, Answer.REGISTER)
    finish(settled, call_id)
    export(settled, tmp_path / "1.csv")
    say(settled, call_id, Answer.SELLER_OPTOUT)
    assert states(settled) == [RegistrationState.WITHDRAWN, RegistrationState.EXPORTED], "the agent's key stands"


def test_a_wish_that_widens_is_handed_over_again(settled: Application, tmp_path: Path) -> None:
    """After the batch the consumer wants charities blocked as well; the first batch can be had again as it was."""
    call_id = call(settled)
    press(settled, call_id, "register_without_charities")
    finish(settled, call_id)
    first = export(settled, tmp_path / "1.csv")
    assert first is not None
    for answer in (Answer.REGISTER, Answer.EVERYTHING, Answer.CHARITIES_TOO):
        say(settled, call_id, answer)
    assert states(settled) == [RegistrationState.PENDING]
    export(settled, tmp_path / "2.csv")
    rows = [next(csv.DictReader((tmp_path / name).read_text().splitlines())) for name in ("1.csv", "2.csv")]
    assert [(row["action"], row["charities"]) for row in rows] == [("register", "no"), ("register", "yes")]
    assert states(settled) == [RegistrationState.EXPORTED]
    settled.registrations.rewrite(first.batch, tmp_path / "1-again.csv")
    assert (tmp_path / "1-again.csv").read_bytes() == (tmp_path / "1.csv").read_bytes()


def test_a_registration_taken_back_after_the_batch_is_withdrawn_there(settled: Application, tmp_path: Path) -> None:
    """The consumer corrects himself in the notice: the registrar hears withdraw."""
    call_id = call(settled)
    say(settled, call_id, Answer.REGISTER)
    finish(settled, call_id)
    export(settled, tmp_path / "1.csv")
    say(settled, call_id, Answer.SELLER_OPTOUT)
    assert states(settled) == [RegistrationState.PENDING]
    export(settled, tmp_path / "2.csv")
    (row,) = csv.DictReader((tmp_path / "2.csv").read_text().splitlines())
    assert (row["call"], row["action"]) == (call_id, "withdraw")
    assert export(settled, tmp_path / "3.csv") is None


def test_an_old_answer_read_again_changes_nothing(settled: Application, tmp_path: Path) -> None:
    """A rejection of the first batch says nothing of the second, and an unknown batch is refused."""
    call_id = call(settled)
    press(settled, call_id, "register_with_charities")
    finish(settled, call_id)
    first = export(settled, tmp_path / "1.csv")
    assert first is not None
    row = Acknowledgement(line=2, call=call_id, batch=first.batch, number="", accepted=False, reason="busy")
    file = AcknowledgementFile(name="answer.csv", sha256="0" * 64, rows=(row,))
    settled.registrations.acknowledge(file)
    export(settled, tmp_path / "2.csv", rejected=True)
    assert settled.registrations.acknowledge(file).unchanged == 1
    assert states(settled) == [RegistrationState.EXPORTED]
    unknown = Acknowledgement(line=2, call=call_id, batch="no-such-batch", number="", accepted=True, reason=None)
    with pytest.raises(InputRejected):
        settled.registrations.acknowledge(AcknowledgementFile(name="x", sha256="", rows=(unknown,)))


def test_a_call_without_a_recorded_end_is_over_after_hours(loaded: Application) -> None:
    """However long it was silent in a long conversation, it may go on."""
    press(loaded, call(loaded), "register_with_charities")
    (item,) = loaded.registrations.all()
    now = datetime.now(UTC)
    assert not item.is_settled(now + timedelta(hours=3), timedelta(minutes=15))
    assert item.is_settled(now + timedelta(hours=5), timedelta(minutes=15))


def test_a_notice_that_never_began_is_on_record(loaded: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both hung up at once, or the service was down: after its time somebody says so, once."""
    call_id = call(loaded)
    finish(loaded, call_id)
    assert loaded.finishing.close_open(soon()) == 0
    monkeypatch.setattr(loaded.finishing, "_clock", lambda: datetime.now(UTC) + timedelta(minutes=16))
    assert [loaded.finishing.close_open(soon()) for _ in range(2)] == [1, 0]
    (played,) = bodies(loaded, EventType.NOTICE_PLAYED)
    assert (played["call"], played["result"], played["ended"]) == (call_id, "not_played", "never_began")


def test_the_registrars_words_are_shown_without_a_number(tmp_path: Path, settled: Application) -> None:
    """He may repeat it in the reason of a rejection; the journal has it in full."""
    call_id = call(settled)
    press(settled, call_id, "register_with_charities")
    export(settled, tmp_path / "1.csv")
    settled.registrations.acknowledge(answered((call_id, False, "06-12 34 56 78 is not in use")))
    with settled.redis.commands() as client:
        url = f"unix://{client.connection_pool.connection_kwargs['path']}"
    environment = {"BMN_CONFIG": str(tmp_path / "bmn.toml"), "BMN_REDIS_URL": url}
    for form in ((), ("--json",)):
        text = bmn("registrations", "status", *form, environment=environment).stdout
        assert "06-******** 78 is not in use" in text
    assert bodies(settled, EventType.REGISTRATION_ACKNOWLEDGED)[0]["reason"] == "06-12 34 56 78 is not in use"


def test_the_command_line_of_registrations(tmp_path: Path, settled: Application) -> None:
    """Status, export and acknowledge, as JSON."""
    call_id = call(settled)
    press(settled, call_id, "register_with_charities")
    finish(settled, call_id)
    with settled.redis.commands() as client:
        url = f"unix://{client.connection_pool.connection_kwargs['path']}"
    environment = {
        "BMN_CONFIG": str(tmp_path / "bmn.toml"),
        "BMN_REDIS_URL": url,
        "BMN_REGISTRATIONS__SETTLE_MINUTES": "0",
    }

    def run(*arguments: str, check: bool = True) -> Any:
        return json.loads(bmn("registrations", *arguments, "--json", environment=environment, check=check).stdout)

    assert run("status")["counts"]["pending"] == 1
    exported = run("export", "--out", str(tmp_path / "batch.csv"))
    assert exported["count"] == 1
    (row,) = csv.DictReader((tmp_path / "batch.csv").read_text().splitlines())
    answer = tmp_path / "answer.csv"
    answer.write_text(f"call,number,result,reason\n{row['call']},{row['number']},accepted,\n")
    assert run("acknowledge", str(answer)) == {"accepted": 1, "rejected": 0, "unchanged": 0}
    assert run("status")["counts"]["accepted"] == 1
    for wrong in (
        "call\nx\n",
        "call,result\nx,perhaps\n",
        "call,result\n",
        f"call,number,result\n{row['call']},+31600000000,accepted\n",
    ):
        answer.write_text(wrong)
        done = bmn("registrations", "acknowledge", str(answer), environment=environment, check=False)
        assert (done.returncode, done.stderr.count("Traceback")) == (4, 0), wrong
