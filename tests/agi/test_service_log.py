"""The log of ``bmn serve`` through calls of every kind: JSON on stdout, documented events only, no number in full."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from agent import dialplan_names as names
from agent import logs
from deploy.lab.agent_service import AgentService, bmn
from deploy.lab.redis_server import PrivateRedis
from tests.agi.fake_asterisk import FakeAsterisk
from tests.agi.test_choice_scripts import a_call, conduct, press
from tests.agi.test_screen_script import Site, _move_to_the_end_of_time
from tests.waiting import until

DIALLED = ("0612345678", "06-87654321", "+31 (0)6 23456789", "tel:+31634567890", "06123456789", "1602 0645678901")
AGENTS_PHONE = "+31201234567"
WAIT_S = 15


class SplitService(AgentService):
    """A service whose stdout is its log, and whose stderr is kept apart."""

    def __init__(self, directory: Path, environment: dict[str, str]) -> None:
        super().__init__(directory, environment)
        self.errors_path = directory / "stderr"

    def start(self) -> None:
        """Start it and wait until it listens."""
        with self.log_path.open("ab") as log, self.errors_path.open("ab") as errors:
            self._process = subprocess.Popen(
                [str(Path(sys.executable).parent / "bmn"), "serve"],
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=errors,
            )
        until(lambda: self.log("agent.started"), WAIT_S)


@pytest.fixture
def site(tmp_path: Path, own_redis: PrivateRedis) -> Site:
    """A service that is not started yet, with a register."""
    site = Site(tmp_path, own_redis.url, BMN_SOUNDS__PATH=str(tmp_path / "none"))
    site.agent = SplitService(tmp_path, site.environment)
    site.load("0612345678\n")
    return site


def make_calls_of_every_kind(site: Site, server: PrivateRedis) -> int:
    """Everything that can happen to a call; how many screenings that were."""
    for number in DIALLED:
        site.screen(number, "energy", AGENTS_PHONE)
    site.screen("0687654321", "campaign-0687654321", AGENTS_PHONE)
    site.screen("112", "energy", AGENTS_PHONE)
    aborted = FakeAsterisk.call(site.address, "screen", "0687654321", "energy", AGENTS_PHONE)
    aborted.read_command()
    aborted.hang_up()
    call, other = a_call(site, "0687654321"), a_call(site, "0623456789")
    press(site, call, "offered")
    press(site, call, "no-such-key-0687654321")
    press(site, "no-such-call-0687654321", "offered")
    consumer = conduct(site, call)
    consumer.hear("menu-acme", key="1")
    consumer.hang_up()
    for one in (call, other, "no-such-call-0687654321"):
        with FakeAsterisk.call(site.address, names.SCRIPT_FINISH, one, "ANSWER", "12", "16", "2", "consumer"):
            pass
    for script in ("nonsense", "health"):
        with FakeAsterisk.call(site.address, script) as asterisk:
            if script == "health":
                asterisk.read_command()
                asterisk.send("200 result=1\n")
    with FakeAsterisk.connect(site.address) as asterisk:
        asterisk.send("GET / HTTP/1.1\nHost: 0687654321\n\n")
        asterisk.expect_end()
    with closing(sqlite3.connect(site.folder / "journal.db", isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        site.screen("0687654322", "energy", AGENTS_PHONE)
        holder.execute("ROLLBACK")
    _move_to_the_end_of_time(server.url)
    site.screen("0687654322", "energy", AGENTS_PHONE)
    server.stop()
    site.screen("0687654322", "energy", AGENTS_PHONE)
    until(lambda: site.agent.log("outbox.blocked"), WAIT_S)
    server.start()
    until(lambda: site.agent.log("outbox.drained"), WAIT_S)
    return len(DIALLED) + 2 + 1 + 2 + 3


def test_every_line_is_a_documented_event_without_numbers(site: Site, own_redis: PrivateRedis) -> None:
    """One ``call.screened`` for each screening; stderr stays empty."""
    with site.agent:
        screenings = make_calls_of_every_kind(site, own_redis)
        assert site.agent.stop() == 0
    text = site.agent.log_path.read_text()
    lines: list[dict[str, Any]] = [json.loads(line) for line in text.splitlines()]
    assert {line["event"] for line in lines} <= set(logs.EVENTS)
    screened = [line for line in lines if line["event"] == "call.screened"]
    assert len(screened) == screenings
    assert len({line["call"] for line in screened}) == screenings
    for line in lines:
        assert {"event", "level", "timestamp"} <= set(line)
    assert isinstance(site.agent, SplitService)
    assert site.agent.errors_path.read_text() == ""
    seen = {line["event"] for line in lines}
    assert seen >= {
        *("agent.started", "agent.stopping", "agent.stopped", "call.screened", "call.finished", "key.pressed"),
        *("notice.played", "session.aborted", "script.unknown", "request.failed", "outbox.blocked", "outbox.drained"),
    }


def digits_in(text: str) -> str:
    """Its digits, with what people write between those of a number left out."""
    return re.sub(r"(?<=\d)[ ().\-/]{1,3}(?=\d)", "", text)


def test_no_number_in_full_is_anywhere_in_the_log(site: Site, own_redis: PrivateRedis) -> None:
    """Of the consumers that were called: eight digits in a row would be enough to find one."""
    with site.agent:
        make_calls_of_every_kind(site, own_redis)
        assert site.agent.stop() == 0
    for line in site.agent.log():
        told = digits_in(json.dumps({key: value for key, value in line.items() if key != "timestamp"}))
        for digits in ("12345678", "87654321", "87654322", "23456789", "34567890", "45678901"):
            assert digits not in told, line


def test_a_command_leaves_stdout_to_what_it_prints(site: Site) -> None:
    """Warnings and the log go to stderr, so that a pipe gets data only."""
    (site.folder / "journal.db.key").chmod(0o644)
    done = bmn("screen", "0687654321", "--campaign", "energy", "--json", environment=site.environment)
    assert json.loads(done.stdout)["verdict"] == "allow"
    assert "chmod 600" in done.stderr


def test_a_service_asked_to_stop_says_so_on_stdout(site: Site) -> None:
    """The last line of the log is its end."""
    with site.agent:
        assert site.agent.stop() == 0
    assert json.loads(site.agent.log_path.read_text().splitlines()[-1])["event"] == "agent.stopped"
