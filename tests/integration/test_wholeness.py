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
    client.incr(redis_keys.DOUBTS)
    put_in_force(app, first, second)
    assert app.registers.status(NL_BMNR).current is None
    assert reason(app, NUMBER.e164) == "register_missing"


def test_beginning_anew_casts_doubt_on_every_load(app: Application, client: Any) -> None:
    """``bmn rebuild`` does, and a Redis that forgot how far it had come."""
    _, second = two_loads(app)
    text = client.hget(redis_keys.generations(NL_BMNR.key), second)
    client.delete(client.keys(redis_keys.register_sets_pattern(second))[0])
    assert is_still_whole(client, text, second)
    client.delete(redis_keys.APPLIED)
    app.outbox.drain()
    assert not is_still_whole(client, text, second)
    assert app.registers.status(NL_BMNR).current is None


def test_another_run_of_redis_is_another_witness(own_redis: PrivateRedis) -> None:
    """It may have come back from an old snapshot."""
    with redis.Redis.from_url(own_redis.url, decode_responses=True) as client:
        before = witness(client)
        assert before == witness(client)
        own_redis.stop()
        own_redis.start()
        assert before != witness(client)


def test_without_a_witness_every_load_is_counted(app: Application, client: Any) -> None:
    """A managed Redis may not answer INFO; loads of older releases have none."""

    class Mute:
        """A client that is not told."""

        def info(self, section: str) -> dict[str, Any]:
            raise redis.ResponseError("NOPERM")

        def __getattr__(self, name: str) -> Any:
            return getattr(client, name)

    _, second = two_loads(app)
    text = client.hget(redis_keys.generations(NL_BMNR.key), second)
    assert witness(Mute()) is None
    before = counted(client)
    assert is_still_whole(Mute(), text, second)
    older = text.replace('"witness"', '"another"')
    assert is_still_whole(client, older, second)
    assert is_whole(client, older, second)
    assert counted(client) > before
    client.delete(client.keys(redis_keys.register_sets_pattern(second))[0])
    assert not is_still_whole(Mute(), older, second)
