"""The scripts of the real service, ``bmn serve`` on a real Redis, as the strict Asterisk sees them."""

from __future__ import annotations

import itertools
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import redis

from agent import dialplan_names as names
from agent.adapters import redis_keys
from deploy.lab.agent_service import AgentService, bmn
from deploy.lab.redis_server import PrivateRedis
from tests.agi.fake_asterisk import FakeAsterisk, environment
from tests.conftest import write_configuration
from tests.integration.test_journal_versions import an_old_journal
from tests.waiting import until

ANSWER = ("BMN_VERDICT", "BMN_REASON", "BMN_NUMBER", "BMN_CALL", "BMN_NOTICE")
SCREEN_SETS = f"SET VARIABLE ARRAY({','.join(ANSWER)}) "


class Site:
    """A running service with its environment."""

    _listening: tuple[int, tuple[str, int]] | None = None

    def __init__(self, folder: Path, redis_url: str, **settings: str) -> None:
        self.folder = folder
        self.environment = {
            "BMN_CONFIG": str(write_configuration(folder)),
            "BMN_REDIS_URL": redis_url,
            "BMN_AGI_LISTEN": "127.0.0.1:0",
            "BMN_METRICS__LISTEN": "",
            **settings,
        }
        self.agent = AgentService(folder, self.environment)

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        if self._listening is None or self._listening[0] != self.agent.pid:
            host, port = self.agent.started["listen"].split(":")
            self._listening = (self.agent.pid, (host, int(port)))
        return self._listening[1]

    def load(self, text: str = "0612345678\n") -> None:
        """Put a register in force."""
        path = self.folder / "register.csv"
        path.write_text(text)
        bmn("register", "import", str(path), "--as-of", str(date.today()), environment=self.environment)

    def screen(self, *arguments: str) -> dict[str, str]:
        """One session: the variables it set."""
        with FakeAsterisk.call(self.address, names.SCRIPT_SCREEN, *arguments) as asterisk:
            command = asterisk.read_command()
            assert command.startswith(SCREEN_SETS)
            values = command.removeprefix(SCREEN_SETS).strip('"').split(",")
            asterisk.send("200 result=1\n")
        return dict(zip(ANSWER, values, strict=True))

    def records(self, where: str) -> list[Any]:
        """Bodies of records in the journal."""
        with closing(sqlite3.connect(self.folder / "journal.db")) as journal:
            return [json.loads(row[0]) for row in journal.execute(f"SELECT body FROM records WHERE {where}")]

    def sequences(self, where: str) -> list[int]:
        """Numbers of records in the journal."""
        with closing(sqlite3.connect(self.folder / "journal.db")) as journal:
            return [row[0] for row in journal.execute(f"SELECT seq FROM records WHERE {where}")]


@pytest.fixture
def site(tmp_path: Path, redis_url: str) -> Iterator[Site]:
    """A running service."""
    site = Site(tmp_path, redis_url)
    with site.agent:
        yield site


def test_one_screening_is_one_agi_command_and_one_redis_round_trip(site: Site, redis_server: PrivateRedis) -> None:
    """One command on the AGI side; on the side of Redis, one read of its socket for all its commands."""
    site.load()
    for _ in range(40):  # every worker has its connection, and knows the generation
        site.screen("0612349999", "energy", "agent-1")
    with redis.Redis.from_url(redis_server.url) as client:
        before: Any = client.info("stats")
        with FakeAsterisk.call(site.address, "screen", "0612349999", "energy", "agent-1") as asterisk:
            asterisk.read_command()
            asterisk.send("200 result=1\n")
            asterisk.expect_end()
            assert len(asterisk.commands) == 1
        after: Any = client.info("stats")
    # Our own INFO is one read and one command; the background drain of the service reads a mark now and then. The mark,
    # eight sets and their sizes, two rosters, the pointer, and the policy.
    drained, asked = 3, 1 + 8 + 8 + 2 + 1 + 1
    assert after["total_commands_processed"] - before["total_commands_processed"] in range(
        asked + 1, asked + 2 + drained
    )
    assert after["total_reads_processed"] - before["total_reads_processed"] in range(2, 3 + drained)


def test_the_verdict_is_set_in_one_command_with_names_of_the_contract(site: Site) -> None:
    """Empty values are set too: what an earlier call left behind is gone."""
    site.load()
    blocked = site.screen("0612345678", "energy", "agent-1")
    assert {**blocked, "BMN_CALL": ""} == {
        "BMN_VERDICT": "block",
        "BMN_REASON": "registered",
        "BMN_NUMBER": "",
        "BMN_CALL": "",
        "BMN_NOTICE": "none",
    }
    allowed = site.screen("06-12349999", "energy", "agent-1")
    assert (allowed["BMN_VERDICT"], allowed["BMN_NUMBER"], allowed["BMN_NOTICE"]) == (
        "allow",
        "+31612349999",
        "required",
    )
    assert allowed["BMN_CALL"] != blocked["BMN_CALL"]


