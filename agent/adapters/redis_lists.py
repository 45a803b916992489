"""The lists in Redis: one round trip to read them for a call, one transaction to change them from the journal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import redis

from agent.adapters import redis_keys
from agent.adapters.generation_json import generation_from_json, in_force_since, pointer_to_json
from agent.adapters.redis_connection import RedisServer
from agent.domain.deadline import Deadline
from agent.domain.errors import ListsBehind, LookupUnavailable
from agent.domain.journal_events import EventType, Record
from agent.domain.model import Blocked, Campaign, Facts, Generation
from agent.domain.phone_number import PhoneNumber
from agent.domain.standing import Standing

_SWITCHES_FOLLOWED: Final = 3


class RedisLists:
    """Reads facts, applies changes. Thread-safe."""

    def __init__(self, server: RedisServer, journal_id: str) -> None:
        self._server = server
        self._applied_key = redis_keys.applied(journal_id)
        self._known: dict[str, tuple[str, Generation]] = {}

    # --- reading

    def facts(self, number: PhoneNumber, campaign: Campaign, applied: int, deadline: Deadline) -> Facts:
        """See ``agent.domain.ports.Lists``.

        The order of the commands is what makes the answer sound without a transaction. ``applied`` is read first:
        whatever it vouches for is in the sets read after it. The pointer is read last: a generation that is still in
        force then was complete all the while, for sets of a generation never change, and are freed only after it was
        replaced. When the pointer has moved since the last call, the lookup is made again for the new generation: a
        second round trip, once per thread pool and load.
        """
        for _ in range(_SWITCHES_FOLLOWED):
            known = self._known.get(campaign.profile)
            blocked = _relevant(campaign)
            replies = self._server.pipeline_read(
                self._questions(number, campaign, blocked, known[1].id if known else None), deadline
            )
            if int(replies[0] or 0) < applied:
                raise ListsBehind("Redis has not yet applied all that the journal holds")
            pointer: str | None = replies[-1]
            if pointer is not None and (known is None or pointer != known[0]):
                self._known[campaign.profile] = (pointer, _parse(pointer))
                continue
            if pointer is None:
                self._known.pop(campaign.profile, None)
            return _facts(replies, blocked, known[1] if known and pointer is not None else None)
        raise LookupUnavailable("the register's generation changes faster than it can be read")

    def _questions(
        self, number: PhoneNumber, campaign: Campaign, blocked: tuple[Blocked, ...], generation: str | None
    ) -> list[tuple[str | int, ...]]:
        """The commands of one lookup; ``_facts`` reads their replies by position."""
        prefix, member = number.prefix, number.suffix
        questions: list[tuple[str | int, ...]] = [
            ("GET", self._applied_key),
            ("SISMEMBER", redis_keys.optout_set(prefix, campaign.seller.key), member),
            ("SISMEMBER", redis_keys.customer_set(prefix, campaign.seller.key, campaign.product_group or ""), member),
        ]
        questions += [("SISMEMBER", redis_keys.own_set(prefix, campaign.profile, item), member) for item in blocked]
        if generation is not None:
            questions += [("SISMEMBER", redis_keys.register_set(prefix, generation, item), member) for item in blocked]
        questions.append(("GET", redis_keys.current(campaign.profile)))
        return questions

    # --- changing

    def applied(self) -> int:
        """See ``agent.domain.ports.ListChanges``."""
        with self._server.commands() as client:
            return _integer(client.get(self._applied_key))

    def apply(self, records: Sequence[Record], after: int, standings: Mapping[str, Standing]) -> bool:
        """See ``agent.domain.ports.ListChanges``."""
        profiles = sorted({str(record.body["profile"]) for record in records if "generation" in record.body})
        watched = [self._applied_key]
        for profile in profiles:
            watched += [redis_keys.generations(profile), redis_keys.current(profile)]
        with self._server.commands() as client, client.pipeline(transaction=True) as pipe:
            pipe.watch(*watched)
            if _integer(pipe.get(self._applied_key)) != after:
                return False
            pointers = [(redis_keys.current(profile), _pointer(profile, records, pipe)) for profile in profiles]
            pipe.multi()
            for record in records:
                _apply(pipe, record)
            for digits, standing in standings.items():
                _stand(pipe, PhoneNumber(digits=digits.removeprefix("+")), standing)
            for key, pointer in pointers:
                if pointer is None:
                    pipe.delete(key)
                else:
                    pipe.set(key, pointer)
            pipe.set(self._applied_key, records[-1].seq)
            try:
                pipe.execute()
            except redis.WatchError:
                return False
        return True


def _relevant(campaign: Campaign) -> tuple[Blocked, ...]:
    """The lists of the register that can matter to a campaign."""
    sector = () if campaign.sector is None else (Blocked(campaign.sector),)
    return (Blocked.ALL, Blocked.ALL_EXCEPT_CHARITIES, *sector)


def _facts(replies: Sequence[Any], blocked: tuple[Blocked, ...], generation: Generation | None) -> Facts:
    own = replies[3 : 3 + len(blocked)]
    entry = replies[3 + len(blocked) : -1] if generation is not None else ()
    return Facts(
        generation=generation,
        register_entry=frozenset(item for item, listed in zip(blocked, entry, strict=False) if listed),
        own_registration=frozenset(item for item, listed in zip(blocked, own, strict=True) if listed),
        seller_optout=bool(replies[1]),
        customer=bool(replies[2]),
    )


def _pointer(profile: str, records: Sequence[Record], pipe: Any) -> str | None:
    """What the pointer of ``profile`` is after ``records``; None for no generation in force.

    A record from before the present pointer was set changes nothing: another host, with a journal of its own, may have
    put a newer load in force. A generation that Redis lost is not replaced by an older one that it still has: then no
    register is in force, which blocks, and loudly.
    """
    pointer: str | None = pipe.get(redis_keys.current(profile))
    loaded: dict[str, str] = pipe.hgetall(redis_keys.generations(profile))
    for record in records:
        if "generation" not in record.body or record.body["profile"] != profile:
            continue
        if pointer is None or in_force_since(pointer) <= record.at:
            generation = loaded.get(str(record.body["generation"]))
            pointer = pointer_to_json(generation, record.at) if generation is not None else None
    return pointer


def _apply(pipe: Any, record: Record) -> None:
    """Queue what one record changes. Applying a record twice changes nothing more."""
    body = record.body
    match record.type:
        case EventType.OPTOUT_ADDED:
            number = _number(record)
            pipe.sadd(redis_keys.optout_set(number.prefix, str(body["seller"])), number.suffix)
        case EventType.OPTOUT_REMOVED | EventType.CHOICE_RECORDED | EventType.CHOICE_UNDONE:
            return  # ``_stand`` will see to it
        case EventType.CUSTOMER_ADDED | EventType.CUSTOMER_REMOVED:
            number = _number(record)
            key = redis_keys.customer_set(number.prefix, str(body["seller"]), str(body["product_group"]))
            change = pipe.sadd if record.type is EventType.CUSTOMER_ADDED else pipe.srem
            change(key, number.suffix)
        case EventType.REGISTER_LOADED | EventType.REGISTER_ROLLED_BACK:
            return  # ``_pointer`` has seen to it
        case _:
            raise ValueError(f"{record.type} changes no list")


def _stand(pipe: Any, number: PhoneNumber, standing: Standing) -> None:
    """Queue what a number's own records add up to."""
    for seller, objected in standing.optouts.items():
        change = pipe.sadd if objected else pipe.srem
        change(redis_keys.optout_set(number.prefix, seller), number.suffix)
    for (profile, blocked), registered in standing.registrations.items():
        change = pipe.sadd if registered else pipe.srem
        change(redis_keys.own_set(number.prefix, profile, blocked), number.suffix)


def _number(record: Record) -> PhoneNumber:
    return PhoneNumber(digits=str(record.body["number"]).lstrip("+"))


def _parse(pointer: str) -> Generation:
    try:
        return generation_from_json(pointer)
    except (ValueError, KeyError, TypeError) as error:
        raise LookupUnavailable("the pointer to the register's generation in Redis is damaged") from error


def _integer(value: Any) -> int:
    return int(value or 0)
