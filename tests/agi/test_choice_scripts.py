"""``notice``, ``key`` and ``finish`` of the real service, as the strict Asterisk sees them, command by command."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis

from agent import dialplan_names as names
from agent.domain.deadline import Deadline
from agent.domain.profile import NL_BMNR
from deploy.lab.redis_server import PrivateRedis
from tests.agi.fake_asterisk import FakeAsterisk, environment
from tests.agi.test_screen_script import Site
from tests.conftest import wired
from tests.waiting import until

CHANNEL = "1795465754.7"
KILLS = int(os.environ.get("BMN_KILLS", "25"))
"""How often the service is killed; 200 is the full measure."""
ENOUGH = NL_BMNR.notice.listen_ms * 8
"""Samples of a question that must be heard before a key answers it."""
TOLD = f"SET VARIABLE ARRAY({names.BMN_NOTICE_RESULT},{names.BMN_CHOICE})"


@pytest.fixture
def site(tmp_path: Path, redis_url: str, prompts: Path) -> Iterator[Site]:
    """A running service with a register that holds none of our numbers."""
    site = Site(tmp_path, redis_url, BMN_SOUNDS__PATH=str(prompts))
    with site.agent:
        site.load("0611111111\n")
        yield site


def a_call(site: Site, number: str = "0612349999", campaign: str = "energy") -> str:
    """The id of a call that was allowed."""
    return site.screen(number, campaign, "agent-7")["BMN_CALL"]


class Consumer:
    """A consumer's line: answers prompts as told, and knows what it was played."""

    def __init__(self, asterisk: FakeAsterisk) -> None:
        self.asterisk = asterisk
        self.played: list[str] = []
        self.told: list[str] = []

    def next(self) -> str:
        """The next command that wants an answer of the consumer; variables are confirmed on the way."""
        while True:
            command = self.asterisk.read_command()
            if not command.startswith("SET VARIABLE"):
                return command
            if command.startswith(TOLD):
                self.told.append(command.removeprefix(TOLD).strip(' "'))
            self.asterisk.send("200 result=1\n")

    def hear(self, name: str, *, key: str = "", endpos: int | None = None, failed: bool = False) -> None:
        """Hear prompts until this one; press ``key`` in it, or hear it out."""
        while True:
            command = self.next()
            if command.startswith("WAIT FOR DIGIT"):
                self.asterisk.send("200 result=0\n")
                continue
            prompt = command.split()[2].removeprefix("bmn/")
            self.played.append(prompt)
            here = prompt == name
            if here and failed:
                self.asterisk.send(f"200 result=-1 endpos={endpos or 0}\n")
                return
            length = self.length(prompt) if endpos is None or not here else endpos
            self.asterisk.send(f"200 result={ord(key) if here and key else 0} endpos={length}\n")
            if here:
                return

    @staticmethod
    def length(prompt: str) -> int:
        """Samples, more than any prompt has."""
        return 1_000_000

    def hang_up(self) -> None:
        """Asterisk lets go of the agent, as with AGIEXITONHANGUP."""
        self.asterisk.hang_up()


def conduct(site: Site, call: str) -> Consumer:
    """A notice on a new channel."""
    return Consumer(FakeAsterisk.call(site.address, names.SCRIPT_NOTICE, call))


def wait_for(site: Site, where: str, count: int = 1) -> list[Any]:
    """Records, once there are that many."""
    until(lambda: len(site.records(where)) >= count)
    return site.records(where)


def said(site: Site, count: int) -> list[str]:
    """What the consumer said."""
    return [one["answer"] for one in wait_for(site, "type = 'choice.recorded'", count)]


