"""What a batch of records changes in the sets that the outbox writes, and in their roster.

The roster must change in one transaction with the sets, and how many members a change adds is known only once the sets
were read. So they are read first, while the mark is watched: whoever else applies records moves it, and then nothing of
this is written. Should a set be changed by anybody else in between, then it has another size than the roster says, and
is found out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from agent.adapters import redis_keys
from agent.adapters.redis_commands import which_of
from agent.adapters.redis_connection import RedisServer
from agent.adapters.redis_rosters import LISTS, PREFIXES, roster_entry, sizes_in
from agent.domain.errors import JournalUnavailable
from agent.domain.journal_events import EventType, Record
from agent.domain.phone_number import PhoneNumber
from agent.domain.standing import Standing

_Members = dict[int, bool]
"""Whether each is to be in the set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Set:
    """A set before it is changed, and how."""

    prefix: str
    name: str
    size: int
    added: tuple[int, ...]
    removed: tuple[int, ...]

    @property
    def key(self) -> str:
        return redis_keys.list_set(self.prefix, self.name)


class SetChanges:
    """Collected first, then ``read``, then ``queue``d. Applying a record twice changes nothing more."""

    def __init__(self, records: Iterable[Record], standings: Mapping[str, Standing]) -> None:
        """Raises ``JournalUnavailable`` for a record that lacks a field."""
        self._wanted: defaultdict[tuple[str, str], _Members] = defaultdict(dict)
        self._sets: list[_Set] = []
        self._entries: dict[str, str | None] = {}
        self._prefixes = 0
        for record in records:
            try:
                self._add(record)
            except KeyError as error:
                raise JournalUnavailable(f"record {record.seq} was altered: it has no {error}") from error
        for digits, standing in standings.items():
            self._add_standing(PhoneNumber(digits=digits.removeprefix("+")), standing)

    def read(self, server: RedisServer) -> bool:
        """Read what is there; False when that is not what the roster says. Raises ``LookupUnavailable``."""
        prefixes = list(dict.fromkeys(prefix for prefix, _ in self._wanted))
        wanted = [(prefix, name, dict(sorted(members.items()))) for (prefix, name), members in self._wanted.items()]
        keys = [redis_keys.list_set(prefix, name) for prefix, name, _ in wanted]
        replies = iter(
            server.pipeline_read(
                [
                    ("HLEN", LISTS.key),
                    ("HMGET", LISTS.key, PREFIXES, *prefixes),
                    *(("SCARD", key) for key in keys),
                    *(which_of(key, members) for key, (_, _, members) in zip(keys, wanted, strict=True)),
                ]
            )
        )
        fields, (told, *entries) = next(replies), next(replies)
        sizes, present = list(islice(replies, len(keys))), list(replies)
        if told != str(fields - 1):
            return False
        self._prefixes, self._entries = fields - 1, dict(zip(prefixes, entries, strict=True))
        self._sets = [
            _Set(
                prefix=prefix,
                name=name,
                size=size,
                added=tuple(one for one, held in zip(members, held_now, strict=True) if members[one] and not held),
                removed=tuple(one for one, held in zip(members, held_now, strict=True) if held and not members[one]),
            )
            for (prefix, name, members), size, held_now in zip(wanted, sizes, present, strict=True)
        ]
        return all(LISTS.bears_out((told, self._entries[item.prefix]), [item.name], [item.size]) for item in self._sets)

    def queue(self, pipe: Any) -> None:
        """Queue all changes of the sets, and of the roster with them."""
        named = {prefix: sizes_in(entry) for prefix, entry in self._entries.items()}
        for item in self._sets:
            if item.added:
                pipe.sadd(item.key, *item.added)
            if item.removed:
                pipe.srem(item.key, *item.removed)
            named[item.prefix][item.name] = item.size + len(item.added) - len(item.removed)
        entries = {prefix: roster_entry(sizes) for prefix, sizes in named.items()}
        written = {prefix: entry for prefix, entry in entries.items() if entry and entry != self._entries[prefix]}
        gone = [prefix for prefix, entry in entries.items() if not entry and self._entries[prefix]]
        if written:
            pipe.hset(LISTS.key, mapping=written)
        if gone:
            pipe.hdel(LISTS.key, *gone)
        new = sum(not self._entries[prefix] for prefix in written)
        if new != len(gone):
            pipe.hset(LISTS.key, PREFIXES, self._prefixes + new - len(gone))

    def _add(self, record: Record) -> None:
        body = record.body
        match record.type:
            case EventType.OPTOUT_ADDED:
                self._want(_number(record), redis_keys.optout_name(str(body["seller"])), listed=True)
            case EventType.OPTOUT_REMOVED | EventType.CHOICE_RECORDED | EventType.CHOICE_UNDONE:
                return  # ``_add_standing`` will see to it
            case EventType.CUSTOMER_ADDED | EventType.CUSTOMER_REMOVED:
                name = redis_keys.customer_name(str(body["seller"]), str(body["product_group"]))
                self._want(_number(record), name, listed=record.type is EventType.CUSTOMER_ADDED)
            case EventType.REGISTER_LOADED | EventType.REGISTER_ROLLED_BACK:
                return  # these move a pointer
            case _:
                raise ValueError(f"{record.type} changes no list")

    def _add_standing(self, number: PhoneNumber, standing: Standing) -> None:
        """What a number's own records add up to."""
        for seller, objection in standing.optouts.items():
            self._want(number, redis_keys.optout_name(seller), listed=objection is not None)
        for (profile, blocked), registered in standing.registrations.items():
            self._want(number, redis_keys.own_name(profile, blocked), listed=registered)

    def _want(self, number: PhoneNumber, name: str, *, listed: bool) -> None:
        self._wanted[number.prefix, name][number.suffix] = listed


def _number(record: Record) -> PhoneNumber:
    return PhoneNumber(digits=str(record.body["number"]).lstrip("+"))
