"""The lists in Redis as the outbox changes them: one transaction for each batch of journal records."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import redis

from agent.adapters import redis_keys
from agent.adapters.redis_connection import RedisServer
from agent.adapters.redis_generation_sets import is_still_whole
from agent.adapters.redis_values import mark_from_text, mark_to_text, pointer_from_text, pointer_to_text
from agent.domain.deadline import Deadline
from agent.domain.errors import JournalUnavailable, ListsDamaged, ListsEvicted
from agent.domain.journal_events import EventType, Mark, Record
from agent.domain.phone_number import PhoneNumber
from agent.domain.standing import Standing

_SCAN_COUNT: Final = 2_000


class RedisListChanges:
    """See ``agent.domain.ports.ListChanges``. ``mark_of`` asks the journal for a record's mark. Thread-safe."""

    def __init__(self, server: RedisServer, journal_id: str, mark_of: Callable[[int], Mark | None]) -> None:
        self._server = server
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
            pointers = {profile: self._pointer(profile, records, client, pipe) for profile in profiles}
            pipe.multi()
            for record in records:
                try:
                    _apply(pipe, record)
                except KeyError as error:
                    raise JournalUnavailable(f"record {record.seq} was altered: it has no {error}") from error
            for digits, standing in standings.items():
                _write_standing(pipe, PhoneNumber(digits=digits.removeprefix("+")), standing)
            for profile, pointer in pointers.items():
                if pointer is None:
                    pipe.delete(redis_keys.current(profile))
                else:
                    pipe.set(redis_keys.current(profile), pointer)
            pipe.set(redis_keys.APPLIED, mark_to_text(upto))
            try:
                pipe.execute()
            except redis.WatchError:
                return False
        return True

    def restart(self, after: Mark | None) -> None:
        """See ``agent.domain.ports.ListChanges``."""
        with self._server.commands() as client, client.pipeline(transaction=True) as pipe:
            pipe.watch(redis_keys.APPLIED)
            if pipe.get(redis_keys.APPLIED) != (mark_to_text(after) if after is not None else None):
                return
            self._begin(client, pipe, registers=after is None)
            with contextlib.suppress(redis.WatchError):  # someone else was first
                pipe.execute()

    def reset(self, *, take_over: bool) -> None:
        """See ``agent.domain.ports.ListChanges``."""
        if not take_over:
            with contextlib.suppress(ListsDamaged):
                self.applied()
        with self._server.commands() as client, client.pipeline(transaction=True) as pipe:
            self._begin(client, pipe, registers=True)
            pipe.execute()

    def _begin(self, client: Any, pipe: Any, *, registers: bool) -> None:
        """Queue the way back to the beginning: customers go, and ``registers`` are no longer in force.

        What Redis lost is not known, so every load has to be counted again.
        """
        gone = list(client.scan_iter(match=redis_keys.customer_sets_pattern(), count=_SCAN_COUNT))
        if registers:
            gone += client.scan_iter(match=redis_keys.currents_pattern(), count=_SCAN_COUNT)
        pipe.multi()
        for key in gone:
            pipe.unlink(key)
        pipe.incr(redis_keys.DOUBTS)
        pipe.set(redis_keys.APPLIED, mark_to_text(Mark(journal=self._journal_id, seq=0, link="")))

    def _pointer(self, profile: str, records: Sequence[Record], client: Any, pipe: Any) -> str | None:
        """What the pointer of ``profile`` is after ``records``; None for no generation in force.

        A generation that Redis lost, or lost a part of, is not replaced by an older one that it still has: then no
        register is in force, which blocks, and loudly. A newer load stays in force of which a journal that was restored
        from a backup knows nothing.
        """
        last = [record for record in records if "generation" in record.body and record.body["profile"] == profile][-1]
        pointer: str | None = pipe.get(redis_keys.current(profile))
        if pointer is not None:
            by, since = pointer_from_text(pointer, self._journal_id)
            if since > last.at and (by is None or self._mark_of(by.seq) != by):
                return pointer
        generation, mark = str(last.body["generation"]), self._mark_of(last.seq)
        text = pipe.hget(redis_keys.generations(profile), generation)
        return pointer_to_text(text, mark, last.at) if mark and is_still_whole(client, text, generation) else None


def _apply(pipe: Any, record: Record) -> None:
    """Queue what one record changes. Applying a record twice changes nothing more."""
    body = record.body
    match record.type:
        case EventType.OPTOUT_ADDED:
            number = _number(record)
            pipe.sadd(redis_keys.optout_set(number.prefix, str(body["seller"])), number.suffix)
        case EventType.OPTOUT_REMOVED | EventType.CHOICE_RECORDED | EventType.CHOICE_UNDONE:
            return  # ``_write_standing`` will see to it
        case EventType.CUSTOMER_ADDED | EventType.CUSTOMER_REMOVED:
            number = _number(record)
            key = redis_keys.customer_set(number.prefix, str(body["seller"]), str(body["product_group"]))
            change = pipe.sadd if record.type is EventType.CUSTOMER_ADDED else pipe.srem
            change(key, number.suffix)
        case EventType.REGISTER_LOADED | EventType.REGISTER_ROLLED_BACK:
            return  # ``_pointer`` has seen to it
        case _:
            raise ValueError(f"{record.type} changes no list")


def _write_standing(pipe: Any, number: PhoneNumber, standing: Standing) -> None:
    """Queue what a number's own records add up to."""
    for seller, objection in standing.optouts.items():
        change = pipe.srem if objection is None else pipe.sadd
        change(redis_keys.optout_set(number.prefix, seller), number.suffix)
    for (profile, blocked), registered in standing.registrations.items():
        change = pipe.sadd if registered else pipe.srem
        change(redis_keys.own_set(number.prefix, profile, blocked), number.suffix)


def _number(record: Record) -> PhoneNumber:
    return PhoneNumber(digits=str(record.body["number"]).lstrip("+"))
