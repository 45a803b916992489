"""What the journal says of verdicts that Asterisk did not wait for, or did not confirm."""

from __future__ import annotations

import socket
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from agent import dialplan_names as names
from deploy.lab.redis_server import PrivateRedis
from tests.agi.fake_asterisk import FakeAsterisk, environment
from tests.agi.fault_table import FAULTS, Line, run
from tests.agi.test_screen_script import Site
from tests.waiting import until

UNIQUEID = "1795465754.7"
"""Of the channel in every environment of the fake Asterisk."""


@pytest.fixture
def site(tmp_path: Path, redis_url: str) -> Iterator[Site]:
    """A running service with a register, that waits for a third of a second for a confirmation."""
    site = Site(tmp_path, redis_url, BMN_AGI__READ_TIMEOUT_MS="300")
    with site.agent:
        site.load()
        yield site


def undelivered(site: Site, count: int = 1) -> list[Any]:
    """Records of verdicts that were not confirmed, once there are ``count`` and the service has nothing more to write.

    They follow the end of a session.
    """
    until(lambda: len(site.records("type = 'verdict.undelivered'")) >= count)
    site.screen("0612340000", "energy", "agent-8")
    return site.records("type = 'verdict.undelivered'")


def open_calls(site: Site) -> set[str]:
    """Calls that were allowed and have no end, as the journal counts them."""
    with closing(sqlite3.connect(site.folder / "journal.db")) as journal:
        return {call for (call,) in journal.execute("SELECT call FROM open_calls")}


def test_a_line_that_is_gone_before_the_verdict_is_recorded_gets_no_allow(
    tmp_path: Path, own_redis: PrivateRedis
) -> None:
    """The caller hangs up while Redis is slow: the number is free, and the journal has no allow that nobody got."""
    site = Site(tmp_path, own_redis.url, BMN_REDIS__LOOKUP_TIMEOUT_MS="10000", BMN_AGI__DEADLINE_MS="10000")
    with site.agent:
        site.load()
        assert site.screen("0612349999", "energy", "agent-7")["BMN_VERDICT"] == "allow"
        own_redis.pause()
        with socket.create_connection(site.address) as connection:
            FakeAsterisk.over(connection).send_environment(names.SCRIPT_SCREEN, "0687654321", "energy", "agent-7")
            until(lambda: _has_been_read(connection))
        own_redis.resume()
        (line,) = until(lambda: site.agent.log("call.screened")[1:])
        site.screen("0612340000", "energy", "agent-8")
    (record,) = site.records("type = 'call.screened' AND number = '+31687654321'")
    assert (record["verdict"], record["reason"], record["notice"]) == ("block", "undelivered", "none")
    assert (record["rule"], record["failure"]) == ("somebody_waits_for_the_answer", "Asterisk ended the session")
    assert (line["delivered"], line["undelivered"]) == (False, "not_sent")
    assert site.records("type = 'verdict.undelivered'") == []
    assert record["call"] not in open_calls(site)
    assert until(lambda: site.agent.log("session.aborted"))[0]["why"] == "hang-up"


def _has_been_read(connection: socket.socket) -> bool:
    """Whether the process on the other end has read all that was sent."""
    far_end = [f":{port:04X}" for _, port in (connection.getpeername(), connection.getsockname())]
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    (queues,) = [line[4] for line in lines if [line[1][-5:], line[2][-5:]] == far_end]
    return int(queues.split(":")[1], 16) == 0


WHYS = {
    "close": "lost",
    "reset": "lost",
    "reset after taking it": "lost",
    "half a line": "lost",
    "HANGUP, and it closes": "lost",
    "stall": "timed_out",
    "half a line, and nothing": "timed_out",
    "100 Trying, and nothing": "timed_out",
    "garbage": "garbled",
    "a line of 10 MB": "garbled",
    "510": "refused",
    "511": "refused",
    "520": "refused",
    "HANGUP, and it goes on": "hung_up",
}


