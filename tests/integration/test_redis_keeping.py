"""A running service that keeps Redis whole: what no call asks for is missed as well, and what is lost comes back."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from agent import list_audit
from agent.adapters import redis_keys
from agent.adapters.child_process import ChildProcess
from agent.bootstrap import Application
from agent.domain.errors import ImportUnderWay
from agent.domain.journal_events import EventType
from agent.domain.profile import NL_BMNR
from agent.entrypoints.list_keeper import ListKeeper
from deploy.lab.agent_service import AgentService, bmn
from deploy.lab.redis_server import PrivateRedis
from tests.conftest import load_register, wired, write_configuration
from tests.integration.test_screening import NUMBER, reason
from tests.waiting import until

REGISTER = "0612345678,all\n0612345680,energy\n"
POINTER = redis_keys.current(NL_BMNR.key)
A_WHILE_S = 30
PATIENT = {"BMN_REDIS__LOOKUP_TIMEOUT_MS": "5000"}


@pytest.fixture
def client(own_redis: PrivateRedis) -> Iterator[Any]:
    """What happens to Redis."""
    with redis.Redis.from_url(own_redis.url, decode_responses=True) as client:
        yield client


@pytest.fixture
def app(tmp_path: Path, own_redis: PrivateRedis) -> Iterator[Application]:
    """A site with a register and an opt-out."""
    with wired(tmp_path, own_redis.url, **PATIENT) as app:
        load_register(app, REGISTER)
        app.seller_lists.add_optout("bank", NUMBER, "letter", None)
        assert reason(app) == "registered"
        yield app


@contextmanager
def a_service(folder: Path, url: str, log: str = "") -> Iterator[AgentService]:
    """On the journal of ``folder``, with a log of its own."""
    environment = {
        "BMN_CONFIG": str(write_configuration(folder)),
        "BMN_REDIS_URL": url,
        "BMN_AGI_LISTEN": "127.0.0.1:0",
        **PATIENT,
    }
    (folder / f"service{log}").mkdir(exist_ok=True)
    with AgentService(folder / f"service{log}", environment) as service:
        yield service


def told(service: AgentService, event: str, count: int = 1) -> list[dict[str, Any]]:
    """The lines of ``event``, as soon as there are so many."""
    until(lambda: len(service.log(event)) >= count, A_WHILE_S)
    return service.log(event)


def lines(one: AgentService, other: AgentService, event: str) -> list[dict[str, Any]]:
    """Of both."""
    return [*one.log(event), *other.log(event)]


def loads(app: Application) -> list[str]:
    """Every load that the journal knows of."""
    return [str(one.body["generation"]) for one in app.journal.records(f"type = '{EventType.REGISTER_LOADED}'")]


def harm_register(client: Any) -> None:
    """Lose the block of numbers that nobody asks about."""
    client.delete(client.keys("bmn:{3161234}:g:*:energy")[0])


# --- what is lost comes back


def test_a_register_that_lost_a_set_is_loaded_again_by_itself(
    app: Application, client: Any, tmp_path: Path, own_redis: PrivateRedis
) -> None:
    """From a call that misses it: blocked at once, told, and in force again without anybody doing anything."""
    (lost,) = loads(app)
    with a_service(tmp_path, own_redis.url) as service:
        harm_register(client)
        assert reason(app, "0612345680", within_ms=9_000) == "register_missing"
        (started,) = told(service, "repair.started")
        assert (started["profile"], started["generation"]) == ("nl-bmnr", lost)
        (ended,) = told(service, "repair.ended")
        assert (ended["done"], ended["why"]) == (True, None)
        assert [reason(app, number) for number in ("0612345678", "0612345680")] == ["registered", "registered_sector"]
        assert reason(app, "0612345999") == "not_registered"
        assert service.stop() == 0
    assert len(loads(app)) == 2
    assert app.registers.status(NL_BMNR).problems == ()


@pytest.mark.parametrize(
    ("harm", "event", "what"),
    [
        (harm_register, "lists.lost", "register"),
        (lambda client: client.delete(*client.keys("bmn:roster:g:*")), "lists.lost", "register"),
        (lambda client: client.delete("bmn:{3161234}:optout:bank"), "lists.lost", "lists"),
        (lambda client: client.delete("bmn:roster:lists"), "lists.lost", "lists"),
    ],
)
def test_what_no_call_asks_for_is_missed_and_comes_back(
    app: Application,
    client: Any,
    tmp_path: Path,
    own_redis: PrivateRedis,
    harm: Callable[[Any], object],
    event: str,
    what: str,
) -> None:
    """The service looks at everything by itself, first of all when it begins."""
    harm(client)
    with a_service(tmp_path, own_redis.url) as service:
        assert told(service, event)[0]["what"] == what
        if what == "register":
            assert told(service, "repair.ended")[0]["done"] is True
        until(lambda: client.exists(POINTER) and client.sismember("bmn:{3161234}:optout:bank", 5678), A_WHILE_S)
        until(lambda: reason(app, "0612345680") == "registered_sector", A_WHILE_S)
        assert reason(app, campaign="loans") == "seller_optout"


def test_a_redis_that_restarted_empty_is_filled_again_by_itself(
    app: Application, tmp_path: Path, own_redis: PrivateRedis
) -> None:
    """Lists and register."""
    with a_service(tmp_path, own_redis.url) as service:
        own_redis.stop()
        own_redis.start()
        assert told(service, "repair.ended")[0]["done"] is True
        assert [reason(app), reason(app, campaign="loans")] == ["registered", "seller_optout"]


@pytest.mark.parametrize("how", ["gone", "changed"])
def test_without_the_files_of_the_load_in_force_calls_stay_blocked_and_it_is_said_why(
    app: Application, client: Any, tmp_path: Path, own_redis: PrivateRedis, how: str
) -> None:
    """Nothing else is ever loaded in their place. An operator who gives them ends it."""
    file, kept = tmp_path / "register.csv", tmp_path / "kept.csv"
    kept.write_bytes(file.read_bytes())
    if how == "gone":
        file.unlink()
    else:
        file.write_text("0612345000\n")
    with a_service(tmp_path, own_redis.url) as service:
        client.delete(POINTER)
        (ended,) = told(service, "repair.ended")
        assert (ended["done"], "bmn rebuild FILE" in ended["why"]) == (False, True)
        assert 0 < ended["next_s"] <= 60
        assert reason(app, within_ms=9_000) == "register_missing"
        done = bmn("rebuild", str(kept), "--register-only", environment=service.environment)
        assert "left as they are" in done.stdout
        assert reason(app) == "registered"
    assert len(loads(app)) == 2


def test_two_services_load_a_lost_register_once(
    app: Application, client: Any, tmp_path: Path, own_redis: PrivateRedis
) -> None:
    """Both see that it is missing at the same time; who comes second leaves it to the first, and sees it in force."""
    with a_service(tmp_path, own_redis.url, "-1") as one, a_service(tmp_path, own_redis.url, "-2") as other:
        client.delete(POINTER)
        until(lambda: one.log("repair.ended") or other.log("repair.ended"), A_WHILE_S)
        until(lambda: reason(app) == "registered", A_WHILE_S)
        until(lambda: len(lines(one, other, "repair.started")) == len(lines(one, other, "repair.ended")), A_WHILE_S)
        ended = lines(one, other, "repair.ended")
        assert all(line["done"] or "under way" in line["why"] for line in ended), ended
        assert any(line["done"] for line in ended)
    assert len(loads(app)) == 2


def test_only_one_process_at_a_time_reads_a_lost_register(app: Application, client: Any) -> None:
    """The right to do so is taken before a file is opened, and given back."""
    from agent.adapters.register_files import reopen_register_file
    from agent.bootstrap import register_loading

    client.delete(POINTER)
    client.set(redis_keys.repair_lock(NL_BMNR.key), "elsewhere 1 abc", px=60_000)
    with pytest.raises(ImportUnderWay):
        register_loading(app).reload(NL_BMNR, [], reopen_register_file, lambda *_: None)
    assert len(loads(app)) == 1
    client.delete(redis_keys.repair_lock(NL_BMNR.key))
    assert register_loading(app).reload(NL_BMNR, [], reopen_register_file, lambda *_: None).reloaded is not None
    assert not client.exists(redis_keys.repair_lock(NL_BMNR.key))


# --- the process


def test_the_process_takes_signals_that_the_service_holds_back() -> None:
    """Else nobody could end it but with SIGKILL."""
    with held_back(signal.SIGTERM):
        process = ChildProcess(["journal", "--help"])
        assert until(lambda: process.ended() is not None, A_WHILE_S)
        assert process.ended() == 0
    assert process.words() == ""


def test_a_process_is_ended_with_the_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it is doing."""
    with wired(tmp_path, "redis://127.0.0.1:1"):
        monkeypatch.setenv("BMN_CONFIG", str(tmp_path / "bmn.toml"))
    with held_back(signal.SIGTERM):
        running = ChildProcess(["log", "--follow"])
        stopping = ChildProcess(["log", "--follow"])
    assert running.ended() is None
    running.kill()
    assert running.ended() == -signal.SIGKILL
    mask = Path(f"/proc/{stopping._process.pid}/status")
    until(lambda: "SigBlk:\t0000000000000000" in mask.read_text(), A_WHILE_S)
    os.kill(stopping._process.pid, signal.SIGTERM)
    until(lambda: stopping.ended() is not None, A_WHILE_S)


