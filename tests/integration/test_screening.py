"""Screening on a real Redis and a real journal."""

from __future__ import annotations

import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis

from agent.adapters import redis_keys
from agent.bootstrap import Application
from agent.domain.deadline import Deadline
from agent.domain.journal_events import Event, EventType
from agent.domain.model import Reason, Screened
from agent.domain.phone_number import PhoneNumber
from agent.domain.profile import NL_BMNR
from agent.domain.seller_list_entries import Sale
from agent.screening import ScreenRequest
from deploy.lab.redis_server import PrivateRedis
from tests.conftest import load_register, wired

NUMBER = PhoneNumber(digits="31612345678")
REGISTERED = "0612345678,all\n0612345679,all_except_charities\n0612345680,energy;finance\n0612345681,charities\n"


def screen(app: Application, number: str = "0612345678", campaign: str = "energy", within_ms: int = 2_000) -> Screened:
    """One screening, as the service does it."""
    request = ScreenRequest(number=number, campaign=campaign, agent="agent-1", source="fastagi", uniqueid="1.1")
    return app.screening.screen(request, Deadline.after_ms(within_ms))[0]


def reason(app: Application, number: str = "0612345678", campaign: str = "energy", within_ms: int = 2_000) -> str:
    """Why."""
    return screen(app, number, campaign, within_ms).decision.reason