@pytest.mark.parametrize("arguments", [(), ("0612349999",), ("0612349999", "energy"), ("", "", ""), ("a",) * 9])
def test_missing_and_extra_arguments_are_taken_as_they_are(site: Site, arguments: tuple[str, ...]) -> None:
    """Nothing is guessed: without a campaign there is no permission."""
    site.load()
    verdict = site.screen(*arguments)
    assert verdict["BMN_VERDICT"] == ("allow" if arguments == ("0612349999", "energy") else "block")


def test_the_verdict_is_on_disk_before_asterisk_has_it(site: Site) -> None:
    """While the answer is on its way and not yet confirmed, the record is there."""
    site.load()
    with FakeAsterisk.call(site.address, "screen", "0612345678", "energy", "agent-1") as asterisk:
        command = asterisk.read_command()
        (record,) = site.records("type = 'call.screened'")
        assert record["call"] in command
        asterisk.send("200 result=1\n")


def test_a_hangup_during_screening_is_logged_and_the_record_stays(site: Site) -> None:
    """Asterisk is gone before it could be told: the line says that it was not delivered."""
    site.load()
    asterisk = FakeAsterisk.call(site.address, "screen", "0612345678", "energy", "agent-1")
    asterisk.read_command()
    asterisk.hang_up()
    assert site.screen("0612349999", "energy", "a")["BMN_VERDICT"] == "allow"
    assert site.agent.stop() == 0
    lines = site.agent.log("call.screened")
    assert [line["delivered"] for line in lines] == [False, True]
    assert len(site.records("type = 'call.screened'")) == 2


@pytest.mark.parametrize("reply", ["510 Invalid or unknown command", "200 result=0", "nonsense"])
def test_an_asterisk_that_refuses_the_answer_is_not_asked_again(site: Site, reply: str) -> None:
    """One call, one screening, one id; without variables the dialplan blocks."""
    site.load()
    with FakeAsterisk.call(site.address, "screen", "0612349999", "energy", "agent-1") as asterisk:
        asterisk.read_command()
        asterisk.send(f"{reply}\n")
        asterisk.expect_end()
    assert site.agent.stop() == 0
    (line,) = site.agent.log("call.screened")
    (record,) = site.records("type = 'call.screened'")
    assert (line["call"], line["delivered"]) == (record["call"], False)
    assert site.agent.log("request.failed") == []


def test_health_tells_whether_a_call_could_be_made(site: Site) -> None:
    """Degraded without a register, ok with one."""
    with FakeAsterisk.call(site.address, "health") as asterisk:
        asterisk.expect_variables(BMN_HEALTH="degraded").confirm()
    site.load()
    with FakeAsterisk.call(site.address, "health") as asterisk:
        asterisk.expect_variables(BMN_HEALTH="ok").confirm()
    assert until(lambda: site.agent.log("health.answered"))[0]["degraded"] == ["no register is loaded"]


def test_an_unknown_script_is_answered_with_nothing(site: Site) -> None:
    """And logged."""
    with FakeAsterisk.call(site.address, "nonsense") as asterisk:
        asterisk.expect_end()
    assert site.screen("0612349999", "energy", "a")["BMN_REASON"] == "register_missing"
    assert until(lambda: site.agent.log("script.unknown"))[0]["script"] == "nonsense"


def test_stopping_lets_a_running_call_end_and_is_in_the_journal(site: Site) -> None:
    """SIGTERM during a session: its answer still comes; exit code 0."""
    site.load()
    with FakeAsterisk.call(site.address, "screen", "0612345678", "energy", "agent-1") as asterisk:
        asterisk.read_command()
        os.kill(site.agent.pid, signal.SIGTERM)
        until(lambda: site.agent.log("agent.stopping"))
        asterisk.send("200 result=1\n")
    assert site.agent.stop() == 0
    assert [record["clean"] for record in site.records("type = 'agent.stopped'")] == [True]
    assert site.agent.log("call.screened")[0]["delivered"] is True


def test_the_head_of_the_journal_is_logged_at_both_ends(site: Site) -> None:
    """What is kept of it on another machine finds a journal that was set back."""
    started = site.agent.log("agent.started")[0]["head"]
    site.screen("0612349999", "energy", "a")
    assert site.agent.stop() == 0
    stopped = site.agent.log("agent.stopped")[0]["head"]
    assert (started.split(":")[0], stopped.split(":")[0]) == ("1", "3")
    for head in (started, stopped):
        bmn("journal", "verify", "--expect", head, environment=site.environment)


def test_a_key_that_others_can_read_is_logged(tmp_path: Path, redis_url: str) -> None:
    """At every start."""
    site = Site(tmp_path, redis_url)
    site.load()
    (tmp_path / "journal.db.key").chmod(0o644)
    with site.agent:
        assert site.agent.stop() == 0
    assert "chmod 600" in site.agent.log("key.exposed")[0]["why"]