def test_an_allow_that_is_not_confirmed_is_followed_by_how_far_it_came(site: Site, subtests: pytest.Subtests) -> None:
    """Whatever Asterisk does instead of confirming: which call, whose, and why; and it is no call that goes on."""
    numbers = {fault: f"06123499{serial:02d}" for serial, fault in enumerate(WHYS)}
    for fault, number in numbers.items():
        _screen(site, number, fault)
    records = {one["number"]: one for one in undelivered(site, len(WHYS))}
    for fault, number in numbers.items():
        with subtests.test(fault):
            dialled = f"+31{number[1:]}"
            (verdict,) = site.records(f"type = 'call.screened' AND number = '{dialled}'")
            assert verdict["verdict"] == "allow"
            assert records[dialled] == {
                "call": verdict["call"],
                "number": dialled,
                "campaign": "energy",
                "seller": "acme",
                "agent": "agent-7",
                "uniqueid": UNIQUEID,
                "verdict": "allow",
                "why": WHYS[fault],
            }
            (line,) = until(partial(_lines_about, site, verdict["call"]))
            assert (line["level"], line["delivered"], line["undelivered"]) == ("warning", False, WHYS[fault])
    assert len(records) == len(numbers)
    assert open_calls(site) == {one["call"] for one in site.records("number = '+31612340000'")}


def test_a_block_that_is_not_confirmed_stays_the_block_that_it_was(site: Site) -> None:
    """The register's answer is on record; that the agent did not hear it, too."""
    _screen(site, "0612345678", "close")
    (record,) = undelivered(site)
    assert (record["verdict"], record["why"]) == ("block", "lost")
    assert site.records("type = 'call.screened'")[0]["reason"] == "registered"


def test_what_is_no_number_is_named_as_it_was_dialled(site: Site) -> None:
    """As in the verdict itself."""
    _screen(site, "06123", "close")
    assert [one["number"] for one in undelivered(site)] == ["06123"]


def test_a_confirmed_verdict_is_followed_by_nothing(site: Site) -> None:
    """And the call goes on, also where the confirmation was announced before it came."""
    lines = [_screen(site, "0612349999", fault) for fault in ("", "100 Trying")]
    assert undelivered(site, 0) == []
    assert [line.dials for line in lines] == ["+31612349999"] * 2
    assert {line.fake.variables[names.BMN_CALL] for line in lines} <= open_calls(site)


def test_a_call_whose_confirmation_was_lost_on_the_way_back_ends_as_any_other(site: Site) -> None:
    """Asterisk had the allow, and dialled: the end of the call shows it, and is recorded."""
    line = _screen(site, "0612349999", "close after taking it")
    call = line.fake.variables[names.BMN_CALL]
    assert line.dials == "+31612349999"
    assert [one["why"] for one in undelivered(site)] == ["lost"]
    with FakeAsterisk.call(site.address, names.SCRIPT_FINISH, call, "ANSWER", "12", "16", "2", "consumer"):
        pass
    (end,) = until(lambda: site.records("type = 'call.finished'"))
    assert (end["call"], end["answered"], end["ended_by"]) == (call, True, "consumer")


def test_a_key_in_such_a_call_is_recorded(site: Site) -> None:
    """Nothing that a consumer said is lost because a confirmation was."""
    call = _screen(site, "0612349999", "reset after taking it").fake.variables[names.BMN_CALL]
    undelivered(site)
    line = Line.connect(site.address, environment(names.SCRIPT_KEY, call, "seller_optout", names.CONNECTED))
    run(line)
    assert line.confirmed == {names.BMN_KEY_RESULT: "recorded"}


def test_an_emergency_number_does_not_depend_on_a_look_at_the_line(site: Site) -> None:
    """Where Asterisk seems to be gone it is answered all the same; nothing but the answer itself can fail."""
    asterisk = FakeAsterisk.connect(site.address)
    asterisk.send("\n".join([*environment(names.SCRIPT_SCREEN, "112", "energy", "agent-7"), "", ""]) + "HANGUP\n")
    with asterisk:
        asterisk.expect_variables(
            BMN_VERDICT="allow",
            BMN_REASON="emergency_number",
            BMN_NUMBER="112",
            BMN_CALL=until(lambda: site.records("type = 'call.screened'"))[0]["call"],
            BMN_NOTICE="none",
        ).confirm()
    assert [one["why"] for one in undelivered(site)] == ["hung_up"]


def _lines_about(site: Site, call: str) -> list[Any]:
    """What was logged of the screening of one call."""
    return [line for line in site.agent.log("call.screened") if line["call"] == call]


def _screen(site: Site, number: str, fault: str) -> Line:
    """One session, with ``fault`` instead of a plain confirmation of the verdict."""
    line = Line.connect(site.address, environment(names.SCRIPT_SCREEN, number, "energy", "agent-7"))
    run(line, next((one for one in FAULTS if one.name == fault), None), 0)
    return line
