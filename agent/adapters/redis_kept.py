"""The connections that lookups keep, one a thread, and what is done about one that fell silent.

A firewall or a router forgets a connection that was idle, and then drops what is sent on it without a word. So when a
kept connection says nothing for a part of the time, the question is put once more on a fresh one. That must not double
the work of a Redis that is only slow. Therefore one lookup of this process at a time may ask twice, and all others go
on waiting. When the fresh connection has answered and the old one still has nothing to read, that was silence, for
Redis answers in the order in which it was asked. From then on nobody waits for a connection that was not heard of
since: it is replaced.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final

import redis

from agent.adapters.redis_commands import Reading
from agent.adapters.redis_eviction import CONFIG_POLICY, INFO_POLICY, refuse_eviction
from agent.domain.deadline import Deadline
from agent.domain.errors import LookupTimedOut, LookupUnavailable

_PATIENCE_S: Final = 0.1
_PATIENCE_SHARE: Final = 1 / 3
"""For how long a kept connection may say nothing: at most, and as a share of the time that there is."""
_SLICE_S: Final = 0.02
"""How often those who go on waiting look whether silence was proved."""
_IN_ORDER_S: Final = 0.01
"""Within which the older of two answers comes, should something on the way let the newer one pass."""
_LEAST_S: Final = 0.001


class _SaysNothingError(Exception):
    """The first reply has not come yet; the connection is as it was."""


class _PolicyUntoldError(Exception):
    """CONFIG is forbidden; the connection will ask in the other way, and must be asked again."""


@dataclass(slots=True, eq=False)
class Kept:
    """A connection of one thread. One that failed in any way is closed, and not used again."""

    connection: Any
    policy: Reading = CONFIG_POLICY
    """How it asks for the eviction policy."""
    heard_at: float = 0.0
    """When it last answered."""

    def send(self, reading: Reading) -> None:
        """One write, with the question for the policy at its end."""
        self.connection.send_packed_command([reading.packed + self.policy.packed], check_health=False)

    def receive(self, reading: Reading, deadline: Deadline, patience_s: float | None = None) -> list[Any]:
        """The replies, each of its form, once the policy was found harmless.

        Raises ``_SaysNothingError`` when not even the first one comes within ``patience_s``; then this can be called
        again. Raises ``_PolicyUntoldError`` when all must be sent again.
        """
        read, usable = self.connection.read_response, False
        try:
            try:
                wait_s = deadline.remaining_s() if patience_s is None else patience_s
                replies = [read(timeout=max(wait_s, _LEAST_S), disconnect_on_error=False)]
            except redis.TimeoutError as error:
                if patience_s is None:
                    raise
                usable = True
                raise _SaysNothingError from error
            replies += [read(timeout=max(deadline.remaining_s(), _LEAST_S)) for _ in reading.checks[1:]]
            try:
                policy = read(timeout=max(deadline.remaining_s(), _LEAST_S), disconnect_on_error=False)
            except redis.ResponseError as error:
                if self.policy is INFO_POLICY:
                    raise
                self.policy, usable = INFO_POLICY, True
                raise _PolicyUntoldError from error
            reading.checked(replies)
            self.policy.checked([policy])
            refuse_eviction(policy)
            self.heard_at, usable = monotonic(), True
            return replies
        except redis.TimeoutError as error:
            raise LookupTimedOut("Redis did not answer in time") from error
        except redis.ResponseError as error:
            raise LookupUnavailable(f"Redis answered: {error}") from error
        finally:
            if not usable:
                self.connection.disconnect()

    def has_something(self, wait_s: float) -> bool:
        """Whether there is something to read, be it the end of the connection, within ``wait_s``."""
        try:
            return bool(self.connection.can_read(wait_s))
        except redis.ConnectionError:
            return True


class KeptConnections:
    """Asks on a connection of the thread's own. Thread-safe.

    ``connect`` opens one by a deadline, and counts it; ``fell_silent`` is told when silence was proved.
    """

    def __init__(self, connect: Callable[[Deadline], Any], fell_silent: Callable[[], None]) -> None:
        self._connect = connect
        self._fell_silent = fell_silent
        self._local = threading.local()
        self._asking_twice = threading.Lock()
        self._silences = 0
        self._suspect_until = 0.0
        """Connections that were not heard of after this moment may be silent too."""

    def ask(self, reading: Reading, deadline: Deadline) -> list[Any]:
        """The replies to ``reading``, each of its form, with the policy of Redis read after all of them.

        ``reading`` must ask something. Raises ``LookupTimedOut``, ``ListsEvicted`` or ``LookupUnavailable``, and
        redis-py's errors for a connection that cannot be made or breaks.
        """
        kept: Kept | None = getattr(self._local, "kept", None)
        self._local.kept = None  # until it has answered
        if kept is not None and kept.heard_at > self._suspect_until:
            with contextlib.suppress(redis.ConnectionError):  # Redis was restarted
                return self._ask_kept(kept, reading, deadline)
        elif kept is not None:
            kept.connection.disconnect()
        return self._ask_afresh(reading, deadline)

    def close(self) -> None:
        """Close the connection of this thread."""
        kept: Kept | None = getattr(self._local, "kept", None)
        self._local.kept = None
        if kept is not None:
            kept.connection.disconnect()

    def _ask_afresh(self, reading: Reading, deadline: Deadline) -> list[Any]:
        fresh = Kept(self._connect(deadline))
        fresh.send(reading)
        return self._received(fresh, reading, deadline)

    def _ask_kept(self, kept: Kept, reading: Reading, deadline: Deadline) -> list[Any]:
        silences, sent_at = self._silences, monotonic()
        patience_s = min(_PATIENCE_S, deadline.remaining_s() * _PATIENCE_SHARE)
        kept.send(reading)
        with contextlib.suppress(_SaysNothingError):
            return self._received(kept, reading, deadline, patience_s)
        while self._silences == silences:
            left_s = deadline.remaining_s()
            if left_s > patience_s and self._asking_twice.acquire(blocking=False):
                try:
                    return self._ask_twice(kept, reading, deadline, sent_at)
                finally:
                    self._asking_twice.release()
            if kept.has_something(min(_SLICE_S, left_s)) or not left_s:
                return self._received(kept, reading, deadline)
        kept.connection.disconnect()
        return self._ask_afresh(reading, deadline)

    def _ask_twice(self, kept: Kept, reading: Reading, deadline: Deadline, sent_at: float) -> list[Any]:
        try:
            replies = self._ask_afresh(reading, deadline)
            if not kept.has_something(_IN_ORDER_S):
                self._suspect_until = sent_at
                self._silences += 1
                self._fell_silent()
            return replies
        finally:
            kept.connection.disconnect()

    def _received(self, kept: Kept, reading: Reading, deadline: Deadline, patience_s: float | None = None) -> list[Any]:
        try:
            replies = kept.receive(reading, deadline, patience_s)
        except _PolicyUntoldError:
            kept.send(reading)
            replies = kept.receive(reading, deadline)
        self._local.kept = kept
        return replies
