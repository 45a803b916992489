"""Every list in Redis that one number is on. For a person who asks why, so a second round trip does no harm."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Final

from agent.adapters import redis_keys
from agent.adapters.redis_connection import RedisServer
from agent.adapters.redis_mark import AppliedMark
from agent.adapters.redis_rosters import LISTS, LOOKS, Roster, memberships, of_generation
from agent.adapters.redis_values import generation_from_text, rostered_of
from agent.domain.explanation import Memberships
from agent.domain.journal_events import Mark
from agent.domain.model import Blocked, Generation
from agent.domain.phone_number import PhoneNumber

_BLOCKED: Final = tuple(Blocked)


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
        for _ in range(LOOKS):
            found = self._look(number, list(profiles), list(sellers), list(groups))
            if found.whole:
                break
        return found

    def _look(
        self, number: PhoneNumber, profiles: Sequence[str], sellers: Sequence[str], groups: Sequence[tuple[str, str]]
    ) -> Memberships:
        mark, *pointers = self._server.pipeline_read(
            [("GET", redis_keys.APPLIED), *(("GET", redis_keys.current(profile)) for profile in profiles)]
        )
        generations: dict[str, Generation | None] = {
            profile: None if pointer is None else generation_from_text(pointer)
            for profile, pointer in zip(profiles, pointers, strict=True)
        }
        names: dict[tuple[str, ...], str] = {
            **{("own", profile, item): redis_keys.own_name(profile, item) for profile in profiles for item in _BLOCKED},
            **{("optout", seller): redis_keys.optout_name(seller) for seller in sellers},
            **{("customer", *group): redis_keys.customer_name(*group) for group in groups},
        }
        loaded = [
            (profile, of_generation(generation_from_text(pointer).id, rostered_of(pointer)))
            for profile, pointer in zip(profiles, pointers, strict=True)
            if pointer is not None
        ]
        asked: list[tuple[Roster, Sequence[str]]] = [(LISTS, list(names.values()))]
        asked += [(roster, _BLOCKED) for _, roster in loaded]
        answers, whole = memberships(self._server, number.prefix, [number.suffix], asked)
        own = {place for place, (listed,) in zip(names, answers[0], strict=True) if listed}
        register = {
            profile: frozenset(item for item, (listed,) in zip(_BLOCKED, flags, strict=True) if listed)
            for (profile, _), flags in zip(loaded, answers[1:], strict=True)
        }
        return Memberships(
            applied=self._mark.seq(mark),
            generations=generations,
            register={profile: register.get(profile, frozenset()) for profile in profiles},
            own={
                profile: frozenset(item for item in _BLOCKED if ("own", profile, item) in own) for profile in profiles
            },
            optouts=frozenset(seller for seller in sellers if ("optout", seller) in own),
            customers=frozenset(group for group in groups if ("customer", *group) in own),
            whole=whole,
        )
