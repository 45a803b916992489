"""A Redis that may throw numbers away, from the very call on; and one that did, and would not any more."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from agent.bootstrap import Application
from agent.domain.deadline import Deadline
from agent.domain.errors import ListsEvicted
from deploy.lab.redis_server import PrivateRedis
from tests.conftest import load_register, wired
from tests.integration.test_redis_races import COMMANDS, between_replies
from tests.integration.test_screening import NUMBER, last_verdict, reason
from tests.integration.test_scrub import scrub
from tests.integration.test_scrub_faults import during

REGISTER = f"{NUMBER.e164}\n"
FREE = "+31612345999"
POLICY = "maxmemory-policy"


@pytest.fixture
def client(own_redis: PrivateRedis) -> Iterator[Any]:
    """What an operator, or somebody's script, does to Redis."""
    with redis.Redis.from_url(own_redis.url, decode_responses=True) as client:
        yield client


@pytest.fixture
def app(tmp_path: Path, own_redis: PrivateRedis) -> Iterator[Application]:
    """With a register, and a connection that is kept."""
    with wired(tmp_path, own_redis.url, BMN_REDIS__LOOKUP_TIMEOUT_MS="5000") as app:
        load_register(app, REGISTER)
        assert reason(app, FREE) == "not_registered"
        yield app


def a_set_of(client: Any) -> str:
    """The one of the register."""
    (key,) = client.keys("bmn:{*}:g:*")
    return str(key)


@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-lfu", "allkeys-random"])
def test_eviction_switched_on_counts_from_the_next_call_on(app: Application, client: Any, policy: str) -> None:
    """Also on a connection that is kept; and as soon as it is off, calls go on."""
    client.config_set(POLICY, policy)
    assert reason(app, FREE) == "lookup_unavailable"
    assert f"maxmemory-policy {policy}" in last_verdict(app)["failure"]
    client.config_set(POLICY, "noeviction")
    assert reason(app, FREE) == "not_registered"


@pytest.mark.parametrize("policy", ["volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl"])
def test_a_policy_that_takes_only_what_expires_is_harmless(app: Application, client: Any, policy: str) -> None:
    """Our lists do not."""
    client.config_set(POLICY, policy)
    assert reason(app, FREE) == "not_registered"


@pytest.mark.parametrize("position", range(1, COMMANDS))
def test_a_policy_that_is_switched_on_during_a_lookup_is_seen(app: Application, client: Any, position: int) -> None:
    """So it is read last: whatever went before it was read may be missing from what was read."""

    def evict() -> None:
        client.config_set(POLICY, "allkeys-lru")
        client.delete(a_set_of(client))

    state = app.journal.state()
    with between_replies(app, position, evict), pytest.raises(ListsEvicted):
        app.screening._lists.facts(NUMBER, app.campaigns["energy"], state, Deadline.after_ms(5_000))


def test_where_config_is_forbidden_the_policy_is_read_in_another_way(
    app: Application, client: Any, own_redis: PrivateRedis
) -> None:
    """As on a managed server; on a connection that was kept, and on a new one."""
    client.execute_command("ACL", "SETUSER", "watcher", "on", ">secret", "~*", "&*", "+@all", "-config")
    url = own_redis.url.replace("unix://", "unix://watcher:secret@")
    with wired(app.settings.journal.path.parent, url, BMN_REDIS__LOOKUP_TIMEOUT_MS="5000") as watcher:
        assert reason(watcher, FREE) == "not_registered"
        client.config_set(POLICY, "allkeys-lru")
        assert reason(watcher, FREE) == "lookup_unavailable"
        assert "allkeys-lru" in last_verdict(watcher)["failure"]


def test_what_was_evicted_between_two_lookups_is_missed(app: Application, client: Any) -> None:
    """The policy is as it should be when the next call looks, and the set is gone for good: it was given a time."""
    lost, count = a_set_of(client), 0
    client.expire(lost, 3_600)
    client.config_set(POLICY, "volatile-ttl")
    client.config_set("maxmemory", client.info("memory")["used_memory"] + 100_000)
    while client.exists(lost):
        with contextlib.suppress(redis.OutOfMemoryError):  # there was nothing else that it might have taken
            client.set(f"filler:{count}", "x" * 20_000)
        count += 1
    client.config_set("maxmemory", 0)
    client.config_set(POLICY, "noeviction")
    assert reason(app, NUMBER.e164, within_ms=9_000) == "register_missing"


def test_eviction_switched_on_ends_a_scrub(
    app: Application, client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In its middle: what was read last may have been short already."""
    during(monkeypatch, lambda count: client.config_set(POLICY, "allkeys-lru") if count == 1 else None)
    with pytest.raises(ListsEvicted):
        scrub(app, tmp_path)
