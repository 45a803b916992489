"""Connections to Redis that fell silent, as when a firewall forgot them; and a Redis that is silent itself, or slow."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

import pytest

from agent.adapters import redis_connection
from agent.bootstrap import Application, bootstrap
from agent.bootstrap.service import metrics
from agent.config import load_settings
from agent.domain.deadline import Deadline
from deploy.lab.redis_server import PrivateRedis
from tests.conftest import load_register, write_configuration
from tests.integration.test_outbox import an_optout
from tests.integration.test_screening import reason
from tests.redis_proxy import RedisProxy
from tests.waiting import until

WORKERS = 8


@pytest.fixture
def proxy(redis_url: str, redis_server: PrivateRedis) -> Iterator[RedisProxy]:
    """In front of an empty Redis."""
    with RedisProxy(redis_server.socket) as proxy:
        yield proxy


@pytest.fixture
def app(tmp_path: Path, proxy: RedisProxy) -> Iterator[Application]:
    """Behind it, with a register in which the number is not, and time enough on a busy machine."""
    settings = load_settings(
        {
            "BMN_CONFIG": str(write_configuration(tmp_path)),
            "BMN_REDIS_URL": proxy.url,
            "BMN_REDIS__LOOKUP_TIMEOUT_MS": "5000",
        }
    )
    with bootstrap(settings, watch=metrics(settings)) as app:
        load_register(app, "0687654321\n")
        yield app


class Workers:
    """Threads that each keep a connection, as those of the service."""

    def __init__(self, count: int) -> None:
        self._pool = ThreadPoolExecutor(count)
        self._together = threading.Barrier(count)
        self._count = count

    def begin(self, work: Callable[[], Any]) -> list[Future[Any]]:
        """Each of them, all at once."""

        def together() -> Any:
            self._together.wait(10)
            return work()

        return [self._pool.submit(together) for _ in range(self._count)]

    def all(self, work: Callable[[], Any]) -> list[Any]:
        """What each of them got."""
        return [one.result(30) for one in self.begin(work)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()


@pytest.fixture
def workers() -> Iterator[Workers]:
    """As many as the service has."""
    with Workers(WORKERS) as workers:
        yield workers


def silences(app: Application) -> float | None:
    """How often silence was proved."""
    watch: Any = app.watch
    found: float | None = watch.registry.get_sample_value("bmn_redis_silent_connections_total")
    return found


def test_connections_that_fell_silent_cost_no_call(app: Application, proxy: RedisProxy, workers: Workers) -> None:
    """All at once, as after a weekend; each worker's next call is answered on a connection of its own again."""
    assert workers.all(lambda: reason(app, within_ms=9_000)) == ["not_registered"] * WORKERS
    before = proxy.accepted
    proxy.silence()
    for _ in range(2):
        assert workers.all(lambda: reason(app, within_ms=9_000)) == ["not_registered"] * WORKERS
    assert proxy.accepted == before + WORKERS
    assert silences(app) == 1


def test_once_silence_is_proved_nobody_waits_for_it(app: Application, proxy: RedisProxy, workers: Workers) -> None:
    """The first one who meets it waits a moment; the connections of all others are replaced before they are used."""
    workers.all(lambda: reason(app, within_ms=9_000))
    reason(app)
    proxy.silence()
    assert reason(app, within_ms=9_000) == "not_registered"
    swallowed = proxy.swallowed
    assert workers.all(lambda: reason(app, within_ms=9_000)) == ["not_registered"] * WORKERS
    assert proxy.swallowed == swallowed


def test_an_objection_is_applied_although_the_connections_fell_silent(app: Application, proxy: RedisProxy) -> None:
    """By which it is brought into Redis, too."""
    assert reason(app) == "not_registered"
    app.outbox.catch_up(Deadline.after_ms(5_000))
    proxy.silence()
    app.journal.append([an_optout()], Deadline.after_ms(5_000))
    assert reason(app, within_ms=9_000) == "seller_optout"


def test_a_client_connection_that_was_idle_is_not_trusted(
    app: Application, proxy: RedisProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Off the dial path nothing would be lost, but five seconds."""
    with app.redis.commands() as client:
        client.set("x", "y")
    proxy.silence()
    monkeypatch.setattr(redis_connection, "_IDLE_S", -1.0)
    with app.redis.commands() as client:
        assert client.get("x") == "y"


def test_a_redis_that_is_only_slow_is_not_asked_twice_by_everybody(
    tmp_path: Path, own_redis: PrivateRedis, workers: Workers
) -> None:
    """One lookup asks on a fresh connection, to find out; all others wait, and all are answered."""
    settings = load_settings(
        {
            "BMN_CONFIG": str(write_configuration(tmp_path)),
            "BMN_REDIS_URL": own_redis.url,
            "BMN_REDIS__LOOKUP_TIMEOUT_MS": "5000",
        }
    )
    with bootstrap(settings, watch=metrics(settings)) as app:
        load_register(app, "0687654321\n")
        workers.all(lambda: reason(app, within_ms=9_000))
        watch: Any = app.watch

        def connections() -> Any:
            return watch.registry.get_sample_value("bmn_redis_connections_total")

        before = connections()
        own_redis.pause()
        asked = workers.begin(lambda: reason(app, within_ms=9_000))
        until(lambda: app.redis._kept._asking_twice.locked())
        own_redis.resume()
        assert [one.result(30) for one in asked] == ["not_registered"] * WORKERS
        assert connections() == before + 1
        assert silences(app) == 0


def test_a_redis_that_hangs_is_asked_twice_by_one_at_most(
    app: Application, proxy: RedisProxy, workers: Workers
) -> None:
    """And every call has its answer in time."""
    workers.all(lambda: reason(app, within_ms=9_000))
    before = proxy.accepted
    proxy.swallow = True
    proxy.silence()
    began = time.monotonic()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(app.screening, "_lookup_timeout_ms", 400)
        assert workers.all(lambda: reason(app, within_ms=9_000)) == ["deadline_exceeded"] * WORKERS
    assert time.monotonic() - began < 5
    assert proxy.accepted == before + 1


def test_what_is_on_the_way_is_kept_from_forgetting_connections(app: Application) -> None:
    """Every fifteen seconds something is sent, so that a dead peer is found out, too."""
    reason(app)
    sock = app.redis._kept._local.kept.connection._sock
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 15
