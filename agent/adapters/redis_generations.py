"""Loads of the register in Redis: written beside the one in force, kept for rollback, freed when old."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final, TypeVar

import redis

from agent.adapters import redis_keys
from agent.adapters.redis_connection import RedisServer
from agent.adapters.redis_generation_sets import (
    free,
    is_whole,
    memory_used,
    set_sizes,
    witness,
    write_register_roster,
)
from agent.adapters.redis_import_lock import ImportLock
from agent.adapters.redis_values import generation_from_text, generation_to_text
from agent.domain.deadline import Deadline
from agent.domain.errors import InputRejected, LookupUnavailable
from agent.domain.model import Blocked, Generation
from agent.domain.ports import Derived, GenerationChanges, Numbers, Progress

_Written = TypeVar("_Written")
_BATCH_MEMBERS: Final = 50_000


class RedisGenerations:
    """See ``agent.domain.ports.Generations``."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server

    def current(self, profile: str, deadline: Deadline | None = None) -> Generation | None:
        """The generation in force."""
        (pointer,) = self._server.pipeline_read([("GET", redis_keys.current(profile))], deadline)
        return None if pointer is None else generation_from_text(pointer)

    def kept(self, profile: str, deadline: Deadline | None = None) -> tuple[Generation, ...]:
        """Every complete generation, oldest load first."""
        (texts,) = self._server.pipeline_read([("HVALS", redis_keys.generations(profile))], deadline)
        return tuple(sorted((generation_from_text(text) for text in texts), key=lambda item: item.loaded_at))

    def is_whole(self, profile: str, generation: str) -> bool:
        """See ``agent.domain.ports.Generations``."""
        (text,) = self._server.pipeline_read([("HGET", redis_keys.generations(profile), generation)])
        return is_whole(self._server, text, generation)

    def memory(self, generation: str) -> int | None:
        """See ``agent.domain.ports.Generations``."""
        with self._server.commands() as client:
            try:
                return memory_used(client, generation)
            except redis.ResponseError:  # MEMORY is forbidden: a managed server, or an ACL
                return None

    def free(self, profile: str, retired: Collection[str]) -> None:
        """See ``agent.domain.ports.Generations``."""
        with self._server.commands() as client:
            for generation in retired:
                free(client, profile, generation)

    @contextlib.contextmanager
    def changing(self, profile: str) -> Iterator[GenerationChanges]:
        """See ``agent.domain.ports.Generations``."""
        with ImportLock(self._server, redis_keys.import_lock(profile)) as lock:
            yield _Changes(self._server, profile, lock)

    @contextlib.contextmanager
    def repairing(self, profile: str) -> Iterator[Callable[[], None]]:
        """See ``agent.domain.ports.Generations``."""
        with ImportLock(self._server, redis_keys.repair_lock(profile)) as lock:
            yield lock.renew


