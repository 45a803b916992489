"""Every list in Redis that one number is on. For a person who asks why, so a second round trip does no harm."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from agent.adapters import redis_keys
from agent.adapters.redis_connection import RedisServer
from agent.adapters.redis_mark import AppliedMark
from agent.adapters.redis_values import generation_from_text
from agent.domain.explanation import Memberships
from agent.domain.journal_events import Mark
from agent.domain.model import Blocked, Generation
from agent.domain.phone_number import PhoneNumber

_BLOCKED = tuple(Blocked)


class RedisMemberships:
    """See ``agent.explaining.Membership``. ``mark_of`` asks the journal for a record's mark."""

    def __init__(self, server: RedisServer, journal_id: str, mark_of: Callable[[int], Mark | None]) -> None:
        self._server = server
        self._mark = AppliedMark(journal_id, mark_of)

    def of(
        self,
        number: PhoneNumber,
        profiles: Collection[str],
        sellers: Collection[str],
        groups: Collection[tuple[str, str]],
    ) -> Memberships:
        """See ``agent.explaining.Membership``."""
        profiles, sellers, groups = list(profiles), list(sellers), list(groups)
        mark, *pointers = self._server.pipeline_read(
            [("GET", redis_keys.APPLIED), *(("GET", redis_keys.current(profile)) for profile in profiles)]
        )
        generations: dict[str, Generation | None] = {
            profile: generation_from_text(pointer) if pointer else None
            for profile, pointer in zip(profiles, pointers, strict=True)
        }
        prefix, member = number.prefix, number.suffix
        keys: list[tuple[Any, str]] = []
        for profile, generation in generations.items():
            keys += [(("own", profile, item), redis_keys.own_set(prefix, profile, item)) for item in _BLOCKED]
            if generation is not None:
                keys += [
                    (("register", profile, item), redis_keys.register_set(prefix, generation.id, item))
                    for item in _BLOCKED
                ]
        keys += [(("optout", seller), redis_keys.optout_set(prefix, seller)) for seller in sellers]
        keys += [(("customer", *group), redis_keys.customer_set(prefix, *group)) for group in groups]
        replies = self._server.pipeline_read([("SISMEMBER", key, member) for _, key in keys])
        found = {place for (place, _), listed in zip(keys, replies, strict=True) if listed}

        def entry(kind: str, profile: str) -> frozenset[Blocked]:
            return frozenset(item for item in _BLOCKED if (kind, profile, item) in found)

        return Memberships(
            applied=self._mark.seq(mark),
            generations=generations,
            register={profile: entry("register", profile) for profile in profiles},
            own={profile: entry("own", profile) for profile in profiles},
            optouts=frozenset(seller for seller in sellers if ("optout", seller) in found),
            customers=frozenset(group for group in groups if ("customer", *group) in found),
        )
