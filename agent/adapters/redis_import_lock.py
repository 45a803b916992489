"""A right that one process has at a time, and loses when it does not renew it: to change the loads of a profile."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
from collections.abc import Callable
from time import monotonic, sleep
from typing import Any, Final, Self

import redis

from agent.adapters.redis_connection import RedisServer
from agent.domain.errors import ImportUnderWay, LookupUnavailable

_LOCK_MS: Final = 60_000
_WAIT_S: Final = 1.0
_POLL_S: Final = 0.05


class ImportLock:
    """A context manager. A lock whose process died on this host is taken over at once.

    Everything that hangs on it is done in transactions that Redis refuses when the lock has changed hands meanwhile.
    """

    def __init__(self, server: RedisServer, key: str) -> None:
        self._server = server
        self.key = key
        self.owner = f"{socket.gethostname()} {os.getpid()} {secrets.token_hex(8)}"

    def __enter__(self) -> Self:
        """Wait a moment for one that holds it just shortly. Raises ``ImportUnderWay`` when another process keeps it."""
        until = monotonic() + _WAIT_S
        while True:
            try:
                self._take()
            except ImportUnderWay:
                if monotonic() >= until:
                    raise
                sleep(_POLL_S)
            else:
                return self

    def _take(self) -> None:
        with self._server.commands() as client, client.pipeline(transaction=True) as pipe:
            pipe.watch(self.key)
            holder: str | None = pipe.get(self.key)
            if holder is not None and not _is_dead(holder):
                host, pid, _ = holder.split(" ")
                raise ImportUnderWay(
                    f"another import or rollback is under way (process {pid} on {host}): wait for it to end"
                )
            pipe.multi()
            pipe.set(self.key, self.owner, px=_LOCK_MS)
            try:
                pipe.execute()
            except redis.WatchError as error:
                raise ImportUnderWay("another import or rollback has just begun: wait for it to end") from error

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(LookupUnavailable):  # lost already, or it ends by itself
            self.change(lambda pipe: pipe.delete(self.key))

    def renew(self) -> None:
        """Raise ``LookupUnavailable`` when the lock was lost, so that two loads never write side by side."""
        self.change(lambda pipe: pipe.pexpire(self.key, _LOCK_MS))

    def change(self, queue: Callable[[Any], object]) -> None:
        """Run what ``queue`` puts on a pipeline as one transaction, if the lock is ours; raise as ``renew``."""
        with self._server.commands() as client, client.pipeline(transaction=True) as pipe:
            pipe.watch(self.key)
            if pipe.get(self.key) == self.owner:
                pipe.multi()
                queue(pipe)
                with contextlib.suppress(redis.WatchError):
                    pipe.execute()
                    return
        raise LookupUnavailable("the import's lock in Redis was lost: nothing was put in force, start again")


def _is_dead(holder: str) -> bool:
    """Whether nobody can hold the lock any more. What this system did not write counts as nobody."""
    try:
        host, pid, _ = holder.split(" ")
        if host == socket.gethostname():
            os.kill(int(pid), 0)
    except (ProcessLookupError, ValueError):
        return True
    except PermissionError:
        return False
    return False