class _Changes:
    """See ``agent.domain.ports.GenerationChanges``."""

    def __init__(self, server: RedisServer, profile: str, lock: ImportLock) -> None:
        self._server = server
        self._profile = profile
        self._lock = lock

    def renew(self) -> None:
        """See ``agent.domain.ports.GenerationChanges``."""
        self._lock.renew()

    def load(self, generation: Generation, lists: Mapping[Blocked, Numbers], progress: Progress) -> None:
        """See ``agent.domain.ports.GenerationChanges``."""
        self._writing(generation.id, lambda client: self._write(client, generation, lists, progress))

    def _writing(self, generation: str, write: Callable[[Any], _Written]) -> _Written:
        """Do ``write`` with the sets of ``generation`` marked as litter, which they are until it is complete."""
        loading = redis_keys.loading(self._profile)
        self._server.require_no_eviction()
        with self._server.commands() as client:
            for litter in client.hkeys(loading):  # the lock is ours, so nobody is at work on it
                free(client, self._profile, litter)
            self._lock.change(lambda pipe: pipe.hset(loading, generation, self._lock.owner))
            try:
                return write(client)
            except BaseException:
                with contextlib.suppress(redis.RedisError):  # else the next load clears up
                    free(client, self._profile, generation)
                raise

    def _write(self, client: Any, generation: Generation, lists: Mapping[Blocked, Numbers], progress: Progress) -> None:
        """Write all sets, then list the generation as complete."""
        from agent.adapters.redis_set_commands import (  # takes long, and only loads need it
            PipelinedWriter,
            set_commands,
            set_sizes_of,
        )

        total = sum(len(numbers) for numbers in lists.values())
        written = renewed = 0
        known = witness(client)
        _pack_sets(client)
        with PipelinedWriter(client) as writer:
            for command in set_commands("SADD", generation.id, lists):
                written += sum(writer.send(command))
                if writer.sent - renewed >= _BATCH_MEMBERS:
                    self._lock.renew()
                    renewed = writer.sent
                    progress("loading", writer.sent, total)
            written += sum(writer.finish())
        self._lock.renew()
        progress("loading", total, total)
        if written != total:
            raise LookupUnavailable(f"Redis took {written} of {total} entries: the load was not put in force")
        rostered = write_register_roster(client, generation.id, set_sizes_of(generation.id, lists))
        self._list_as_complete(generation, total, known, rostered)

    def derive(
        self,
        generation: Generation,
        base: Generation,
        added: Mapping[Blocked, Numbers],
        removed: Numbers,
        progress: Progress,
    ) -> Derived:
        """See ``agent.domain.ports.GenerationChanges``."""
        from agent.adapters.redis_derived_sets import copy_changed  # as above

        def write(client: Any) -> Derived:
            known = witness(client)
            text = client.hget(redis_keys.generations(self._profile), base.id)
            if not is_whole(self._server, text, base.id):
                raise LookupUnavailable(f"Redis lost a part of {base.id}: run bmn rebuild, and load the changes then")
            sizes = set_sizes(client, redis_keys.register_sets_pattern(base.id))
            _pack_sets(client)
            difference = copy_changed(client, base.id, generation.id, sizes, added, removed, self._lock.renew, progress)
            after = set_sizes(client, redis_keys.register_sets_pattern(generation.id))
            counts: Counter[Blocked] = Counter()
            for key, size in after.items():
                counts[Blocked(key.rsplit(":", 1)[1])] += size
            if counts.total() != sum(sizes.values()) + difference.entries:
                raise LookupUnavailable("Redis did not take all changes: the load was not put in force")
            if counts.total() == 0:
                raise InputRejected("these changes take every number out: an empty register is never put in force")
            derived = replace(generation, count=base.count + difference.numbers)
            rostered = write_register_roster(client, generation.id, after)
            self._list_as_complete(derived, counts.total(), known, rostered)
            return Derived(generation=derived, counts=dict(counts), absent=difference.absent)

        return self._writing(generation.id, write)

    def _list_as_complete(self, generation: Generation, entries: int, known: str | None, rostered: int) -> None:
        text = generation_to_text(generation, entries, known, rostered)

        def queue(pipe: Any) -> None:
            pipe.hset(redis_keys.generations(self._profile), generation.id, text)
            pipe.hdel(redis_keys.loading(self._profile), generation.id)

        self._lock.change(queue)

    def retire(self, keep: Collection[str]) -> tuple[str, ...]:
        """See ``agent.domain.ports.GenerationChanges``."""
        with self._server.commands() as client:
            listed: list[str] = client.hkeys(redis_keys.generations(self._profile))
            return tuple(item for item in listed if item not in keep and self._retire(client, item))

    def _retire(self, client: Any, generation: str) -> bool:
        """Make a complete generation litter, which nobody can put in force; False when it has to stay."""
        current, generations = redis_keys.current(self._profile), redis_keys.generations(self._profile)
        while True:
            with client.pipeline(transaction=True) as pipe:
                pipe.watch(self._lock.key, current, generations)
                pointer = pipe.get(current)
                in_force = pointer is not None and generation_from_text(pointer).id == generation
                if in_force or pipe.get(self._lock.key) != self._lock.owner:
                    return False
                pipe.multi()
                pipe.hdel(generations, generation)
                pipe.hset(redis_keys.loading(self._profile), generation, self._lock.owner)
                with contextlib.suppress(redis.WatchError):
                    pipe.execute()
                    return True


def _pack_sets(client: Any) -> None:
    """Have Redis keep our sets packed, where it lets us; where it does not, the load only takes more memory."""
    setting = "set-max-intset-entries"
    try:
        if int(client.config_get(setting)[setting]) < redis_keys.PACKED_MEMBERS:
            client.config_set(setting, redis_keys.PACKED_MEMBERS)
    except (redis.ResponseError, KeyError):  # CONFIG is forbidden: a managed server, or an ACL
        return
