"""Old loads: how long they stay, and that they go by themselves."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis

from agent.adapters import redis_keys
from agent.adapters.redis_generations import RedisGenerations
from agent.adapters.redis_import_lock import ImportLock
from agent.bootstrap import Application, now_utc
from agent.domain.errors import InputRejected
from agent.domain.profile import NL_BMNR
from agent.generation_keeping import GenerationKeeping
from tests.conftest import load_register, wired

GOOD = "0612345678\n"
GRACE = timedelta(minutes=30)


@pytest.fixture
def graceful(tmp_path: Path, redis_url: str) -> Iterator[Application]:
    """Old loads stay for half an hour."""
    with wired(tmp_path, redis_url, BMN_REGISTER__GRACE_MINUTES="30") as application:
        yield application


def keeping(app: Application, after: timedelta) -> GenerationKeeping:
    """As it is that much later."""
    return GenerationKeeping(
        generations=RedisGenerations(app.redis),
        journal=app.journal,
        clock=lambda: now_utc() + after,
        keep=2,
        grace=GRACE,
    )


def sets(redis_url: str, generation: str) -> list[Any]:
    """The sets that Redis has of it."""
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        return list(client.keys(redis_keys.register_sets_pattern(generation)))


def test_a_load_that_was_just_left_stays_until_its_grace_is_over(graceful: Application, redis_url: str) -> None:
    """Then it is freed without a new load; the one to roll back to stays for good."""
    loads = [load_register(graceful, GOOD) for _ in range(4)]
    ids = [load.generation.id for load in loads]
    assert [load.freed for load in loads] == [()] * 4
    assert graceful.registers.tidy(NL_BMNR) == ()
    assert all(sets(redis_url, item) for item in ids)
    assert keeping(graceful, GRACE - timedelta(minutes=1)).tidy(NL_BMNR.key) == ()
    assert sorted(keeping(graceful, GRACE).tidy(NL_BMNR.key)) == sorted(ids[:2])
    assert [bool(sets(redis_url, item)) for item in ids] == [False, False, True, True]
    assert keeping(graceful, GRACE * 100).tidy(NL_BMNR.key) == ()
    graceful.registers.rollback(NL_BMNR)


def test_a_load_that_was_rolled_back_from_has_its_grace_too(graceful: Application, redis_url: str) -> None:
    """However new it is, it goes first after that."""
    first, second, bad = (load_register(graceful, GOOD).generation.id for _ in range(3))
    graceful.registers.rollback(NL_BMNR)
    assert keeping(graceful, GRACE).tidy(NL_BMNR.key) == (bad,)
    assert [bool(sets(redis_url, item)) for item in (first, second, bad)] == [True, True, False]


def test_tidying_waits_for_an_import_that_is_under_way(graceful: Application, redis_url: str) -> None:
    """And does not complain of it."""
    for _ in range(3):
        load_register(graceful, GOOD)
    with RedisGenerations(graceful.redis).changing(NL_BMNR.key):
        assert keeping(graceful, GRACE).tidy(NL_BMNR.key) == ()
    assert len(keeping(graceful, GRACE).tidy(NL_BMNR.key)) == 1


def test_an_import_waits_for_tidying_that_takes_a_moment(app: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not turned away for it."""
    waits = iter([True])
    other = ImportLock(app.redis, NL_BMNR.key)

    def wait(_: float) -> None:
        assert next(waits)
        other.__exit__()

    monkeypatch.setattr("agent.adapters.redis_import_lock.sleep", wait)
    with other, ImportLock(app.redis, NL_BMNR.key):
        assert next(waits, False) is False


def test_an_import_beside_another_one_is_turned_away(app: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a second, in words."""
    monkeypatch.setattr("agent.adapters.redis_import_lock._WAIT_S", 0.05)
    with ImportLock(app.redis, NL_BMNR.key), pytest.raises(InputRejected, match="under way"):
        ImportLock(app.redis, NL_BMNR.key).__enter__()