def test_a_notice_from_beginning_to_end(site: Site) -> None:
    """Language first, the notice without keys, questions with all keys, each answer told to the dialplan."""
    with FakeAsterisk.call(site.address, names.SCRIPT_NOTICE, a_call(site)) as asterisk:
        asterisk.expect(f'{TOLD} "not_played,none"').confirm()
        asterisk.expect('SET VARIABLE CHANNEL(language) "nl"').confirm()
        asterisk.expect('STREAM FILE bmn/notice-acme ""').reply("200 result=0 endpos=9999999")
        asterisk.expect(f'{TOLD} "heard,none"').confirm()
        asterisk.expect('STREAM FILE bmn/menu-acme "0123456789*#"').reply("200 result=0 endpos=9999999")
        asterisk.expect("WAIT FOR DIGIT 5000").reply("200 result=50")
        asterisk.expect(f'{TOLD} "heard,register_charities_not_answered"').confirm()
        asterisk.expect('STREAM FILE bmn/scope "0123456789*#"').reply(f"200 result=49 endpos={ENOUGH}")
        asterisk.expect(f'{TOLD} "heard,register_charities_not_answered"').confirm()
        asterisk.expect('STREAM FILE bmn/charities "0123456789*#"').reply(f"200 result=50 endpos={ENOUGH}")
        asterisk.expect(f'{TOLD} "heard,register_without_charities"').confirm()
        asterisk.expect('STREAM FILE bmn/chosen-register-all ""').reply("200 result=0 endpos=800")
        asterisk.expect('STREAM FILE bmn/chosen-charities-no ""').reply("200 result=0 endpos=800")
        for _ in range(2):
            asterisk.expect('STREAM FILE bmn/chosen-correct "0123456789*#"').reply("200 result=0 endpos=800")
            asterisk.expect("WAIT FOR DIGIT 5000").reply("200 result=0")
        asterisk.expect('STREAM FILE bmn/goodbye ""').reply("200 result=0 endpos=800")
    assert said(site, 3) == ["register", "everything", "not_charities"]
    (record, *_) = site.records("type = 'choice.recorded'")
    assert (record["question"], record["digit"], record["prompt"], len(record["sha256"])) == (
        "menu",
        "2",
        "menu-acme",
        64,
    )
    (line,) = until(lambda: site.agent.log("notice.played"))
    assert (line["result"], line["choice"], line["number"]) == ("heard", "register_without_charities", "+316*****999")


def test_an_answer_is_on_disk_and_in_force_before_the_next_prompt(site: Site) -> None:
    """While the read-back is only being asked for, the next screening is blocked already."""
    consumer = conduct(site, a_call(site))
    consumer.hear("menu-acme", key="1")
    command = consumer.next()
    assert command.startswith("STREAM FILE bmn/chosen-seller-optout-acme")
    assert said(site, 1) == ["seller_optout"]
    assert site.screen("0612349999", "energy", "agent-8")["BMN_REASON"] == "seller_optout"
    consumer.hang_up()


