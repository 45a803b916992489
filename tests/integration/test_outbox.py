"""The journal and Redis when one of them was lost, restored or exchanged; and the drain in the background."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import redis

from agent.adapters import redis_keys
from agent.bootstrap import Application
from agent.domain.deadline import Deadline
from agent.domain.errors import ListsForeign
from agent.domain.journal_events import Event, EventType, Mark, Record
from agent.domain.phone_number import PhoneNumber
from agent.domain.profile import NL_BMNR
from agent.domain.seller_list_entries import Sale
from agent.domain.standing import Standing
from agent.entrypoints.agi_scripts import AgiScripts
from deploy.lab.agent_service import AgentService, bmn
from deploy.lab.redis_server import PrivateRedis
from tests.conftest import load_register, wired, write_configuration
from tests.integration.test_screening import NUMBER, last_verdict, reason
from tests.waiting import until

REGISTER = "0687654321\n"
OTHER = PhoneNumber(digits="31612345679")
THIRD = PhoneNumber(digits="31612345670")


def an_optout(number: PhoneNumber = NUMBER) -> Event:
    """As another process records it that dies before it is applied."""
    body = {"seller": "acme", "number": number.e164, "source": "test", "note": None, "by": "test"}
    return Event.of(EventType.OPTOUT_ADDED, body)


@contextmanager
def restored(folder: Path, url: str, lost: Callable[[Application], object]) -> Iterator[Application]:
    """A site whose journal was put back from a backup: what ``lost`` did reached Redis, and is not in the journal."""
    with wired(folder, url) as app:
        load_register(app, REGISTER)
        app.seller_lists.add_optout("acme", NUMBER, "letter", None)
        with closing(sqlite3.connect(folder / "backup.db")) as backup:
            app.journal._reader().backup(backup)
    with wired(folder, url) as app:
        lost(app)
    for part in folder.glob("journal.db-*"):
        part.unlink()
    (folder / "backup.db").replace(folder / "journal.db")
    with wired(folder, url) as app:
        yield app


def optouts_of(*numbers: PhoneNumber) -> Callable[[Application], object]:
    """A change of the lists."""
    return lambda app: [app.seller_lists.add_optout("acme", number, "letter", None) for number in numbers]


def test_an_optout_after_a_restored_backup_counts(tmp_path: Path, redis_url: str) -> None:
    """Its record has a number that Redis had applied already, as another record; what Redis knew besides stays."""
    with restored(tmp_path, redis_url, optouts_of(OTHER, THIRD)) as app:
        fresh = PhoneNumber(digits="31612345671")
        app.seller_lists.add_optout("acme", fresh, "letter", None)
        assert [reason(app, number.e164) for number in (fresh, OTHER, THIRD, NUMBER)] == ["seller_optout"] * 4
        assert reason(app, "0612345999") == "not_registered"


def test_a_restored_journal_is_told_once(tmp_path: Path, redis_url: str) -> None:
    """By the first command that meets it; its output is not disturbed."""
    with restored(tmp_path, redis_url, optouts_of(OTHER)):
        pass
    environment = {"BMN_CONFIG": str(tmp_path / "bmn.toml"), "BMN_REDIS_URL": redis_url}
    for times in (1, 0):
        done = bmn("optout", "add", NUMBER.e164, "--seller", "acme", "--json", environment=environment)
        assert done.stderr.count("outbox.restarted") == times
        assert json.loads(done.stdout)["added"] is False


def test_screening_alone_notices_a_restored_journal(tmp_path: Path, redis_url: str) -> None:
    """Also when the record after the backup has taken the very number of the mark, and nobody has drained yet."""
    with restored(tmp_path, redis_url, optouts_of(OTHER)) as app:
        before = app.journal.state().restriction_watermark
        app.journal.append([an_optout(THIRD)], Deadline.after_ms(1_000))
        assert app.journal.state().restriction_watermark == before + 1
        assert reason(app, THIRD.e164) == "seller_optout"


def test_a_customer_whom_a_restored_journal_does_not_know_is_exempt_no_more(tmp_path: Path, redis_url: str) -> None:
    """An exemption needs its record; the register itself stays in force, though the journal knows an older one."""
    sale = Sale(sold_on=date(2026, 1, 5), product="Stroom", evidence=None)

    def lost(app: Application) -> None:
        app.seller_lists.add_customers("acme", "energy-contract", [(OTHER, sale)], "test", lambda *_: None)
        load_register(app, "0612345679\n0687654321\n")
        assert reason(app, OTHER.e164) == "exempt_customer"

    with restored(tmp_path, redis_url, lost) as app:
        assert reason(app, OTHER.e164) == "registered"
        load_register(app, REGISTER)
        assert reason(app, OTHER.e164) == "not_registered"


def test_the_journal_is_not_asked_again_for_a_mark_that_it_knows(app: Application) -> None:
    """One more look-up for each new mark, and none for each call."""
    load_register(app, REGISTER)
    reason(app)
    statements: list[str] = []
    app.journal._reader().set_trace_callback(statements.append)
    reason(app)
    reason(app)
    app.journal._reader().set_trace_callback(None)
    assert not [text for text in statements if "SELECT link" in text]


def test_the_lists_of_another_journal_are_refused(app: Application, tmp_path: Path, redis_url: str) -> None:
    """The volume with the journal was not mounted, so a new one began, which knows no opt-out: nothing is allowed."""
    load_register(app, REGISTER)
    app.seller_lists.add_optout("acme", NUMBER, "letter", None)
    (tmp_path / "unmounted").mkdir()
    with wired(tmp_path / "unmounted", redis_url) as empty:
        assert reason(empty, "0612345999") == "lookup_unavailable"
        assert "bmn rebuild --take-over" in last_verdict(empty)["failure"]
        for change in (
            lambda: load_register(empty, REGISTER),
            lambda: empty.seller_lists.add_optout("acme", OTHER, "letter", None),
            empty.outbox.drain,
        ):
            with pytest.raises(ListsForeign, match="another journal"):
                change()
        (problem,) = AgiScripts(empty, "fastagi").degraded(Deadline.after_ms(5_000))
        assert "another journal" in problem
    assert reason(app, "0612345999") == "not_registered"
    assert len(app.registers.status(NL_BMNR).kept) == 1


def test_a_redis_that_is_used_for_the_first_time_belongs_to_its_journal(app: Application, tmp_path: Path) -> None:
    """Before there is anything to apply."""
    assert reason(app) == "register_missing"
    (tmp_path / "second").mkdir()
    with wired(tmp_path / "second", app.settings.redis.url) as second:
        assert reason(second) == "lookup_unavailable"


def test_lists_without_a_mark_have_no_register_in_force_but_by_the_journal(app: Application, redis_url: str) -> None:
    """Whoever removed the mark may have removed more, so a pointer that the journal knows nothing of is not kept."""
    load_register(app, REGISTER)
    key = redis_keys.current("nl-bmnr")
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        pointer = str(client.get(key))
        unknown = {"id": "unknown", "record": f"{app.journal.id}:99:aa", "in_force_since": "2999-01-01T00:00:00+00:00"}
        client.set(key, json.dumps(json.loads(pointer) | unknown))
        client.delete(redis_keys.APPLIED)
        app.outbox.drain()
        assert client.get(key) == pointer


@pytest.mark.parametrize("mark", ["nonsense", "", "a:b:c", f"j:{9**40}:aa", "j:-1:aa"])
def test_a_damaged_mark_blocks_and_says_what_to_do(app: Application, redis_url: str, mark: str) -> None:
    """In words, whichever way it is damaged."""
    load_register(app, REGISTER)
    with redis.Redis.from_url(redis_url) as client:
        client.set(redis_keys.APPLIED, mark)
    assert reason(app) == "lookup_unavailable"
    assert "run bmn rebuild" in last_verdict(app)["failure"]


@pytest.mark.parametrize("value", ["{", "[]", "5", '{"id":"x"}', '{"id":"x","profile":"p","as_of":5}'])
def test_a_damaged_pointer_blocks_and_says_what_to_do(app: Application, redis_url: str, value: str) -> None:
    """The same."""
    load_register(app, REGISTER)
    with redis.Redis.from_url(redis_url) as client:
        client.set(redis_keys.current("nl-bmnr"), value)
    assert reason(app) == "lookup_unavailable"
    assert "run bmn rebuild" in last_verdict(app)["failure"]


def test_a_screening_waits_for_the_outbox_no_longer_than_it_may(
    app: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis takes its time to apply: this call is blocked, and the next one sees what was applied meanwhile."""
    load_register(app, REGISTER)
    gate = threading.Event()
    lists: Any = app.outbox._lists
    apply = lists.apply

    def slow(records: Sequence[Record], after: Mark, upto: Mark, standings: Mapping[str, Standing]) -> bool:
        assert gate.wait(10)
        return bool(apply(records, after, upto, standings))

    monkeypatch.setattr(lists, "apply", slow)
    app.journal.append([an_optout()], Deadline.after_ms(1_000))
    assert reason(app) == "deadline_exceeded"
    gate.set()
    app.outbox.catch_up(Deadline.after_ms(5_000))
    assert reason(app) == "seller_optout"


