"""A clock behind the journal is no clock; one that was ahead once, and is right again, stops nothing for good."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from agent.adapters.journal_check import verify
from agent.bootstrap import Application, retention
from agent.clock_keeping import ClockKeeping
from agent.domain.errors import InputRejected
from agent.domain.journal_events import EventType
from agent.domain.phone_number import PhoneNumber
from agent.domain.profile import NL_BMNR
from agent.domain.seller_list_entries import Sale
from agent.entrypoints.agi_scripts import AgiScripts
from deploy.lab.agent_service import AgentService, bmn
from deploy.lab.redis_server import PrivateRedis
from tests.agi.test_screen_script import Site
from tests.conftest import load_register, wired
from tests.integration.aged_journal import AgedJournal
from tests.integration.test_choices import bodies, loaded, soon
from tests.integration.test_screening import NUMBER, reason, screen
from tests.waiting import until

__all__ = ["loaded"]

AHEAD = timedelta(days=35)
FREE = "0612345999"


def now() -> datetime:
    """As the system has it."""
    return datetime.now(UTC)


@pytest.fixture
def ahead(app: Application, monkeypatch: pytest.MonkeyPatch) -> Application:
    """A register of today, and a journal whose newest record is of 35 days later."""
    load_register(app, "0612345678\n")
    sale = Sale(sold_on=date(2026, 1, 5), product="Stroom", evidence="order 17")
    app.seller_lists.add_customers("acme", "energy-contract", [(NUMBER, sale)], "test", lambda *_: None)
    AgedJournal(app, monkeypatch).append(now() + AHEAD, EventType.AGENT_STARTED, host="h")
    return app


def keeper(app: Application, synchronised: bool | None) -> ClockKeeping:
    """With a kernel that says so."""
    return ClockKeeping(app.journal, now, lambda: synchronised)


def test_a_load_of_35_days_is_not_fresh_again(ahead: Application) -> None:
    """Nobody is called by a clock that may have been set back: not customers, not for research; 112 goes through."""
    for number, campaign in ((FREE, "energy"), (NUMBER.e164, "energy"), (FREE, "survey"), (FREE, "charity")):
        screened = screen(ahead, number, campaign)
        assert screened.decision.reason == "clock_unsound"
        assert "bmn journal trust-clock" in screened.failure
    assert reason(ahead, "112") == "emergency_number"
    assert bodies(ahead, EventType.CALL_SCREENED)[0]["failure"] == screened.failure


def test_an_objection_is_still_what_blocks(ahead: Application) -> None:
    """The clearer reason."""
    ahead.seller_lists.add_optout("acme", PhoneNumber(digits="31612345999"), "letter", None)
    assert reason(ahead, FREE) == "seller_optout"


def test_the_books_of_what_happened_while_the_clock_was_ahead_are_closed_all_the_same(
    loaded: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some hours after it was put right, and not once that time has come: no end, no notice, a notice cut off."""
    aged, then, number = AgedJournal(loaded, monkeypatch), now() + AHEAD, NUMBER.e164
    open_call, unheard, cut_off = (aged.call(then, number) for _ in range(3))
    aged.finish(then, number, unheard, notice="to_follow")
    aged.finish(then, number, cut_off, notice="to_follow")
    about = {"call": cut_off, "number": number, "campaign": "energy", "seller": "acme", "language": "nl"}
    aged.append(then, EventType.NOTICE_BEGUN, **about, prompt="notice-acme")
    assert keeper(loaded, True).settle(soon())
    right = now()
    for after, closed, missed in (
        (timedelta(minutes=10), 0, 0),
        (timedelta(hours=5), 1, 2),
        (timedelta(hours=6), 0, 0),
    ):
        monkeypatch.setattr(loaded.finishing, "_clock", lambda moment=right + after: moment)
        assert loaded.finishing.close_books(soon()) == closed
        assert sum(loaded.finishing.close_open(soon()).values()) == missed
    ended = {one["call"]: one["ended_by"] for one in bodies(loaded, EventType.CALL_FINISHED)}
    assert ended[open_call] == "unknown"
    played = {one["call"]: one["ended"] for one in bodies(loaded, EventType.NOTICE_PLAYED)}
    assert played == {unheard: "never_began", cut_off: "agent_lost"}


