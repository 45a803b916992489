"""A load is put in force without being counted again, unless Redis may have lost a part of it since."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from agent.adapters import redis_keys
from agent.adapters.redis_generation_sets import is_still_whole, is_whole, witness
from agent.bootstrap import Application
from agent.domain.deadline import Deadline
from agent.domain.journal_events import Event, EventType
from agent.domain.profile import NL_BMNR
from deploy.lab.redis_server import PrivateRedis
from tests.conftest import load_register
from tests.integration.test_screening import NUMBER, reason

REGISTER = f"{NUMBER.e164}\n0687654321\n"


@pytest.fixture
def client(redis_url: str) -> Any:
    """What happens to Redis."""
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        yield client


def two_loads(app: Application) -> tuple[str, str]:
    """Their ids; the second is in force."""
    first, second = (load_register(app, REGISTER).generation.id for _ in range(2))
    return first, second


def put_in_force(app: Application, generation: str, left: str) -> None:
    """As a record of the journal does."""
    body = {"generation": generation, "profile": NL_BMNR.key, "from_generation": left, "by": "test"}
    app.journal.append([Event(EventType.REGISTER_ROLLED_BACK, body)], Deadline.after_ms(1_000))
    app.outbox.drain()


def counted(client: Any) -> int:
    """How many sets Redis was asked to count so far."""
    return int(client.info("commandstats").get("cmdstat_scard", {"calls": 0})["calls"])


def test_a_load_is_put_in_force_without_counting_it_again(app: Application, client: Any) -> None:
    """However many sets it has: calls wait for it."""
    first, second = two_loads(app)
    before = counted(client)
    put_in_force(app, first, second)
    status = app.registers.status(NL_BMNR)
    assert status.current is not None
    assert (status.current.id, counted(client)) == (first, before)


def test_a_load_that_may_have_lost_a_part_is_counted(app: Application, client: Any) -> None:
    """And is not put in force when it has: then none is, which blocks."""
    first, second = two_loads(app)
    client.delete(client.keys(redis_keys.register_sets_pattern(first))[0])
    client.set(redis_keys.DOUBTS, "another")
    put_in_force(app, first, second)
    assert app.registers.status(NL_BMNR).current is None
    assert reason(app, NUMBER.e164) == "register_missing"


def test_beginning_anew_casts_doubt_on_every_load(app: Application, client: Any) -> None:
    """``bmn rebuild`` does, and a Redis that forgot how far it had come."""
    _, second = two_loads(app)
    text = client.hget(redis_keys.generations(NL_BMNR.key), second)
    client.delete(client.keys(redis_keys.register_sets_pattern(second))[0])
    assert is_still_whole(app.redis, text, second)
    client.delete(redis_keys.APPLIED)
    app.outbox.drain()
    assert not is_still_whole(app.redis, text, second)
    assert app.registers.status(NL_BMNR).current is None


def test_another_run_of_redis_is_another_witness(own_redis: PrivateRedis) -> None:
    """It may have come back from an old snapshot."""
    with redis.Redis.from_url(own_redis.url, decode_responses=True) as client:
        client.set(redis_keys.DOUBTS, "a")
        before = witness(client)
        assert before is not None
        assert before == witness(client)
        own_redis.stop()
        own_redis.start()
        client.set(redis_keys.DOUBTS, "a")
        assert witness(client) not in (before, None)


def test_without_a_witness_every_load_is_counted(app: Application, client: Any) -> None:
    """A managed Redis may not answer INFO, and one that lost what tells that it was doubted knows nothing."""
    _, second = two_loads(app)
    text = client.hget(redis_keys.generations(NL_BMNR.key), second)
    doubts = client.get(redis_keys.DOUBTS)
    before = counted(client)
    assert is_still_whole(app.redis, text, second)
    assert counted(client) == before

    def counts() -> None:
        before = counted(client)
        assert is_still_whole(app.redis, text, second)
        assert counted(client) > before

    client.execute_command("ACL", "SETUSER", "default", "-info")
    try:
        with app.redis.commands() as forbidden:
            assert witness(forbidden) is None
    finally:
        client.execute_command("ACL", "SETUSER", "default", "+info")
    client.delete(redis_keys.DOUBTS)
    counts()
    client.set(redis_keys.DOUBTS, doubts)
    client.delete(client.keys(redis_keys.register_sets_pattern(second))[0])
    assert is_still_whole(app.redis, text, second), "not counted"
    assert not is_whole(app.redis, text, second)
    client.delete(redis_keys.DOUBTS)
    assert not is_still_whole(app.redis, text, second)


def test_a_load_of_an_older_version_is_counted_without_a_roster(app: Application, client: Any) -> None:
    """Nor does it have a witness."""
    _, second = two_loads(app)
    text = client.hget(redis_keys.generations(NL_BMNR.key), second)
    older = text.replace('"rostered"', '"unknown"').replace('"witness"', '"another"')
    client.delete(redis_keys.register_roster(second))
    assert is_still_whole(app.redis, older, second)
    assert not is_whole(app.redis, text, second), "its roster is gone"
    client.delete(client.keys(redis_keys.register_sets_pattern(second))[0])
    assert not is_still_whole(app.redis, older, second)
