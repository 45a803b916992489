"""One Redis, reached in two ways: pipelined by hand on the dial path, by redis-py's client everywhere else."""

from __future__ import annotations

import contextlib
import re
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, cast

import redis
from redis.backoff import NoBackoff
from redis.connection import ConnectionPool
from redis.retry import Retry

from agent.adapters import redis_keys
from agent.domain.condition import ServerMemory
from agent.domain.deadline import Deadline
from agent.domain.errors import ListsEvicted, LookupTimedOut, LookupUnavailable

_MEMORY: Final = ("INFO", "memory")
_UNDER_WAY: Final = 2
"""Batches that are sent ahead of the replies that are read."""


class RedisServer:
    """A Redis by its URL (``redis://``, ``rediss://``, ``unix://``)."""

    def __init__(self, url: str, *, connect_timeout_ms: int, command_timeout_ms: int) -> None:
        """Connects nowhere yet. ``command_timeout_ms`` is for commands off the dial path."""
        options: dict[str, Any] = {
            "socket_connect_timeout": connect_timeout_ms / 1000,
            "socket_timeout": command_timeout_ms / 1000,
            "retry": Retry(NoBackoff(), 0),  # the caller's deadline decides, not the client
            "decode_responses": True,
            "protocol": 2,  # nothing of RESP3 is used, and its handshake is one more round trip
        }
        self._pool = ConnectionPool.from_url(url, **options)
        # A password may stand before the host or in the query.
        self._name = re.sub(r"//.*@", "//", url.partition("?")[0])
        self.client = redis.Redis(connection_pool=self._pool)
        self._connect_timeout_ms = connect_timeout_ms
        self._command_timeout_ms = command_timeout_ms
        self._local = threading.local()

    def pipeline_read(self, commands: Sequence[Sequence[str | int]], deadline: Deadline | None = None) -> list[Any]:
        """Send reading ``commands`` in one write and return their replies, in order: one round trip.

        Each thread keeps a connection. One that turns out to be dead (Redis was restarted) is replaced and the
        commands are sent once more; only commands that change nothing may come here. Without a ``deadline``, the
        time for commands off the dial path holds. Raises ``LookupTimedOut`` or ``LookupUnavailable``.
        """
        deadline = deadline or Deadline.after_ms(self._command_timeout_ms)
        kept = getattr(self._local, "connection", None)
        if kept is not None:
            with contextlib.suppress(redis.ConnectionError):
                return self._exchange(kept, commands, deadline)
        with _translated(self._name):
            # Not counted by the pool, which would run out of them as threads come and go; it ends with its thread.
            fresh = self._connected(deadline)
            policy, *replies = self._exchange(fresh, [_MEMORY, *commands], deadline)
        _refuse_eviction(policy)
        self._local.connection = fresh
        return replies

    def stream_read(self, batches: Iterable[tuple[bytes, int]]) -> Iterator[list[Any]]:
        """Send ``batches`` of reading commands, each as Redis wants it with how many they are; yield the replies.

        A batch is under way while the replies before it are read, so that both sides have work. For each batch Redis
        has the time for commands off the dial path. Raises ``LookupTimedOut`` or ``LookupUnavailable``.
        """
        connection: Any = None
        under_way: deque[int] = deque()
        try:
            for packed, count in batches:
                with _translated(self._name):
                    connection = connection or self._connected(Deadline.after_ms(self._command_timeout_ms))
                    connection.send_packed_command([packed], check_health=False)
                under_way.append(count)
                if len(under_way) > _UNDER_WAY:
                    yield self._replies(connection, under_way.popleft())
            while under_way:
                yield self._replies(connection, under_way.popleft())
        finally:
            if connection is not None:
                connection.disconnect()

    def _replies(self, connection: Any, count: int) -> list[Any]:
        with _translated(self._name):
            return [connection.read_response() for _ in range(count)]

    def _connected(self, deadline: Deadline) -> Any:
        """A new connection outside the pool."""
        fresh: Any = self._pool.connection_class(**self._pool.connection_kwargs)
        # A Redis that is stopped in mid-air still accepts connections: its silence must not outlast the deadline.
        fresh.socket_timeout = max(deadline.remaining_s(), 0.001)
        fresh.socket_connect_timeout = min(self._connect_timeout_ms / 1000, fresh.socket_timeout)
        fresh.connect()
        return fresh

    def require_no_eviction(self, deadline: Deadline | None = None) -> None:
        """Raise ``ListsEvicted`` when Redis evicts our keys once its memory is full.

        A number that was evicted would look as if it were not registered. Our lists have no time to live, so the
        policies ``volatile-…`` leave them alone.
        """
        (info,) = self.pipeline_read([_MEMORY], deadline)
        _refuse_eviction(info)

    def packs_our_sets(self) -> bool | None:
        """Whether ``set-max-intset-entries`` is high enough for our sets; None when CONFIG is forbidden."""
        setting = "set-max-intset-entries"
        with _translated(self._name):
            try:
                found: Any = self.client.config_get(setting)
            except redis.ResponseError:  # a managed server, or an ACL
                return None
        return int(found[setting]) >= redis_keys.PACKED_MEMBERS

    def memory(self) -> ServerMemory:
        """How much Redis uses, and may use."""
        (text,) = self.pipeline_read([_MEMORY])
        info = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
        limit = int(info.get("maxmemory", 0))
        return ServerMemory(
            used=int(info["used_memory"]),
            limit=limit or int(info.get("total_system_memory", 0)),
            limited=limit > 0,
        )

    def time(self) -> datetime:
        """What the clock of Redis says."""
        ((seconds, microseconds),) = self.pipeline_read([("TIME",)])
        return datetime.fromtimestamp(int(seconds), UTC) + timedelta(microseconds=int(microseconds))

    def _exchange(self, connection: Any, commands: Sequence[Sequence[str | int]], deadline: Deadline) -> list[Any]:
        """One write, as many replies as commands. A connection that failed in any way is not used again."""
        whole = False
        try:
            connection.send_packed_command(connection.pack_commands(commands), check_health=False)
            replies = [
                connection.read_response(timeout=max(deadline.remaining_s(), 0.001)) for _ in range(len(commands))
            ]
            whole = True
            return replies
        except redis.TimeoutError as error:
            raise LookupTimedOut("Redis did not answer in time") from error
        except redis.ResponseError as error:
            raise LookupUnavailable(f"Redis answered: {error}") from error
        finally:
            if not whole:
                self._local.connection = None
                connection.disconnect()

    @contextlib.contextmanager
    def commands(self) -> Iterator[Any]:
        """The redis-py client, with its errors translated."""
        with _translated(self._name):
            yield self.client

    def close(self) -> None:
        """Close this thread's and all pooled connections."""
        connection = cast("Any", getattr(self._local, "connection", None))
        if connection is not None:
            connection.disconnect()
            self._local.connection = None
        self._pool.disconnect()


def _refuse_eviction(info: str) -> None:
    policy = re.search(r"maxmemory_policy:(\S+)", info)
    if policy is not None and policy[1].startswith("allkeys-"):
        raise ListsEvicted(
            f"Redis may evict numbers when its memory is full (maxmemory-policy {policy[1]}): "
            "set maxmemory-policy noeviction, then run bmn rebuild"
        )


@contextlib.contextmanager
def _translated(name: str) -> Iterator[None]:
    """redis-py's errors, in the words of the domain."""
    try:
        yield
    except redis.TimeoutError as error:
        raise LookupTimedOut(f"Redis at {name} did not answer in time") from error
    except (redis.RedisError, OSError) as error:
        raise LookupUnavailable(f"Redis at {name} (redis.url) cannot be used: {error}") from error
