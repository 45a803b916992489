"""Every set that Redis must have, looked at one after the other: is it there, with all its members, and for good?

The rosters say what there must be, so that only our own keys are visited, whatever else the server holds. Each step is
small; how soon the next one follows is for the caller to say.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Final

from agent.adapters import redis_keys
from agent.adapters.redis_connection import RedisServer
from agent.adapters.redis_losses import RedisLosses, Suspicion
from agent.adapters.redis_rosters import LISTS, LOOKS, PAGE_PREFIXES, Roster, of_generation, sizes_in
from agent.adapters.redis_values import generation_from_text, mark_from_text, rostered_of
from agent.domain.condition import AuditStep, Loss
from agent.domain.errors import LookupUnavailable

_WHOLE_ROSTER: Final = ""
"""In place of a prefix."""


class RedisAudit:
    """See ``agent.list_audit.AuditedSets``. What it finds is left to ``losses``, to be looked at again and settled."""

    def __init__(
        self, server: RedisServer, journal_id: str, losses: RedisLosses, profiles: Collection[str], *, mend: bool
    ) -> None:
        """With ``mend``, keys that would expire are made to stay."""
        self._server = server
        self._journal_id = journal_id
        self._losses = losses
        self._profiles = sorted(profiles)
        self._mend = mend

    def steps_needed(self) -> int:
        """See ``agent.list_audit.AuditedSets``."""
        rosters = [LISTS, *(roster for _, roster, _ in self._registers())]
        sizes = self._server.pipeline_read([("HLEN", roster.key) for roster in rosters])
        return sum(size // PAGE_PREFIXES + 1 for size in sizes)

    def evicted(self) -> int | None:
        """See ``agent.list_audit.AuditedSets``."""
        try:
            (stats,) = self._server.pipeline_read([("INFO", "stats")])
        except LookupUnavailable:  # INFO is forbidden, or Redis is away
            return None
        found = re.search(r"^evicted_keys:(\d+)", stats, re.MULTILINE)
        return None if found is None else int(found[1])

    def steps(self) -> Iterator[AuditStep]:
        """See ``agent.list_audit.AuditedSets``."""
        (mark,) = self._server.pipeline_read([("GET", redis_keys.APPLIED)])
        if mark_from_text(mark, self._journal_id) is None:
            return  # nothing is believed, and all will be applied again
        registers, expires = self._registers(), self._anything_expires()
        yield from self._of_roster(LISTS, None, "", expires=expires)
        for profile, roster, pointer in registers:
            yield from self._of_roster(roster, profile, pointer, expires=expires)
        pointers = [redis_keys.current(profile) for profile, _, _ in registers]
        rosters = [LISTS.key, *(roster.key for _, roster, _ in registers)]
        generations = [redis_keys.generations(profile) for profile, _, _ in registers]
        single = [redis_keys.APPLIED, redis_keys.DOUBTS, *rosters, *pointers, *generations]
        yield AuditStep(loss=None, expiring=self._expiring(single))

    def _registers(self) -> list[tuple[str, Roster, str]]:
        """Profile, roster and pointer of each load in force."""
        if not self._profiles:
            return []
        pointers = self._server.pipeline_read([("GET", redis_keys.current(profile)) for profile in self._profiles])
        return [
            (profile, of_generation(generation_from_text(pointer).id, rostered_of(pointer)), pointer)
            for profile, pointer in zip(self._profiles, pointers, strict=True)
            if pointer is not None
        ]

    def _of_roster(self, roster: Roster, profile: str | None, pointer: str, *, expires: bool) -> Iterator[AuditStep]:
        loss = Loss.LISTS if profile is None else Loss.REGISTER
        told = roster.prefixes(self._server)
        if told is None or roster.told not in (None, str(told)):
            if self._is_current(profile, pointer):
                self._losses.suspect(Suspicion(_WHOLE_ROSTER, profile=profile))
                yield AuditStep(loss=loss, expiring=0)
            return
        for page in roster.pages(self._server):
            differing = [prefix for prefix in page.differing if self._differs(roster, prefix)]
            if not self._is_current(profile, pointer):
                return
            for prefix in differing:
                self._losses.suspect(Suspicion(prefix, profile=profile))
            expiring = self._expiring(page.keys) if expires and page.keys else 0
            yield AuditStep(loss=loss if differing else None, expiring=expiring)

    def _is_current(self, profile: str | None, pointer: str) -> bool:
        """Whether the load is still in force whose sets are looked at: those of another one may be gone by right."""
        if profile is None:
            return True
        return self._server.pipeline_read([("GET", redis_keys.current(profile))]) == [pointer]

    def _differs(self, roster: Roster, prefix: str) -> bool:
        """Whether the sets of a prefix are still not what the roster says."""
        for _ in range(LOOKS):
            ((_, entry),) = self._server.pipeline_read([roster.question(prefix)])
            names = list(sizes_in(entry))
            *sizes, reply = self._server.pipeline_read(
                [*(("SCARD", roster.set_key(prefix, name)) for name in names), roster.question(prefix)]
            )
            if roster.bears_out(reply, names, sizes):
                return False
        return True

    def _anything_expires(self) -> bool:
        """Whether any key of the database has a time to live; an import's lock has."""
        try:
            (keyspace,) = self._server.pipeline_read([("INFO", "keyspace")])
        except LookupUnavailable:
            return True
        found = re.search(rf"^db{self._server.database}:.*\bexpires=(\d+)", keyspace, re.MULTILINE)
        return found is not None and int(found[1]) > 0

    def _expiring(self, keys: Collection[str]) -> int:
        lifetimes = self._server.pipeline_read([("PTTL", key) for key in keys])
        expiring = [key for key, lifetime in zip(keys, lifetimes, strict=True) if lifetime >= 0]
        if expiring and self._mend:
            with self._server.commands() as client, client.pipeline(transaction=False) as pipe:
                for key in expiring:
                    pipe.persist(key)
                pipe.execute()
        return len(expiring)