def test_nothing_else_goes_by_that_clock_either(ahead: Application, tmp_path: Path, redis_url: str) -> None:
    """Scrubs, the health of the service, a purge, the status of the register, the doctor."""
    environment = {"BMN_CONFIG": str(tmp_path / "bmn.toml"), "BMN_REDIS_URL": redis_url}
    (tmp_path / "in.csv").write_text("telephone\n0612345999\n")
    outputs = ("--out", "clean.csv", "--removed", "removed.csv", "--certificate", "c.json")
    paths = [str(tmp_path / part) if not part.startswith("--") else part for part in outputs]
    scrub = bmn("scrub", str(tmp_path / "in.csv"), "--campaign", "energy", *paths, environment=environment, check=False)
    assert scrub.returncode == 3
    assert "set the clock right" in scrub.stderr
    assert not (tmp_path / "clean.csv").exists()
    assert any("trust-clock" in problem for problem in AgiScripts(ahead, "fastagi").degraded(soon()))
    with pytest.raises(InputRejected, match="nothing was purged"):
        retention(ahead).purge(lambda *_: None, dry_run=False)
    assert "set the clock right" in ahead.registers.status(NL_BMNR).problems[0]
    doctor = bmn("doctor", "--json", environment=environment, check=False)
    clock = [one for one in json.loads(doctor.stdout) if one["check"] == "clock"]
    assert any("clock_unsound" in one["what"] for one in clock)


def test_a_certificate_does_not_become_valid_again(
    app: Application, tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scrub that expired by the right clock."""
    load_register(app, "0612345678\n")
    environment = {"BMN_CONFIG": str(tmp_path / "bmn.toml"), "BMN_REDIS_URL": redis_url}
    (tmp_path / "in.csv").write_text("telephone\n0612345999\n")
    outputs = ("--out", "clean.csv", "--removed", "removed.csv", "--certificate", "c.json")
    paths = [str(tmp_path / part) if not part.startswith("--") else part for part in outputs]
    bmn("scrub", str(tmp_path / "in.csv"), "--campaign", "energy", *paths, environment=environment)
    check = ("scrub", "--check", str(tmp_path / "c.json"))
    assert bmn(*check, environment=environment, check=False).returncode == 0
    AgedJournal(app, monkeypatch).append(now() + AHEAD, EventType.AGENT_STARTED, host="h")
    assert bmn(*check, environment=environment, check=False).returncode == 1


@pytest.mark.parametrize(("synchronised", "settled"), [(True, True), (False, False), (None, False)])
def test_the_system_vouches_for_a_clock_that_it_calls_synchronised(
    ahead: Application, synchronised: bool | None, settled: bool
) -> None:
    """And for no other."""
    assert keeper(ahead, synchronised).settle(soon()) is settled
    assert reason(ahead, FREE) == ("not_registered" if settled else "clock_unsound")
    assert [one["by"] for one in bodies(ahead, EventType.CLOCK_JUMPED)] == (["system"] if settled else [])


def test_a_clock_that_is_right_is_left_alone(app: Application) -> None:
    """No record without a need."""
    load_register(app, "0612345678\n")
    assert keeper(app, True).problem() == ""
    assert keeper(app, True).settle(soon()) is False
    assert keeper(app, True).trust("anna", soon()) is False
    assert bodies(app, EventType.CLOCK_JUMPED) == []


def test_a_person_vouches_for_the_clock(ahead: Application, tmp_path: Path, redis_url: str) -> None:
    """By a command, with their name on record; then calls go on, and the journal explains its times."""
    environment = {"BMN_CONFIG": str(tmp_path / "bmn.toml"), "BMN_REDIS_URL": redis_url}
    done = bmn("journal", "trust-clock", environment=environment, check=False)
    assert (done.returncode, reason(ahead, FREE)) == (0, "not_registered")
    (jumped,) = bodies(ahead, EventType.CLOCK_JUMPED)
    assert jumped["by"] == ahead.by
    assert datetime.fromisoformat(jumped["newest_at"]) - datetime.fromisoformat(jumped["now"]) > AHEAD / 2
    again = bmn("journal", "trust-clock", "--json", environment=environment, check=False)
    assert (again.returncode, json.loads(again.stdout)["recorded"]) == (1, False)
    told = bmn("journal", "verify", environment=environment).stdout
    assert f"time goes back at record {jumped['seq']}" in told
    assert "settled" in told


def test_a_load_that_was_made_while_the_clock_was_ahead_needs_a_new_one(
    app: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its day has not come, so nobody knows how old it is; loading it with its real date is enough."""
    monkeypatch.setattr("agent.bootstrap.now_utc", lambda: now() + AHEAD)
    aged = AgedJournal(app, monkeypatch)
    with monkeypatch.context() as patch, aged.at(now() + AHEAD):
        patch.setattr("agent.register_loading.RegisterLoading._check_dates", lambda *_: None)
        load_register(app, "0612345678\n", as_of=date.today() + AHEAD)
    assert reason(app, FREE) == "clock_unsound"
    assert keeper(app, True).settle(soon())
    assert reason(app, FREE) == "register_stale"
    monkeypatch.undo()
    path = app.settings.journal.path.parent / "again.csv"
    path.write_text("0612345678\n")
    bmn(
        *("register", "import", str(path), "--as-of", str(date.today()), "--allow-older"),
        environment={"BMN_CONFIG": str(path.with_name("bmn.toml")), "BMN_REDIS_URL": app.settings.redis.url},
    )
    assert reason(app, FREE) == "not_registered"


def test_verify_names_where_time_goes_back_and_finds_no_fault_in_it(ahead: Application) -> None:
    """The chain is whole; a highest time that was tampered with is a fault."""
    path, key = ahead.settings.journal.path, ahead.settings.journal.key_path
    screen(ahead, FREE)
    found = verify(path, key, lambda *_: None)
    assert found.whole
    assert [(one.seq, one.settled) for one in found.jumps] == [(ahead.journal.state().seq, False)]
    with ahead.journal._reader() as reader:
        reader.execute("PRAGMA query_only = OFF")
        reader.execute("UPDATE state SET newest_at = 0")
    assert "highest time" in verify(path, key, lambda *_: None).problem


_SERVE = """
import agent.adapters.system_clock as system_clock
system_clock.synchronised = lambda: {synchronised}
import sys
from agent.entrypoints.cli import main
sys.argv = ["bmn", "serve"]
main()
"""


class ServiceWithClock(AgentService):
    """``bmn serve`` on a machine whose kernel says whether its clock is synchronised."""

    synchronised: bool | None = None

    def start(self) -> None:
        """Start it and wait until it listens."""
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _SERVE.format(synchronised=self.synchronised)],
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        until(lambda: self.log("agent.started"), 20)


