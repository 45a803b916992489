"""Loads of the register in Redis: written beside the one in force, kept for rollback, freed when old."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, Final

import redis

from agent.adapters import redis_keys
from agent.adapters.redis_connection import RedisServer
from agent.adapters.redis_values import generation_from_text, generation_to_text
from agent.domain.deadline import Deadline
from agent.domain.errors import InputRejected, LookupUnavailable
from agent.domain.model import Blocked, Generation
from agent.domain.phone_number import SUFFIX_DIGITS
from agent.domain.ports import Progress

_SPAN: Final = 10**SUFFIX_DIGITS
_BATCH_MEMBERS: Final = 50_000
_LOCK_MS: Final = 60_000
_SCAN_COUNT: Final = 2_000
_MEMBERS: Final = [b"%d" % suffix for suffix in range(_SPAN)]


class RedisGenerations:
    """See ``agent.domain.ports.Generations``."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server

    def current(self, profile: str, deadline: Deadline | None = None) -> Generation | None:
        """The generation in force."""
        (pointer,) = self._server.pipeline_read([("GET", redis_keys.current(profile))], deadline)
        return generation_from_text(pointer) if pointer else None

    def kept(self, profile: str, deadline: Deadline | None = None) -> tuple[Generation, ...]:
        """Every complete generation, oldest load first."""
        (texts,) = self._server.pipeline_read([("HVALS", redis_keys.generations(profile))], deadline)
        return tuple(sorted((generation_from_text(text) for text in texts), key=lambda item: item.loaded_at))

    def load(self, generation: Generation, lists: Mapping[Blocked, Sequence[int]], progress: Progress) -> None:
        """Write a complete generation without putting it in force; see ``agent.domain.ports.Generations``."""
        profile, total = generation.profile, sum(len(numbers) for numbers in lists.values())
        self._server.require_no_eviction()
        with self._server.commands() as client, _ImportLock(client, profile) as lock:
            self._clear_litter(client, profile)
            client.hset(redis_keys.loading(profile), generation.id, lock.owner)
            try:
                self._write(client, generation, lists, total, lock, progress)
            except BaseException:
                with contextlib.suppress(redis.RedisError):  # else the next load clears up
                    self._clear_litter(client, profile)
                raise

    def _write(
        self,
        client: Any,
        generation: Generation,
        lists: Mapping[Blocked, Sequence[int]],
        total: int,
        lock: _ImportLock,
        progress: Progress,
    ) -> None:
        """Write all sets, then list the generation as complete."""
        profile = generation.profile
        _pack_sets(client)
        written = 0
        connection: Any = client.connection_pool.get_connection()
        try:
            for commands in _batches(generation.id, lists):
                connection.send_packed_command(connection.pack_commands(commands))
                written += sum(connection.read_response() for _ in commands)
                lock.renew()
                progress("loading", written, total)
        finally:
            client.connection_pool.release(connection)
        if written != total:
            raise LookupUnavailable(f"Redis took {written} of {total} entries: the load was not put in force")
        with client.pipeline(transaction=True) as pipe:
            pipe.hset(redis_keys.generations(profile), generation.id, generation_to_text(generation, total))
            pipe.hdel(redis_keys.loading(profile), generation.id)
            pipe.execute()

    def discard(self, profile: str, keep: int) -> tuple[str, ...]:
        """Free all but the ``keep`` newest generations and the one in force; returns the ids of what went."""
        current = self.current(profile)
        old = [item.id for item in self.kept(profile)[:-keep] if current is None or item.id != current.id]
        with self._server.commands() as client:
            for generation in old:
                client.hdel(redis_keys.generations(profile), generation)
                _unlink(client, generation)
        return tuple(old)

    def _clear_litter(self, client: Any, profile: str) -> None:
        """Remove what loads left behind that never completed; the lock is ours, so none of them still runs."""
        for generation in client.hkeys(redis_keys.loading(profile)):
            _unlink(client, generation)
            client.hdel(redis_keys.loading(profile), generation)


def _batches(generation: str, lists: Mapping[Blocked, Sequence[int]]) -> Iterator[list[tuple[Any, ...]]]:
    """SADD commands in groups of about ``_BATCH_MEMBERS`` members."""
    batch: list[tuple[Any, ...]] = []
    members = 0
    for blocked, numbers in lists.items():
        for prefix, suffixes in _by_prefix(numbers):
            batch.append(("SADD", redis_keys.register_set(prefix, generation, blocked), *suffixes))
            members += len(suffixes)
            if members >= _BATCH_MEMBERS:
                yield batch
                batch, members = [], 0
    if batch:
        yield batch


def _by_prefix(numbers: Iterable[int]) -> Iterator[tuple[str, list[bytes]]]:
    for prefix, group in groupby(numbers, key=lambda number: number // _SPAN):
        start = prefix * _SPAN
        yield str(prefix), [_MEMBERS[number - start] for number in group]


def count_entries(client: Any, generation: str) -> int:
    """The members of every set of a generation together, as Redis holds them."""
    keys = client.scan_iter(match=redis_keys.register_sets_pattern(generation), count=_SCAN_COUNT)
    with client.pipeline(transaction=False) as pipe:
        for key in set(keys):  # SCAN may name a key twice
            pipe.scard(key)
        return sum(pipe.execute())


def _unlink(client: Any, generation: str) -> None:
    """Free every set of a generation, in the background of Redis."""
    batch: list[str] = []
    for key in client.scan_iter(match=redis_keys.register_sets_pattern(generation), count=_SCAN_COUNT):
        batch.append(key)
        if len(batch) >= _SCAN_COUNT:
            client.unlink(*batch)
            batch.clear()
    if batch:
        client.unlink(*batch)


def _pack_sets(client: Any) -> None:
    """Have Redis keep our sets packed, where it lets us; where it does not, the load only takes more memory."""
    setting = "set-max-intset-entries"
    try:
        if int(client.config_get(setting)[setting]) < redis_keys.PACKED_MEMBERS:
            client.config_set(setting, redis_keys.PACKED_MEMBERS)
    except (redis.ResponseError, KeyError):  # CONFIG is forbidden: a managed server, or an ACL
        return


class _ImportLock:
    """Only one load of a profile at a time. A lock whose process died on this host is taken over at once."""

    def __init__(self, client: Any, profile: str) -> None:
        self._client = client
        self._key = redis_keys.import_lock(profile)
        self.owner = f"{socket.gethostname()} {os.getpid()} {secrets.token_hex(8)}"

    def __enter__(self) -> _ImportLock:
        holder = self._client.get(self._key)
        if holder is not None and _is_dead(holder):
            self._client.delete(self._key)
        if not self._client.set(self._key, self.owner, nx=True, px=_LOCK_MS):
            host, pid, _ = (self._client.get(self._key) or "? ? ?").split(" ")
            raise InputRejected(f"another import is under way (process {pid} on {host}): wait for it to end")
        return self

    def renew(self) -> None:
        """Raises ``LookupUnavailable`` when the lock was lost, so that two loads never write side by side."""
        if self._client.get(self._key) != self.owner or not self._client.pexpire(self._key, _LOCK_MS):
            raise LookupUnavailable("the import's lock in Redis was lost: nothing was put in force, start again")

    def __exit__(self, *_: object) -> None:
        if self._client.get(self._key) == self.owner:
            self._client.delete(self._key)


def _is_dead(holder: str) -> bool:
    host, pid, _ = holder.split(" ")
    if host != socket.gethostname():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
