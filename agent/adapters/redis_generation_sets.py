"""The sets of one generation as Redis holds them: counted, measured, freed, and whether they are all still there.

Counting takes a look at every key. So a load that was counted when it was written carries a *witness*: what would have
changed had Redis lost anything since. While it has not, the load is whole without being counted again, and calls do not
wait for that when it is put in force.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import redis

from agent.adapters import redis_keys
from agent.adapters.redis_values import entries_of, witness_of

_SCAN_COUNT: Final = 100
"""Keys at a time: what Redis does in one go keeps every call waiting."""


def is_whole(client: Any, text: str | None, generation: str) -> bool:
    """Whether Redis holds all entries of a generation that it lists as ``text``, counted one by one."""
    return text is not None and sum(set_sizes(client, generation).values()) == entries_of(text)


def is_still_whole(client: Any, text: str | None, generation: str) -> bool:
    """As ``is_whole``, and counted only when its witness has changed."""
    known = None if text is None else witness_of(text)
    return (known is not None and known == witness(client)) or is_whole(client, text, generation)


def witness(client: Any) -> str | None:
    """What changes when Redis may have lost sets: its run, the keys it has evicted, and how often it was doubted.

    None where INFO is forbidden, as on some managed servers.
    """
    try:
        run, evicted = client.info("server")["run_id"], client.info("stats")["evicted_keys"]
    except (redis.ResponseError, KeyError):
        return None
    return f"{run}:{evicted}:{client.get(redis_keys.DOUBTS) or 0}"


def set_sizes(client: Any, generation: str) -> dict[str, int]:
    """How many members each set of a generation has, by its key."""
    sizes: dict[str, int] = {}
    for keys in _pages(client, generation):
        with client.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.scard(key)
            sizes.update(zip(keys, pipe.execute(), strict=True))
    return sizes


def memory_used(client: Any, generation: str) -> int:
    """The bytes of every set of a generation together."""
    sizes: dict[str, int] = {}
    for keys in _pages(client, generation):
        with client.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.memory_usage(key)
            sizes.update(zip(keys, pipe.execute(), strict=True))
    return sum(size or 0 for size in sizes.values())


def free(client: Any, profile: str, generation: str) -> None:
    """Remove the sets of a load that is not complete, or not any more; in the background of Redis."""
    for keys in _pages(client, generation):
        client.unlink(*keys)
    client.hdel(redis_keys.loading(profile), generation)


def _pages(client: Any, generation: str) -> Iterator[list[str]]:
    """The keys of a generation, some at a time; a key may be named twice, as SCAN does."""
    page: list[str] = []
    for key in client.scan_iter(match=redis_keys.register_sets_pattern(generation), count=_SCAN_COUNT):
        page.append(key)
        if len(page) >= _SCAN_COUNT:
            yield page
            page = []
    if page:
        yield page