def test_health_answers_in_time_when_redis_does_not(tmp_path: Path, own_redis: PrivateRedis) -> None:
    """It is asked by something that waits."""
    with wired(tmp_path, own_redis.url) as app:
        scripts = AgiScripts(app, "fastagi")
        assert scripts.degraded(Deadline.after_ms(5_000)) == ["no register is loaded"]
        own_redis.pause()
        began = time.monotonic()
        (problem,) = scripts.degraded(Deadline.after_ms(200))
        assert "did not answer in time" in problem
        assert time.monotonic() - began < 2
        own_redis.resume()


# --- the drain in the background


@pytest.fixture
def service(tmp_path: Path, own_redis: PrivateRedis) -> Iterator[AgentService]:
    """A running service with a Redis of its own."""
    environment = {
        "BMN_CONFIG": str(write_configuration(tmp_path)),
        "BMN_REDIS_URL": own_redis.url,
        "BMN_AGI_LISTEN": "127.0.0.1:0",
    }
    with AgentService(tmp_path, environment) as service:
        yield service


def wait_for(service: AgentService, event: str, count: int = 1) -> list[dict[str, Any]]:
    """The lines of ``event``, as soon as there are so many."""
    until(lambda: len(service.log(event)) >= count)
    return service.log(event)


def test_the_background_drain_says_that_it_waits_and_that_it_goes_on(
    service: AgentService, tmp_path: Path, own_redis: PrivateRedis
) -> None:
    """Once an outage each, with why and how many."""
    own_redis.stop()
    (line,) = wait_for(service, "outbox.blocked")
    assert "redis.url" in line["why"]
    with wired(tmp_path, own_redis.url) as app:
        app.journal.append([an_optout()] * 2, Deadline.after_ms(1_000))
    own_redis.start()
    assert wait_for(service, "outbox.drained")[0]["applied"] == 2
    with redis.Redis.from_url(own_redis.url) as client:
        assert client.sismember(redis_keys.optout_set(NUMBER.prefix, "acme"), NUMBER.suffix)
    own_redis.stop()
    wait_for(service, "outbox.blocked", 2)
    own_redis.start()
    wait_for(service, "outbox.drained", 2)
    assert len(service.log("outbox.blocked")) == 2


