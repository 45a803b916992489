"""The lists in Redis as the outbox changes them: one transaction for each batch of journal records."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import redis

from agent.adapters import redis_keys
from agent.adapters.redis_connection import RedisServer
from agent.adapters.redis_generation_sets import cast_doubt, is_still_whole, set_sizes, with_its_roster
from agent.adapters.redis_losses import RedisLosses
from agent.adapters.redis_rosters import rosters_by_prefix, write_roster
from agent.adapters.redis_set_changes import SetChanges
from agent.adapters.redis_values import mark_from_text, mark_to_text, pointer_from_text, pointer_to_text
from agent.domain.condition import Loss
from agent.domain.deadline import Deadline
from agent.domain.errors import ListsDamaged, ListsEvicted, ListsForeign
from agent.domain.journal_events import Mark, Record
from agent.domain.standing import Standing


class RedisListChanges:
    """See ``agent.domain.ports.ListChanges``. ``mark_of`` asks the journal for a record's mark. Thread-safe."""

    def __init__(
        self, server: RedisServer, journal_id: str, mark_of: Callable[[int], Mark | None], losses: RedisLosses
    ) -> None:
        self._server = server
        self._losses = losses
        self._journal_id = journal_id
        self._mark_of = mark_of

    def applied(self, deadline: Deadline | None = None) -> Mark | None:
        """See ``agent.domain.ports.ListChanges``."""
        (text,) = self._server.pipeline_read([("GET", redis_keys.APPLIED)], deadline)
        return mark_from_text(text, self._journal_id)

    def require_no_eviction(self) -> None:
        """See ``agent.domain.ports.ListChanges``."""
        try:
            self._server.require_no_eviction()
        except ListsEvicted:
            with self._server.commands() as client:
                if mark_from_text(client.get(redis_keys.APPLIED), self._journal_id) is not None:
                    client.delete(redis_keys.APPLIED)
            raise

    def settle_losses(self) -> None:
        """See ``agent.domain.ports.ListChanges``."""
        self._losses.settle()

    def apply(self, records: Sequence[Record], after: Mark, upto: Mark, standings: Mapping[str, Standing]) -> bool:
        """See ``agent.domain.ports.ListChanges``."""
        profiles = sorted({str(record.body["profile"]) for record in records if "generation" in record.body})
        watched = [redis_keys.APPLIED]
        for profile in profiles:
            watched += [redis_keys.generations(profile), redis_keys.current(profile)]
        with self._server.commands() as client, client.pipeline(transaction=True) as pipe:
            pipe.watch(*watched)
            if pipe.get(redis_keys.APPLIED) != mark_to_text(after):
                return False
            changes = SetChanges(records, standings)
            if not changes.read(self._server):
                self._give_up(pipe)
                return False
            pointers = {profile: self._pointer(profile, records, pipe) for profile in profiles}
            pipe.multi()
            changes.queue(pipe)
            for profile, pointer in pointers.items():
                pointer.queue(pipe, profile)
            pipe.set(redis_keys.APPLIED, mark_to_text(upto))
            try:
                pipe.execute()
            except redis.WatchError:
                return False
        return True

    def _give_up(self, pipe: Any) -> None:
        """Believe the lists no more, unless they were just being changed."""
        pipe.multi()
        pipe.delete(redis_keys.APPLIED)
        cast_doubt(pipe)
        with contextlib.suppress(redis.WatchError):
            pipe.execute()
            self._losses.found(Loss.LISTS)

    def inherited(self) -> int:
        """See ``agent.domain.ports.ListChanges``."""
        (text,) = self._server.pipeline_read([("GET", redis_keys.INHERITED)])
        mark = mark_from_text(text, self._journal_id)
        return 0 if mark is None else mark.seq

    def restart(self, after: Mark | None, head: Mark) -> None:
        """See ``agent.domain.ports.ListChanges``."""
        with self._server.commands() as client, client.pipeline(transaction=True) as pipe:
            pipe.watch(redis_keys.APPLIED)
            if pipe.get(redis_keys.APPLIED) != (mark_to_text(after) if after is not None else None):
                return
            inherits = after is not None or self._is_strange(redis_keys.INHERITED)
            self._begin(client, pipe, head if inherits else None, registers=after is None)
            with contextlib.suppress(redis.WatchError):  # someone else was first
                pipe.execute()

    def reset(self, head: Mark, *, take_over: bool) -> None:
        """See ``agent.domain.ports.ListChanges``."""
        if not take_over:
            with contextlib.suppress(ListsDamaged):
                self.applied()
        with self._server.commands() as client:
            if self._is_strange(redis_keys.APPLIED):
                client.set(redis_keys.INHERITED, mark_to_text(head))
            client.delete(redis_keys.APPLIED)
        self.restart(None, head)

    def _is_strange(self, key: str) -> bool:
        """Whether a mark is none that our journal knows: then the lists were made by another one, or by more of it."""
        (text,) = self._server.pipeline_read([("GET", key)])
        try:
            mark = mark_from_text(text, self._journal_id)
        except (ListsDamaged, ListsForeign):
            return True
        return mark is not None and self._mark_of(mark.seq) != mark

    def _begin(self, client: Any, pipe: Any, inherited: Mark | None, *, registers: bool) -> None:
        """Queue the way back to the beginning: customers go, and ``registers`` are no longer in force.

        ``inherited`` is the end of a journal that knows less than the lists; else None.

        What Redis lost is not known, so every load has to be counted again, and the roster begins with the sets that
        there are. While they are counted nobody applies anything, for nobody knows where to begin.
        """
        sizes = set_sizes(client, redis_keys.list_sets_pattern())
        customers = [key for key in sizes if redis_keys.prefix_and_name(key)[1].startswith(redis_keys.CUSTOMERS)]
        gone = [*customers, *(client.scan_iter(match=redis_keys.currents_pattern()) if registers else ())]
        pipe.multi()
        for key in gone:
            sizes.pop(key, None)
            pipe.unlink(key)
        write_roster(pipe, redis_keys.LISTS_ROSTER, rosters_by_prefix(sizes))
        cast_doubt(pipe)
        if inherited is not None:
            pipe.set(redis_keys.INHERITED, mark_to_text(inherited))
        pipe.set(redis_keys.APPLIED, mark_to_text(Mark(journal=self._journal_id, seq=0, link="")))

    def _pointer(self, profile: str, records: Sequence[Record], pipe: Any) -> _Pointer:
        """What the pointer of ``profile`` is after ``records``.

        A generation that Redis lost, or lost a part of, is not replaced by an older one that it still has: then no
        register is in force, which blocks, and loudly. A newer load stays in force of which a journal that was restored
        from a backup knows nothing.
        """
        last = [record for record in records if "generation" in record.body and record.body["profile"] == profile][-1]
        pointer: str | None = pipe.get(redis_keys.current(profile))
        if pointer is not None:
            by, since = pointer_from_text(pointer, self._journal_id)
            if since > last.at and (by is None or self._mark_of(by.seq) != by):
                return _Pointer(text=pointer)
        generation, mark = str(last.body["generation"]), self._mark_of(last.seq)
        text = pipe.hget(redis_keys.generations(profile), generation)
        if mark is None or not is_still_whole(self._server, text, generation):
            return _Pointer(text=None)
        known = with_its_roster(self._server, text, generation)
        listed = known if known != text else ""
        return _Pointer(text=pointer_to_text(known, mark, last.at), generation=generation, listed=listed)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pointer:
    """The pointer of a profile as it is to be; ``text`` is None for no generation in force."""

    text: str | None
    generation: str = ""
    listed: str = ""
    """The generation itself, when it was given a roster; else empty."""

    def queue(self, pipe: Any, profile: str) -> None:
        if self.text is None:
            pipe.delete(redis_keys.current(profile))
        else:
            pipe.set(redis_keys.current(profile), self.text)
        if self.listed:
            pipe.hset(redis_keys.generations(profile), self.generation, self.listed)
