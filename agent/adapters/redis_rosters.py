"""What sets there must be: so that a set which is gone is not taken for one that nobody was ever put in.

Redis deletes a set with its last member, and answers for one that does not exist as for an empty one. So beside the
sets stands a roster of them, and every lookup compares, in the same round trip, the sizes of the sets that it asked
with what the roster says. The roster itself may be lost, too: its field ``*`` is then gone with it, and that of a
generation is counted in the pointer to the generation.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, Final

from agent.adapters import redis_keys
from agent.adapters.redis_commands import Command, which_of
from agent.adapters.redis_connection import RedisServer

PREFIXES: Final = "*"
"""The field that says how many prefixes a roster has."""
LOOKS: Final = 4
"""How often sets are asked again that do not fit the roster, for they may just be in the middle of a change."""
PAGE_PREFIXES: Final = 25
"""Prefixes at a time: what Redis does in one go keeps every call waiting."""
_WRITTEN: Final = 500


def roster_entry(sizes: Mapping[str, int]) -> str:
    """The sets of one prefix, by name; empty for none."""
    named = "".join(f"{name}={size}|" for name, size in sorted(sizes.items()) if size)
    return f"|{named}" if named else ""


def sizes_in(entry: str | None) -> dict[str, int]:
    """What ``roster_entry`` made an entry of."""
    pairs = [pair.rpartition("=") for pair in (entry or "").strip("|").split("|") if pair]
    return {name: int(size) for name, _, size in pairs}


def rosters_by_prefix(sizes: Mapping[str, int]) -> dict[str, str]:
    """The entries for the sizes of sets that the outbox writes, by their keys."""
    by_prefix: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for key, size in sizes.items():
        prefix, name = redis_keys.prefix_and_name(key)
        by_prefix[prefix][name] = size
    return {prefix: entry for prefix, named in by_prefix.items() if (entry := roster_entry(named))}


def write_roster(pipe: Any, key: str, entries: Mapping[str, str]) -> None:
    """Queue, or write, a whole roster in place of the one that is there."""
    pipe.unlink(key)
    left = iter(entries.items())
    while some := dict(islice(left, _WRITTEN)):
        pipe.hset(key, mapping=some)
    pipe.hset(key, PREFIXES, len(entries))


@dataclass(frozen=True, slots=True, kw_only=True)
class Roster:
    """One roster in Redis, and the key of each set that it names."""

    key: str
    set_key: Callable[[str, str], str]
    """Of a prefix and a name."""
    told: str | None = None
    """What ``PREFIXES`` must say; None where that changes."""

    def question(self, prefix: str) -> Command:
        """What ``bears_out`` wants the reply to."""
        return ("HMGET", self.key, PREFIXES, prefix)

    def bears_out(self, reply: Sequence[str | None], names: Sequence[str], sizes: Sequence[int]) -> bool:
        """Whether the sets ``names`` of a prefix have exactly the sizes that the roster says, and it is there."""
        told, entry = reply
        if told is None or (self.told is not None and told != self.told):
            return False
        if entry is None:
            return not any(sizes)
        return all(
            f"|{name}={size}|" in entry if size else f"|{name}=" not in entry
            for name, size in zip(names, sizes, strict=True)
        )

    def pages(self, server: RedisServer) -> Iterator[Page]:
        """Compare every set with the roster, a few at a time. Raises ``LookupUnavailable``."""
        cursor = "0"
        while True:
            ((cursor, fields),) = server.pipeline_read([("HSCAN", self.key, cursor, "COUNT", PAGE_PREFIXES)])
            entries = dict(zip(fields[::2], fields[1::2], strict=True))
            entries.pop(PREFIXES, None)
            yield self._compared(server, entries)
            if cursor == "0":
                return

    def members(self, server: RedisServer) -> int | None:
        """How many members all of its sets have together; None when one has another size than it says."""
        total = 0
        for page in self.pages(server):
            if page.differing:
                return None
            total += page.members
        return total

    def prefixes(self, server: RedisServer) -> int | None:
        """How many prefixes it has; None when it is lost, or has another number of them than it says."""
        ((told,), fields) = server.pipeline_read([("HMGET", self.key, PREFIXES), ("HLEN", self.key)])
        return fields - 1 if told == str(fields - 1) else None

    def _compared(self, server: RedisServer, entries: Mapping[str, str]) -> Page:
        named = {prefix: sizes_in(entry) for prefix, entry in entries.items()}
        keys = [self.set_key(prefix, name) for prefix, sizes in named.items() for name in sizes]
        found = iter(server.pipeline_read([("SCARD", key) for key in keys]) if keys else ())
        differing = [
            prefix for prefix, sizes in named.items() if list(sizes.values()) != list(islice(found, len(sizes)))
        ]
        members = sum(size for sizes in named.values() for size in sizes.values())
        return Page(prefixes=tuple(named), keys=tuple(keys), members=members, differing=tuple(differing))


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some prefixes of a roster, compared with their sets."""

    prefixes: tuple[str, ...]
    keys: tuple[str, ...]
    """Of the sets that there should be."""
    members: int
    """That there should be in all of them."""
    differing: tuple[str, ...]
    """Prefixes of which a set has another size. It may just have changed: look again before you believe it."""


LISTS: Final = Roster(key=redis_keys.LISTS_ROSTER, set_key=redis_keys.list_set)
"""That of the sets which the outbox writes."""


def of_generation(generation: str, rostered: int | None) -> Roster:
    """That of one load of the register; ``rostered`` is how many prefixes it must have, None for one without roster."""
    return Roster(
        key=redis_keys.register_roster(generation),
        set_key=lambda prefix, blocked: redis_keys.register_set(prefix, generation, blocked),
        told="" if rostered is None else str(rostered),
    )


def memberships(
    server: RedisServer, prefix: str, members: Sequence[int], asked: Sequence[tuple[Roster, Sequence[str]]]
) -> tuple[list[list[list[int]]], bool]:
    """For each roster, for each name of a set of ``prefix``, whether it has each member.

    And whether the sets are what the rosters say; when not, look again. Raises ``LookupUnavailable``.
    """
    keys = [[roster.set_key(prefix, name) for name in names] for roster, names in asked]
    flat = list(chain.from_iterable(keys))
    commands: list[Command] = [
        *(which_of(key, members) for key in flat),
        *(("SCARD", key) for key in flat),
        *(roster.question(prefix) for roster, _ in asked),
    ]
    replies = iter(server.pipeline_read(commands))
    found = [list(islice(replies, len(names))) for _, names in asked]
    sizes = [list(islice(replies, len(names))) for _, names in asked]
    borne_out = all(
        roster.bears_out(reply, names, of_roster)
        for (roster, names), of_roster, reply in zip(asked, sizes, replies, strict=True)
    )
    return found, borne_out