def test_the_background_drain_outlives_a_damaged_pointer(
    service: AgentService, tmp_path: Path, own_redis: PrivateRedis
) -> None:
    """Said once; and it goes on when the pointer is gone."""
    with wired(tmp_path, own_redis.url) as app, redis.Redis.from_url(own_redis.url) as client:
        load_register(app, REGISTER)
        client.set(redis_keys.current("nl-bmnr"), "{")
        body = {"generation": "x", "profile": "nl-bmnr", "from_generation": "y", "by": "test"}
        app.journal.append([Event(EventType.REGISTER_ROLLED_BACK, body)], Deadline.after_ms(1_000))
        assert "damaged" in wait_for(service, "outbox.blocked")[0]["why"]
        drained = len(service.log("outbox.drained"))
        client.delete(redis_keys.current("nl-bmnr"))
        wait_for(service, "outbox.drained", drained + 1)
    assert len(service.log("outbox.blocked")) == 1


def test_the_background_drain_outlives_what_nobody_thought_of(
    service: AgentService, tmp_path: Path, own_redis: PrivateRedis
) -> None:
    """A record whose body is not even an object: it is tried again and again, until it is what it was."""
    own_redis.stop()
    wait_for(service, "outbox.blocked")
    with wired(tmp_path, own_redis.url) as app, closing(sqlite3.connect(tmp_path / "journal.db")) as journal:
        app.journal.append([an_optout()], Deadline.after_ms(1_000))
        (body,) = journal.execute("SELECT body FROM records WHERE type = 'optout.added'").fetchone()
        _alter(journal, "null")
        own_redis.start()
        with redis.Redis.from_url(own_redis.url) as client:
            until(lambda: client.info("commandstats").get("cmdstat_get", {"calls": 0})["calls"] > 6)
        assert not service.log("outbox.drained")
        _alter(journal, body)
    assert wait_for(service, "outbox.drained")[0]["applied"] == 1
    assert len(service.log("outbox.blocked")) == 1


def _alter(journal: sqlite3.Connection, body: str) -> None:
    journal.execute("UPDATE records SET body = ? WHERE type = 'optout.added'", (body,))
    journal.commit()


def test_threads_that_come_and_go_use_up_no_connections(app: Application) -> None:
    """More notices, replaced workers and catch-ups than a client's pool has connections: each ends with its thread."""
    load_register(app, REGISTER)
    for _ in range(120):
        app.outbox.catch_up(Deadline.after_ms(1_000))
    reasons: list[str] = []
    for _ in range(120):
        thread = threading.Thread(target=lambda: reasons.append(reason(app)))
        thread.start()
        thread.join()
    assert set(reasons) == {reason(app)} != {"lookup_unavailable"}
    with app.redis.commands() as client:
        assert client.info("clients")["connected_clients"] < 30