@pytest.fixture
def site(tmp_path: Path, own_redis: PrivateRedis, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A service that is not started yet, on a journal that is ahead."""
    site = Site(tmp_path, own_redis.url)
    site.load("0612345678\n")
    with wired(tmp_path, own_redis.url) as app:
        AgedJournal(app, monkeypatch).append(now() + AHEAD, EventType.AGENT_STARTED, host="h")
    site.agent = ServiceWithClock(tmp_path, site.environment)
    yield site
    site.agent.kill()


def test_the_service_goes_on_by_itself_where_something_keeps_the_clock_right(site: Site) -> None:
    """Within a moment, and says so."""
    site.agent.synchronised = True  # type: ignore[attr-defined]
    site.agent.start()
    until(lambda: site.agent.log("clock.jumped"))
    assert site.screen(FREE, "energy", "agent-1")["BMN_VERDICT"] == "allow"


def test_the_service_says_once_what_is_wrong_and_blocks_until_a_person_vouches(site: Site) -> None:
    """Then it goes on without a restart."""
    site.agent.synchronised = False  # type: ignore[attr-defined]
    site.agent.start()
    until(lambda: site.agent.log("clock.unsound"))
    for _ in range(3):
        assert site.screen(FREE, "energy", "agent-1")["BMN_REASON"] == "clock_unsound"
    assert "trust-clock" in site.agent.log("clock.unsound")[0]["why"]
    assert len(site.agent.log("clock.unsound")) == 1
    bmn("journal", "trust-clock", environment=site.environment)
    assert site.screen(FREE, "energy", "agent-1")["BMN_VERDICT"] == "allow"
