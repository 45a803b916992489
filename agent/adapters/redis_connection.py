"""One Redis, reached in two ways: pipelined by hand on the dial path, by redis-py's client everywhere else."""

from __future__ import annotations

import contextlib
import re
import socket
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any, Final

import redis
from redis.backoff import NoBackoff
from redis.connection import ConnectionPool
from redis.retry import Retry

from agent.adapters import redis_keys
from agent.adapters.redis_commands import NO_ANSWER, Command, Reading, reading
from agent.adapters.redis_kept import KeptConnections
from agent.domain.condition import ServerMemory
from agent.domain.deadline import Deadline
from agent.domain.errors import LookupTimedOut, LookupUnavailable
from agent.domain.watch import Watch

_MEMORY: Final = ("INFO", "memory")
_ANYTHING: Final = reading([("GET", redis_keys.APPLIED)])
"""A question that is put for the policy that is read after it."""
_UNDER_WAY: Final = 2
"""Batches that are sent ahead of the replies that are read."""
_IDLE_S: Final = 5.0
"""A connection of the client that was idle for longer is replaced: it may have been forgotten on the way."""
_KEEP_ALIVE: Final = {socket.TCP_KEEPIDLE: 15, socket.TCP_KEEPINTVL: 5, socket.TCP_KEEPCNT: 3}
"""Seconds, seconds and times: what is on the way does not forget a connection, and a dead peer is found out."""


class RedisServer:
    """A Redis by its URL (``redis://``, ``rediss://``, ``unix://``)."""

    def __init__(
        self, url: str, *, connect_timeout_ms: int, command_timeout_ms: int, watch: Watch | None = None
    ) -> None:
        """Connects nowhere yet. ``command_timeout_ms`` is for commands off the dial path."""
        options: dict[str, Any] = {
            "socket_connect_timeout": connect_timeout_ms / 1000,
            "socket_timeout": command_timeout_ms / 1000,
            "retry": Retry(NoBackoff(), 0),  # the caller's deadline decides, not the client
            "decode_responses": True,
            "protocol": 2,  # nothing of RESP3 is used, and its handshake is one more round trip
        }
        if not url.startswith("unix:"):
            options |= {"socket_keepalive": True, "socket_keepalive_options": _KEEP_ALIVE}
        self._pool = ConnectionPool.from_url(url, **options)
        # A password may stand before the host or in the query.
        self._name = re.sub(r"//.*@", "//", url.partition("?")[0])
        self.client = redis.Redis(connection_pool=self._pool)
        self._client_used_at = monotonic()
        self._connect_timeout_ms = connect_timeout_ms
        self._command_timeout_ms = command_timeout_ms
        self._watch = watch or Watch()
        self._kept = KeptConnections(self._connected_for_lookups, self._fell_silent)

    @property
    def database(self) -> int:
        """Its number on the server."""
        return int(self._pool.connection_kwargs.get("db") or 0)

    def pipeline_read(self, commands: Sequence[Command], deadline: Deadline | None = None) -> list[Any]:
        """Ask reading ``commands``; see ``ask``."""
        return self.ask(reading(commands), deadline)

    def ask(self, question: Reading, deadline: Deadline | None = None) -> list[Any]:
        """Send ``question`` in one write and return its replies, each of its form, in order: one round trip.

        The eviction policy is read last in the same round trip. Each thread keeps a connection; one that turns out to
        be dead (Redis was restarted) or silent is replaced and the question put once more (``redis_kept``). Without a
        ``deadline``, the time for commands off the dial path holds. Raises ``LookupTimedOut``, ``ListsEvicted`` or
        ``LookupUnavailable``.
        """
        try:
            with _translated(self._name):
                return self._kept.ask(question, deadline or Deadline.after_ms(self._command_timeout_ms))
        except LookupUnavailable as error:
            self._watch.redis_failed(error)
            raise

    def stream_read(self, batches: Iterable[tuple[bytes, int]]) -> Iterator[list[Any]]:
        """Send ``batches`` of reading commands, each as Redis wants it with how many they are; yield the replies.

        The form of a reply is for the caller to check, and the policy to be read by ``ask`` afterwards. A batch is
        under way while the replies before it are read, so that both sides have work. For each batch Redis has the time
        for commands off the dial path. Raises ``LookupTimedOut`` or ``LookupUnavailable``.
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

    def _connected_for_lookups(self, deadline: Deadline) -> Any:
        fresh = self._connected(deadline)
        self._watch.redis_connected()
        return fresh

    def _fell_silent(self) -> None:
        self._watch.redis_fell_silent()
        self._pool.disconnect(inuse_connections=False)

    def _connected(self, deadline: Deadline) -> Any:
        """A new connection outside the pool, which would run out of them as threads come and go."""
        fresh: Any = self._pool.connection_class(**self._pool.connection_kwargs)
        # A Redis that is stopped in mid-air still accepts connections: its silence must not outlast the deadline.
        fresh.socket_timeout = max(deadline.remaining_s(), 0.001)
        fresh.socket_connect_timeout = min(self._connect_timeout_ms / 1000, fresh.socket_timeout)
        fresh.connect()
        return fresh

    def require_no_eviction(self, deadline: Deadline | None = None) -> None:
        """Raise ``ListsEvicted`` when Redis evicts our keys once its memory is full."""
        self.ask(_ANYTHING, deadline)

    def used_bytes(self, deadline: Deadline) -> int:
        """The memory that Redis uses. Raises ``LookupUnavailable``, also where it may throw numbers away."""
        (info,) = self.pipeline_read([_MEMORY], deadline)
        used = re.search(r"used_memory:(\d+)", info)
        return int(used[1]) if used is not None else 0

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

    @contextlib.contextmanager
    def commands(self) -> Iterator[Any]:
        """The redis-py client, with its errors translated."""
        if monotonic() - self._client_used_at > _IDLE_S:
            self._pool.disconnect(inuse_connections=False)
        self._client_used_at = monotonic()
        try:
            with _translated(self._name):
                yield self.client
        except LookupUnavailable as error:
            self._watch.redis_failed(error)
            raise

    def close(self) -> None:
        """Close this thread's and all pooled connections."""
        self._kept.close()
        self._pool.disconnect()


@contextlib.contextmanager
def _translated(name: str) -> Iterator[None]:
    """redis-py's errors, in the words of the domain."""
    try:
        yield
    except redis.TimeoutError as error:
        raise LookupTimedOut(f"Redis at {name} did not answer in time") from error
    except (redis.RedisError, OSError) as error:
        raise LookupUnavailable(f"Redis at {name} (redis.url) cannot be used: {error}") from error
    except UnicodeDecodeError as error:
        raise LookupUnavailable(NO_ANSWER) from error
