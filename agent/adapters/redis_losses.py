"""What Redis was found to have lost: looked at again, and if it is so, not believed any more.

Who reads finds that the sizes of some sets are not what the roster says. That may be a change that was just being made,
so it is only a suspicion. ``settle`` looks again while nothing can change unnoticed (WATCH), and then takes away what
the lists are believed by: the mark, so that all of the journal is applied again; or the pointer to the generation, so
that no register is in force. Both block at once, in every process.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import redis

from agent.adapters import redis_keys
from agent.adapters.redis_connection import RedisServer
from agent.adapters.redis_generation_sets import cast_doubt
from agent.adapters.redis_rosters import LISTS, PREFIXES, Roster, of_generation, sizes_in
from agent.adapters.redis_values import generation_from_text, mark_from_text, rostered_of
from agent.domain.condition import Loss
from agent.domain.model import Blocked

LOST: Final = "Redis lost a part of its lists, so that nothing can be concluded from them"
_BLOCKED: Final = tuple(map(str, Blocked))


@dataclass(frozen=True, slots=True)
class Suspicion:
    """Where something may be missing."""

    prefix: str
    """Of the sets; any, for a whole roster."""
    names: tuple[str, ...] = ()
    """Of sets that the outbox writes and that were asked for, whether the roster has them or not."""
    profile: str | None = None
    """Of the register; None for the sets that the outbox writes."""


class RedisLosses:
    """Keeps suspicions until they are settled. ``found`` is told of each loss. Thread-safe."""

    def __init__(self, server: RedisServer, journal_id: str, found: Callable[[Loss], None]) -> None:
        self._server = server
        self._journal_id = journal_id
        self.found = found
        self._suspicions: set[Suspicion] = set()
        self._turn = threading.Lock()

    def suspect(self, suspicion: Suspicion) -> None:
        """Have ``settle`` look at it."""
        with self._turn:
            self._suspicions.add(suspicion)

    def settle(self) -> None:
        """Look at everything that was suspected.

        Raises ``LookupUnavailable``, and ``ListsForeign`` for the lists of another journal; then it is looked at again
        next time.
        """
        with self._turn:
            left = list(self._suspicions)
        for suspicion in left:
            self._settle(suspicion)
            with self._turn:
                self._suspicions.discard(suspicion)

    def _settle(self, suspicion: Suspicion) -> None:
        profile = suspicion.profile
        with self._server.commands() as client, client.pipeline(transaction=True) as pipe:
            pointer_key = None if profile is None else redis_keys.current(profile)
            pipe.watch(redis_keys.APPLIED, *([] if pointer_key is None else [pointer_key]))
            if mark_from_text(pipe.get(redis_keys.APPLIED), self._journal_id) is None:
                return  # nothing is believed
            believed_by, loss = redis_keys.APPLIED, Loss.LISTS
            if pointer_key is None:
                lost = _has_lost(pipe, LISTS, suspicion.prefix, suspicion.names)
            else:
                pointer = pipe.get(pointer_key)
                if pointer is None:
                    return
                rostered = rostered_of(pointer)
                roster = of_generation(generation_from_text(pointer).id, rostered)
                lost = _has_lost(pipe, roster, suspicion.prefix, _BLOCKED)
                if rostered is not None:  # else of an older version: it is counted when all is applied again
                    believed_by, loss = pointer_key, Loss.REGISTER
            if not lost:
                return
            pipe.multi()
            pipe.delete(believed_by)
            cast_doubt(pipe)
            try:
                pipe.execute()
            except redis.WatchError:  # it was being changed; who reads it again will see
                return
        self.found(loss)


def _has_lost(pipe: Any, roster: Roster, prefix: str, names: Sequence[str]) -> bool:
    """Whether the sets of a prefix, or the roster, are not as they should be. ``pipe`` watches what they hang on."""
    told, entry = pipe.hmget(roster.key, PREFIXES, prefix)
    if told != str(pipe.hlen(roster.key) - 1):
        return True
    every = list({**sizes_in(entry), **dict.fromkeys(names)})
    return not roster.bears_out((told, entry), every, [pipe.scard(roster.set_key(prefix, name)) for name in every])