def reason_from_a_new_thread(app: Application) -> str:
    """Why, from a thread that has no connection to Redis yet."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(reason, app).result()


def last_verdict(app: Application) -> Any:
    """What the journal says of the newest screening."""
    where = f"type = '{EventType.CALL_SCREENED}'"
    return next(app.journal.records(where, newest_first=True, limit=1)).body


@pytest.mark.parametrize(
    ("number", "campaign", "expected"),
    [
        ("0612345678", "energy", "registered"),
        ("0612345678", "charity", "registered"),
        ("0612345678", "survey", "exempt_research"),
        ("0612345679", "energy", "registered"),
        ("0612345679", "charity", "not_registered"),
        ("0612345680", "energy", "registered_sector"),
        ("0612345680", "charity", "not_registered"),
        ("0612345681", "charity", "registered_charities"),
        ("0612345681", "energy", "not_registered"),
        ("0612345999", "energy", "not_registered"),
        ("0612345678", "no-such-campaign", "unknown_campaign"),
        ("06123456789", "energy", "invalid_number"),
        ("+3225551234", "energy", "unsupported_country"),
        ("112", "no-such-campaign", "emergency_number"),
    ],
)
def test_the_register_decides(app: Application, number: str, campaign: str, expected: str) -> None:
    """Each kind of entry, in its own set."""
    load_register(app, REGISTERED)
    assert reason(app, number, campaign) == expected


def test_only_an_allowed_number_is_handed_out(app: Application) -> None:
    """The dialplan dials what the verdict hands out, so a block hands out nothing."""
    load_register(app, REGISTERED)
    assert screen(app, "06-12345678").number_to_dial == ""
    assert screen(app, "06-12345999").number_to_dial == "+31612345999"
    assert screen(app, "112").number_to_dial == "112"


def test_the_verdict_is_in_the_journal_with_everything_that_led_to_it(app: Application) -> None:
    """Evidence: who, whom, for whom, by which rule and which load."""
    generation = load_register(app, REGISTERED).generation
    screened = screen(app, "06-12345678")
    assert last_verdict(app) == {
        "call": screened.call_id,
        "number": "+31612345678",
        "dialled": "06-12345678",
        "campaign": "energy",
        "seller": "acme",
        "agent": "agent-1",
        "profile": "nl-bmnr",
        "verdict": "block",
        "reason": "registered",
        "rule": "register_entry_blocks",
        "generation": generation.id,
        "notice": "none",
        "source": "fastagi",
        "uniqueid": "1.1",
        "failure": None,
        "formerly": None,
    }


def test_an_optout_beats_being_a_customer_and_research(app: Application) -> None:
    """At once, and only for this seller."""
    load_register(app, "0687654321\n")
    sale = Sale(sold_on=date(2026, 1, 5), product="Groene Stroom", evidence="order 17")
    app.seller_lists.add_customers("acme", "energy-contract", [(NUMBER, sale)], "test", lambda *_: None)
    assert reason(app) == "exempt_customer"
    assert app.seller_lists.add_optout("acme", NUMBER, "letter", None)
    assert reason(app) == "seller_optout"
    assert reason(app, campaign="survey") == "seller_optout"
    assert reason(app, campaign="charity") == "not_registered"
    assert app.seller_lists.remove_optout("acme", NUMBER, "asked to be called again")
    assert reason(app) == "exempt_customer"


def test_a_customer_is_exempt_for_the_same_product_group_only(app: Application) -> None:
    """Similar products: energy contracts are no solar panels."""
    load_register(app, REGISTERED)
    sale = Sale(sold_on=date(2026, 1, 5), product="Groene Stroom", evidence=None)
    app.seller_lists.add_customers("acme", "energy-contract", [(NUMBER, sale)], "test", lambda *_: None)
    assert reason(app) == "exempt_customer"
    assert reason(app, campaign="solar") == "registered"
    app.seller_lists.remove_customer("acme", "energy-contract", NUMBER, "contract ended")
    assert reason(app) == "registered"


def test_without_a_register_nobody_is_called(app: Application) -> None:
    """An empty Redis never means that nobody is registered."""
    assert reason(app) == "register_missing"
    assert reason(app, campaign="survey") == "exempt_research"


def test_a_register_past_its_period_blocks(app: Application) -> None:
    """28 days for nl-bmnr."""
    load_register(app, REGISTERED, as_of=date.today() - timedelta(days=29))
    assert reason(app, "0612345999") == "register_stale"


def test_a_screening_is_one_round_trip_to_redis(app: Application, redis_server: PrivateRedis) -> None:
    """Counted on the socket: one write, then only reads, however many lists are asked."""
    load_register(app, REGISTERED)
    screen(app)
    connection = app.redis._kept._local.kept.connection  # the thread's connection, whose socket is watched below
    watched = _WatchedSocket(connection._sock)
    connection._sock = watched
    before = _commands(redis_server)
    assert reason(app) == "registered"
    assert watched.writes == 1
    assert app.redis._kept._local.kept.connection is connection, "no other connection was made"
    assert _commands(redis_server) - before == 20
    """Optout, customer, 3 own lists, 3 of the register, the size of each, mark, pointer, 2 rosters."""


class _WatchedSocket:
    """A socket that counts its writes."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.writes = 0

    def sendall(self, data: bytes) -> None:
        self.writes += 1
        self._inner.sendall(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def _commands(server: PrivateRedis) -> int:
    """Reading commands that the server has executed."""
    with redis.Redis.from_url(server.url) as client:
        stats: Any = client.info("commandstats")
    return sum(stats.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in ("get", "hmget", "scard", "sismember"))


# --- when things break


def test_redis_stopped_blocks_and_says_so_and_recovers(tmp_path: Path, own_redis: PrivateRedis) -> None:
    """No connection: lookup_unavailable. The restarted Redis is empty, and that blocks too, until a register is loaded.

    The opt-out comes back by itself, from the journal.
    """
    with wired(tmp_path, own_redis.url) as app:
        load_register(app, "0687654321\n")
        app.seller_lists.add_optout("acme", NUMBER, "letter", None)
        own_redis.stop()
        assert reason(app) == "lookup_unavailable"
        assert "Redis" in last_verdict(app)["failure"]
        assert reason(app, "112") == "emergency_number"
        own_redis.start()
        assert reason(app) == "seller_optout"
        assert reason(app, "0612345999") == "register_missing"
        load_register(app, "0687654321\n")
        assert reason(app, "0612345999") == "not_registered"


def test_a_redis_that_was_restarted_between_two_calls_is_not_even_noticed(
    tmp_path: Path, own_redis: PrivateRedis
) -> None:
    """The kept connection is dead; the same call makes a new one."""
    with wired(tmp_path, own_redis.url) as app:
        assert reason(app) == "register_missing"
        own_redis.stop()
        own_redis.start()
        assert reason(app) == "register_missing"


def test_redis_paused_blocks_within_the_lookup_time(tmp_path: Path, own_redis: PrivateRedis) -> None:
    """Connected but silent: deadline_exceeded, soon enough for the journal to be written within the deadline."""
    with wired(tmp_path, own_redis.url, BMN_REDIS__LOOKUP_TIMEOUT_MS="100") as app:
        load_register(app, "0687654321\n")
        assert reason(app) == "not_registered"
        own_redis.pause()
        for screened_by in (reason, reason_from_a_new_thread):  # on a kept connection, and on one to be made
            started = time.monotonic()
            assert screened_by(app) == "deadline_exceeded"
            assert time.monotonic() - started < 1.5
        own_redis.resume()
        assert reason(app) == "not_registered"


def test_a_redis_restored_from_an_old_snapshot_is_brought_forward_before_it_is_believed(
    app: Application, redis_url: str
) -> None:
    """Redis forgot an opt-out; the first screening notices by the mark, applies the journal, and then answers."""
    load_register(app, "0687654321\n")
    with redis.Redis.from_url(redis_url) as client:
        mark = client.get(redis_keys.APPLIED)
        app.seller_lists.add_optout("acme", NUMBER, "letter", None)
        client.delete(redis_keys.optout_set(NUMBER.prefix, "acme"))
        client.set(redis_keys.APPLIED, mark)
    assert reason(app) == "seller_optout"


def test_a_change_by_another_process_that_died_before_applying_it_is_seen(app: Application) -> None:
    """The record is on disk, so it counts, although nobody has told Redis."""
    load_register(app, "0687654321\n")
    body = {"seller": "acme", "number": NUMBER.e164, "source": "test", "note": None, "by": "test"}
    app.journal.append([Event.of(EventType.OPTOUT_ADDED, body)], Deadline.after_ms(1_000))
    assert reason(app) == "seller_optout"


def test_a_pointer_to_a_generation_that_redis_lost_is_dropped(app: Application, redis_url: str) -> None:
    """An older load that survived in Redis must not stand in silently for a newer one."""
    load_register(app, "0612345678\n")
    with redis.Redis.from_url(redis_url) as client:
        old = {key: client.dump(key) for key in client.keys("*")}
        load_register(app, "0612345678\n0612345999\n")
        assert reason(app, "0612345999") == "registered"
        client.flushall()
        for key, value in old.items():
            client.restore(key, 0, value)
    assert reason(app, "0612345999") == "register_missing"


def test_a_journal_that_cannot_be_written_blocks(app: Application) -> None:
    """No verdict without a record: the disk is 'full' for as long as somebody else holds the journal."""
    load_register(app, "0687654321\n")
    with closing(sqlite3.connect(app.journal.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert reason(app, within_ms=200) == "journal_unavailable"
        assert reason(app, "112", within_ms=200) == "emergency_number"
        other.execute("COMMIT")
    assert reason(app) == "not_registered"


def test_the_journal_ends_with_what_asterisk_was_told(app: Application) -> None:
    """An allow that reached the disk too late is followed by the block that was answered instead."""
    load_register(app, "0687654321\n")
    with closing(sqlite3.connect(app.journal.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        refused = screen(app, within_ms=200)
        other.execute("COMMIT")
    screen(app)  # what was queued before it is on disk by now
    told = [record.body["reason"] for record in app.journal.records("call = ?", (refused.call_id,))]
    assert told[-1] == "journal_unavailable"


@pytest.mark.parametrize(("number", "expected"), [("0612345999", "overloaded"), ("112", "emergency_number")])
def test_a_refusal_is_recorded_too(app: Application, number: str, expected: str) -> None:
    """Overload and internal errors block without asking the rules, emergencies excepted."""
    request = ScreenRequest(number=number, campaign="energy", agent="a", source="fastagi")
    refused = app.screening.refuse(request, Reason.OVERLOADED, "waited too long", Deadline.after_ms(1_000))
    assert refused.decision.reason == expected
    assert last_verdict(app)["call"] == refused.call_id


def test_a_reload_under_constant_screening_never_answers_from_a_half_generation(app: Application) -> None:
    """Numbers that are in every generation are blocked throughout; one that is in none is never blocked."""
    always = [f"06{10000000 + step * 7919:08d}" for step in range(200)]
    load_register(app, "\n".join(always))
    wrong: list[str] = []
    done = threading.Event()

    def screen_all() -> None:
        while not done.is_set():
            for number in always[::10]:
                found = reason(app, number)
                if found != "registered":
                    wrong.append(found)
            if (free := reason(app, "0699999999")) != "invalid_number" and free != "not_registered":
                wrong.append(free)

    threads = [threading.Thread(target=screen_all) for _ in range(3)]
    for thread in threads:
        thread.start()
    for round_ in range(12):
        load_register(app, "\n".join([*always, f"06{40000000 + round_}"]))
    done.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(app.registers.status(NL_BMNR).kept) == 2