def test_the_head_of_the_journal_is_logged_again_and_again(tmp_path: Path, redis_url: str) -> None:
    """Once an hour; here every 10 ms."""
    code = "from agent.entrypoints import cli, time_limits; time_limits.ANCHOR_EVERY_S = 0.01; cli.main()"
    service = subprocess.Popen(
        [sys.executable, "-c", code, "serve"],
        env={**os.environ, **Site(tmp_path, redis_url).environment},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert service.stdout is not None
    giving_up = threading.Timer(20, service.kill)
    giving_up.start()
    lines = (json.loads(line) for line in service.stdout)
    heads = list(itertools.islice((line["head"] for line in lines if line["event"] == "journal.anchored"), 2))
    service.terminate()
    service.communicate()
    giving_up.cancel()
    assert [head.split(":")[0] for head in heads] == ["1", "1"]
    assert service.returncode == 0


def test_an_internal_error_blocks_with_its_own_reason(tmp_path: Path, redis_url: str) -> None:
    """What nobody thought of: here, a register so far in the future that its end cannot be computed."""
    site = Site(tmp_path, redis_url)
    site.load()
    with site.agent:
        _move_to_the_end_of_time(redis_url)
        verdict = site.screen("0612349999", "energy", "a")
    assert (verdict["BMN_VERDICT"], verdict["BMN_REASON"]) == ("block", "internal_error")
    assert [record["reason"] for record in site.records("type = 'call.screened'")] == ["internal_error"]
    (line,) = site.agent.log("request.failed")
    assert "OverflowError" in line["exception"]


def _move_to_the_end_of_time(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        pointer = json.loads(str(client.get(redis_keys.current("nl-bmnr"))))
        client.set(redis_keys.current("nl-bmnr"), json.dumps({**pointer, "as_of": "9999-12-31"}))


def test_a_peer_outside_the_allow_list_is_refused(tmp_path: Path, redis_url: str) -> None:
    """AGI knows no passwords."""
    site = Site(tmp_path, redis_url, BMN_AGI__ALLOWED_PEERS="10.0.0.0/8")
    with site.agent:
        with FakeAsterisk.connect(site.address) as asterisk:
            asterisk.expect_end()
        assert site.agent.stop() == 0
    assert site.agent.log("peer.refused")[0]["peer"] == "127.0.0.1"


def test_a_port_in_use_is_a_clear_sentence(site: Site) -> None:
    """Which address, which setting; exit code 2."""
    host, port = site.address
    done = bmn("serve", "--listen", f"{host}:{port}", environment=site.environment, check=False)
    assert done.returncode == 2
    assert f"cannot listen on {host}:{port} (agi.listen): Address already in use" in done.stderr


def test_an_internal_error_of_the_classic_script_blocks_too(site: Site, redis_url: str) -> None:
    """With the same reason, and a line that says what happened."""
    site.load()
    _move_to_the_end_of_time(redis_url)
    out, err, code = _classic(site, "0612349999", "energy", "agent-1")
    assert out.startswith(SCREEN_SETS + '"block,internal_error,,')
    assert code == 1
    assert [line["event"] for line in err] == ["call.screened", "request.failed"]


def test_the_classic_script_gives_the_same_verdict(site: Site) -> None:
    """``bmn agi screen`` over standard input and output, through the same handlers."""
    site.load()
    out, (line,), code = _classic(site, "0612345678", "energy", "agent-1")
    assert out.startswith(SCREEN_SETS + '"block,registered,,')
    assert code == 0
    assert (line["event"], line["source"], line["number"]) == ("call.screened", "classic_agi", "061****678")


def test_the_classic_script_leaves_an_older_journal_to_a_command(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bringing it up to date may take longer than a call waits: no verdict is no call, and the log says what to do."""
    path = tmp_path / "old" / "journal.db"
    path.parent.mkdir()
    an_old_journal(path, monkeypatch, 10)
    site.environment["BMN_JOURNAL"] = str(path)
    out, err, code = _talk(site, "0612345678", "energy", "agent-1")
    assert (out, code) == ("", 3)
    assert "of an older version of this software: bmn log brings it up to date" in err
    with closing(sqlite3.connect(path)) as journal:
        assert journal.execute("PRAGMA user_version").fetchone() == (1,)


def test_there_is_an_executable_for_each_script() -> None:
    """``BMN_AGI`` may be the folder of them; the dialplan names the script behind it."""
    folder = Path(__file__).parents[2] / "deploy" / "agi"
    wanted = {value for name, value in vars(names).items() if name.startswith("SCRIPT_")}
    assert {path.name for path in folder.iterdir() if os.access(path, os.X_OK)} == wanted


def _classic(site: Site, *arguments: str) -> tuple[str, list[dict[str, Any]], int]:
    """Run the classic script: what it said to Asterisk, what it logged, and its exit code."""
    out, err, code = _talk(site, *arguments)
    return out, [json.loads(line) for line in err.splitlines()], code


def _talk(site: Site, *arguments: str) -> tuple[str, str, int]:
    """The same with all that is on stderr."""
    process = subprocess.Popen(
        [str(Path(sys.executable).parent / "bmn"), "agi", "screen", *arguments],
        env={**os.environ, **site.environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    lines = environment("bmn", *arguments, classic=True)
    out, err = process.communicate(("\n".join([*lines, "", ""]) + "200 result=1\n").encode(), timeout=20)
    return out.decode(), err.decode(), process.returncode
