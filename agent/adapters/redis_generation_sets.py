"""The sets of one generation as Redis holds them: counted, measured, freed, and whether they are all still there.

Counting takes a look at every key. So a load that was counted when it was written carries a *witness*: what would have
changed had Redis lost anything since. While it has not, the load is whole without being counted again, and calls do not
wait for that when it is put in force.
"""

from __future__ import annotations

import secrets
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any, Final

import redis

from agent.adapters import redis_keys
from agent.adapters.redis_connection import RedisServer
from agent.adapters.redis_rosters import of_generation, roster_entry, write_roster
from agent.adapters.redis_values import entries_of, rostered_of, with_roster, witness_of

_SCAN_COUNT: Final = 100
"""Keys at a time: what Redis does in one go keeps every call waiting."""


def is_whole(server: RedisServer, text: str | None, generation: str) -> bool:
    """Whether Redis holds all entries of a generation that it lists as ``text``, counted set by set."""
    if text is None:
        return False
    rostered = rostered_of(text)
    if rostered is None:
        with server.commands() as client:
            return sum(set_sizes(client, redis_keys.register_sets_pattern(generation)).values()) == entries_of(text)
    roster = of_generation(generation, rostered)
    return roster.prefixes(server) == rostered and roster.members(server) == entries_of(text)


def is_still_whole(server: RedisServer, text: str | None, generation: str) -> bool:
    """As ``is_whole``, and counted only when its witness has changed."""
    known = None if text is None else witness_of(text)
    with server.commands() as client:
        unchanged = known is not None and known == witness(client)
    return unchanged or is_whole(server, text, generation)


def witness(client: Any) -> str | None:
    """What changes when Redis may have lost sets: its run, the keys it has evicted, and when it was last doubted.

    None where INFO is forbidden, as on some managed servers, and when Redis has lost that, too.
    """
    try:
        run, evicted = client.info("server")["run_id"], client.info("stats")["evicted_keys"]
    except (redis.ResponseError, KeyError):
        return None
    doubts = client.get(redis_keys.DOUBTS)
    return None if doubts is None else f"{run}:{evicted}:{doubts}"


def cast_doubt(pipe: Any) -> None:
    """Queue that every load is counted before it is put in force again."""
    pipe.set(redis_keys.DOUBTS, secrets.token_hex(8))


def with_its_roster(server: RedisServer, text: str, generation: str) -> str:
    """``text`` of a whole generation; one of an older version is given its roster."""
    if rostered_of(text) is not None:
        return text
    with server.commands() as client:
        sizes = set_sizes(client, redis_keys.register_sets_pattern(generation))
        return with_roster(text, write_register_roster(client, generation, sizes))


def write_register_roster(client: Any, generation: str, sizes: Mapping[str, int]) -> int:
    """Write the roster of a generation from the sizes of its sets, by key; returns how many prefixes it has."""
    by_prefix: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for key, size in sizes.items():
        prefix, name = redis_keys.prefix_and_name(key)
        by_prefix[prefix][name.rpartition(":")[2]] = size
    entries = {prefix: roster_entry(named) for prefix, named in by_prefix.items()}
    write_roster(client, redis_keys.register_roster(generation), entries)
    return len(entries)


def set_sizes(client: Any, pattern: str) -> dict[str, int]:
    """How many members each set has whose key matches ``pattern``, by its key."""
    sizes: dict[str, int] = {}
    for keys in _pages(client, pattern):
        with client.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.scard(key)
            sizes.update(zip(keys, pipe.execute(), strict=True))
    return sizes


def memory_used(client: Any, generation: str) -> int:
    """The bytes of every set of a generation and of its roster together."""
    sizes: dict[str, int] = {}
    roster = redis_keys.register_roster(generation)
    for keys in _pages(client, redis_keys.register_sets_pattern(generation)):
        with client.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.memory_usage(key)
            sizes.update(zip(keys, pipe.execute(), strict=True))
    return sum(size or 0 for size in [*sizes.values(), client.memory_usage(roster)])


def free(client: Any, profile: str, generation: str) -> None:
    """Remove the sets of a load that is not complete, or not any more; in the background of Redis."""
    for keys in _pages(client, redis_keys.register_sets_pattern(generation)):
        client.unlink(*keys)
    client.unlink(redis_keys.register_roster(generation))
    client.hdel(redis_keys.loading(profile), generation)


def _pages(client: Any, pattern: str) -> Iterator[list[str]]:
    """The keys that match, some at a time; a key may be named twice, as SCAN does."""
    page: list[str] = []
    for key in client.scan_iter(match=pattern, count=_SCAN_COUNT):
        page.append(key)
        if len(page) >= _SCAN_COUNT:
            yield page
            page = []
    if page:
        yield page