@pytest.mark.parametrize("step", range(9))
def test_a_hangup_at_each_command_keeps_what_was_said(site: Site, step: int) -> None:
    """However Asterisk ends the session: answers given stand, nothing else is invented, the service goes on."""
    script = [
        ("notice-acme", "", ["hung_up"], 0),
        ("menu-acme", "2", [], 0),
        ("scope", "1", ["register"], 1),
        ("charities", "2", ["register", "everything"], 2),
    ]
    call = a_call(site)
    consumer = conduct(site, call)
    for prompt, key, _, _ in script[: step // 2]:
        consumer.hear(prompt, key=key)
    if step % 2:
        with suppress(AssertionError):
            consumer.next()
    consumer.hang_up()
    expected = [*("register", "everything", "not_charities")][: max(0, step // 2 - 1)]
    until(lambda: site.agent.log("notice.played"))
    answers = [answer for answer in said(site, len(expected)) if answer != "hung_up"]
    assert answers == expected
    assert site.screen("0687654321", "energy", "agent-8")["BMN_VERDICT"] == "allow"


def test_a_hangup_while_the_dialplan_is_told_leaves_the_answer(site: Site) -> None:
    """The session ends in order; of the next question, which nobody heard, there is no record."""
    consumer = conduct(site, a_call(site))
    consumer.hear("menu-acme", key="2")
    assert consumer.asterisk.read_command().startswith(TOLD)
    consumer.hang_up()
    assert until(lambda: site.agent.log("notice.played"))[-1]["choice"] == "register_charities_not_answered"
    assert said(site, 1) == ["register"]
    assert site.agent.log("request.failed") == []


def test_how_much_was_heard_is_asterisks_count(site: Site) -> None:
    """Half of it is partial; nothing at all is not played."""
    for endpos, result in ((8000, "partial"), (0, "not_played")):
        consumer = conduct(site, a_call(site))
        consumer.hear("notice-acme", endpos=endpos, failed=True)
        assert consumer.next() == "WAIT FOR DIGIT 1"
        consumer.asterisk.send("200 result=-1\n")
        consumer.hang_up()
        assert wait_for(site, "type = 'notice.played' AND json_extract(body, '$.result') = '" + result + "'")


@pytest.mark.parametrize("argument", ["", "no-such-call", "x" * 500])
def test_a_notice_of_no_call_plays_nothing(site: Site, argument: str) -> None:
    """Nobody is told anything on a line that we know nothing of."""
    with FakeAsterisk.call(site.address, names.SCRIPT_NOTICE, argument) as asterisk:
        asterisk.expect(f'{TOLD} "not_played,none"').confirm()
    assert site.records("type = 'notice.played'") == []


def test_an_answer_that_cannot_be_kept_is_not_confirmed(site: Site) -> None:
    """The journal is locked: the consumer hears so, and whom to turn to."""
    consumer = conduct(site, a_call(site))
    with closing(sqlite3.connect(site.folder / "journal.db", isolation_level=None)) as other:
        consumer.hear("notice-acme")
        command = consumer.next()
        assert command.startswith("STREAM FILE bmn/menu-acme")
        other.execute("BEGIN IMMEDIATE")
        consumer.asterisk.send(f"200 result={ord('1')} endpos={ENOUGH}\n")
        assert consumer.next() == 'STREAM FILE bmn/not-recorded-acme ""'
        consumer.asterisk.send("200 result=0 endpos=800\n")
        consumer.asterisk.expect_end()
        other.execute("ROLLBACK")
    assert until(lambda: site.agent.log("notice.played"))[-1]["failure"]


def test_a_notice_that_a_kill_cuts_off_has_begun(
    tmp_path: Path, redis_url: str, prompts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed in its first sound: the beginning is on disk, and the books say later what is known of the rest."""
    site = Site(tmp_path, redis_url, BMN_SOUNDS__PATH=str(prompts))
    with site.agent:
        site.load("0611111111\n")
        call = a_call(site)
        consumer = conduct(site, call)
        assert consumer.next() == 'STREAM FILE bmn/notice-acme ""'
        (begun,) = site.records("type = 'notice.begun'")
        os.kill(site.agent.pid, signal.SIGKILL)
        consumer.hang_up()
    assert (begun["call"], begun["prompt"], begun["uniqueid"]) == (call, "notice-acme", CHANNEL)
    assert site.records("type = 'notice.played'") == []
    with wired(tmp_path, redis_url) as app:
        monkeypatch.setattr(app.finishing, "_clock", lambda: datetime.now(UTC) + timedelta(minutes=16))
        app.finishing.close_open(Deadline.after_ms(5_000))
    (played,) = site.records("type = 'notice.played'")
    about = ("call", "result", "ended", "heard_ms", "prompt", "long_ms")
    known = [call, "partial", "agent_lost", 0, "notice-acme", begun["long_ms"]]
    assert [played[name] for name in about] == known


# --- key and finish


def press(site: Site, call: str, key: str, leg: tuple[str, ...] = (names.CONNECTED,)) -> str:
    """A key of the agent; its result. ``leg`` is what the dialplan says of the leg that it was pressed on."""
    asterisk = FakeAsterisk.connect(site.address)
    with asterisk:
        asterisk.send("\n".join([*environment(names.SCRIPT_KEY, call, key, *leg, uniqueid=CHANNEL), "", ""]))
        command = asterisk.read_command()
        asterisk.send("200 result=1\n")
    return command.removeprefix(f"SET VARIABLE ARRAY({names.BMN_KEY_RESULT}) ").strip('"')


def test_a_key_is_answered_in_one_variable(site: Site) -> None:
    """Recorded where the leg is connected to the consumer of that call; else rejected, and logged with the reason.

    A dialplan that does not say so yet is one that was not loaded again: nothing that it asks for is recorded.
    """
    call = a_call(site)
    assert press(site, call, "register_with_charities") == "recorded"
    assert press(site, call, "register_with_charities", leg=("",)) == "rejected"
    assert press(site, call, "register_with_charities", leg=()) == "rejected"
    assert press(site, "", "register_with_charities", leg=("",)) == "rejected"
    assert press(site, call, "no-such-key") == "rejected"
    assert press(site, "no-such-call", "offered") == "rejected"
    until(lambda: len(site.agent.log("key.pressed")) == 6)
    rejections = Counter(line["rejection"] for line in site.agent.log("key.pressed"))
    assert rejections == Counter([None, *["not_connected"] * 3, "unknown_key", "unknown_call"])
    assert len(site.records("type = 'choice.recorded'")) == 1


def test_finish_sets_nothing_and_counts_once(site: Site) -> None:
    """As a hangup handler may call it twice."""
    call = a_call(site)
    for _ in range(2):
        with FakeAsterisk.call(site.address, names.SCRIPT_FINISH, call, "ANSWER", "12", "16", "2", "consumer"):
            pass
    (finished,) = site.records("type = 'call.finished'")
    about = ("dialstatus", "answered_s", "cause", "rang", "ended_by", "offered")
    assert [finished[name] for name in about] == ["ANSWER", 12, 16, True, "consumer", False]
    (line,) = until(lambda: site.agent.log("call.finished"))
    assert (line["level"], line["number"]) == ("warning", "+316*****999"), "answered without an offer"


def test_finish_believes_the_dialplan_about_the_answer(site: Site) -> None:
    """Not DIALSTATUS, which a colleague may have made; and the record has the leg of the agent, not of who asks."""
    call = a_call(site)
    told = (call, "ANSWER", "", "16", "2", "", "1.77", "not_answered")
    with FakeAsterisk.call(site.address, names.SCRIPT_FINISH, *told):
        pass
    (finished,) = site.records("type = 'call.finished'")
    about = ("dialstatus", "answered", "answered_s", "ended_by", "uniqueid")
    assert [finished[name] for name in about] == ["ANSWER", False, 0, "not_answered", "1.77"]


def test_left_is_on_record_and_in_the_log(site: Site) -> None:
    """The consumer's leg ended before the notice that was to follow; asked again, nothing is added."""
    call = a_call(site)
    with FakeAsterisk.call(site.address, names.SCRIPT_FINISH, call, "ANSWER", "12", "16", "2", "transferred"):
        pass
    for _ in range(2):
        with FakeAsterisk.call(site.address, names.SCRIPT_LEFT, call, "consumer", "1.78"):
            pass
    with FakeAsterisk.call(site.address, names.SCRIPT_LEFT):
        pass
    (played,) = site.records("type = 'notice.played'")
    assert (played["result"], played["ended"], played["uniqueid"]) == ("not_played", "transferred", "1.78")
    (line,) = site.agent.log("notice.played")
    assert (line["level"], line["result"], line["ended"]) == ("warning", "not_played", "transferred")


def test_finish_says_who_has_left_already(site: Site) -> None:
    """The agent ended the conversation, and somebody the consumer's channel at once: no notice is to follow."""
    call = a_call(site)
    told = (call, "ANSWER", "12", "16", "2", "", "1.77", "answered", "cut_off")
    with FakeAsterisk.call(site.address, names.SCRIPT_FINISH, *told):
        pass
    (finished,) = site.records("type = 'call.finished'")
    (played,) = site.records("type = 'notice.played'")
    assert (finished["ended_by"], finished["notice"], played["ended"]) == ("agent", "not_played", "cut_off")


@pytest.mark.parametrize("arguments", [(), ("no-such-call",), ("no-such-call", "ANSWER", "x", "y", "z", "w", "v")])
def test_finish_takes_what_comes(site: Site, arguments: tuple[str, ...]) -> None:
    """Odd values are no error of the call."""
    with FakeAsterisk.call(site.address, names.SCRIPT_FINISH, *arguments):
        pass
    assert site.records("type = 'call.finished'") == []


# --- kill -9


def test_what_was_confirmed_survives_a_kill_at_any_moment(
    tmp_path: Path, own_redis: PrivateRedis, prompts: Path
) -> None:
    """Between key and confirmation the service is killed, at random moments.

    Every key that was confirmed is in the journal exactly once and, after a restart, in Redis; none is there twice.
    """
    dice = random.Random(20261123)
    site = Site(tmp_path, own_redis.url, BMN_SOUNDS__PATH=str(prompts))
    confirmed: list[str] = []
    pressed: list[str] = []
    with site.agent:
        site.load("0611111111\n")
        numbers = [f"06123{serial:05d}" for serial in range(KILLS)]
        for number in numbers:
            call = a_call(site, number)
            pressed.append(call)
            if press_and_kill(site, call, dice.random() * 0.012):
                confirmed.append(call)
            site.agent.kill()
            site.agent.start()
        recorded = [one["call"] for one in site.records("type = 'choice.recorded'")]
        assert len(recorded) == len(set(recorded)), "a key was recorded twice"
        assert set(confirmed) <= set(recorded) <= set(pressed)
        for number, call in zip(numbers, pressed, strict=True):
            reason = site.screen(number, "energy", "")["BMN_REASON"]
            assert reason == ("seller_optout" if call in recorded else "not_registered")
        with redis.Redis.from_url(own_redis.url, decode_responses=True) as client:
            members = sum(client.scard(key) for key in client.scan_iter("bmn:*optout:acme"))
        assert members == len(recorded)
    assert len(confirmed) < KILLS, "no kill came before a confirmation: the moments prove nothing"
    print(json.dumps({"kills": KILLS, "confirmed": len(confirmed), "recorded": len(recorded)}))  # noqa: T201  # a figure


def press_and_kill(site: Site, call: str, delay_s: float) -> bool:
    """Press ``*73`` and kill the service after a delay; True when ``recorded`` had been said by then."""
    asterisk = FakeAsterisk.connect(site.address)
    try:
        asterisk.send("\n".join([*environment(names.SCRIPT_KEY, call, "seller_optout", "connected"), "", ""]))
        time.sleep(delay_s)
        os.kill(site.agent.pid, signal.SIGKILL)
        return "recorded" in asterisk.read_command()
    except (AssertionError, OSError):  # it ended before it said anything
        return False
    finally:
        asterisk.hang_up()