def test_a_process_that_fails_says_why_without_a_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In its own words."""
    monkeypatch.setenv("BMN_CONFIG", str(tmp_path / "there-is-no-0612345678.toml"))
    process = ChildProcess(["rebuild", "--register-only"])
    assert until(lambda: process.ended(), A_WHILE_S) == 2
    assert "there is no configuration file" in process.words()
    assert "0612345678" not in process.words()


@contextmanager
def held_back(number: signal.Signals) -> Iterator[None]:
    """As in a service."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {number})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# --- the rounds


@pytest.fixture
def keeper(app: Application, monkeypatch: pytest.MonkeyPatch) -> Iterator[ListKeeper]:
    """One that goes round and round without a pause."""
    monkeypatch.setattr(list_audit, "_EVERY_S", 0.05)
    monkeypatch.setattr(list_audit, "_TICK_S", 0.01)
    keeper = ListKeeper(app, threading.Event())
    keeper.start()
    yield keeper
    keeper.stop(10)


def test_members_that_went_are_missed_by_the_next_round(app: Application, client: Any, keeper: ListKeeper) -> None:
    """Of a set that is still there; the drain then stops believing it."""
    generation = json.loads(client.get(POINTER))["id"]
    assert client.srem(redis_keys.register_set("3161234", generation, "all"), 5678) == 1

    def stopped() -> bool:
        app.outbox.drain()
        return not client.exists(POINTER)

    until(stopped, A_WHILE_S)


def test_a_time_to_live_is_taken_away_again(app: Application, client: Any, keeper: ListKeeper) -> None:
    """Of every key that we have."""
    keys = [key for key in client.keys("bmn:*") if "lock" not in key]
    assert len(keys) >= 8
    for key in keys:
        client.expire(key, 3_600)
    until(lambda: [key for key in keys if client.ttl(key) != -1] == [], A_WHILE_S)


def test_what_changes_all_the_time_is_not_missed(app: Application, client: Any, keeper: ListKeeper) -> None:
    """Objections and loads come and go while everything is looked at, over and over."""
    for step in range(15):
        app.seller_lists.add_optout("bank", _number(step), "letter", None)
        if step % 2:
            app.seller_lists.remove_optout("bank", _number(step), "test")
        if step % 5 == 0:
            load_register(app, REGISTER)
        app.outbox.drain()
        assert client.exists(POINTER, redis_keys.APPLIED) == 2
    assert reason(app) == "registered"


def _number(step: int) -> Any:
    return type(NUMBER)(digits=f"3161234{6000 + step % 4:04d}")
