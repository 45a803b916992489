"""The lists in Redis as a scrub reads them: many numbers at once, by the rules of ``redis_lists``.

The numbers of a chunk are sorted, so that those of one set stand together. Of most lists most sets do not exist, which
the rosters tell (``redis_rosters``); what they say is remembered, of our own lists for as long as Redis has applied
nothing new. A set that must exist is asked once for all of its numbers (SMISMEMBER) and for its size, which must be
what the roster says; one that must not exist is not asked.

There may be nearly as many sets as numbers, so a command is not put together for each of them: it is that for a blank
prefix, with the prefix filled in.

What is asked of one chunk is sound for the reasons given in ``RedisLists.facts``: the mark is read first and the
pointer last, and both stand around the whole chunk, as the policy does. A pointer that has moved since the run began
ends the run, for its parts would rest on two registers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, partial
from itertools import chain, islice
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from agent.adapters import redis_keys
from agent.adapters.redis_commands import NO_ANSWER, is_size
from agent.adapters.redis_connection import RedisServer
from agent.adapters.redis_lists import list_names, relevant_lists
from agent.adapters.redis_losses import LOST, RedisLosses, Suspicion
from agent.adapters.redis_mark import AppliedMark
from agent.adapters.redis_rosters import LISTS, LOOKS, PREFIXES, Roster, memberships, of_generation, sizes_in
from agent.adapters.redis_values import generation_from_text, rostered_of
from agent.domain.errors import ListsBehind, LookupUnavailable, RegisterReplaced
from agent.domain.journal_events import Mark
from agent.domain.model import Campaign, Facts, Generation
from agent.domain.phone_number import SUFFIX_DIGITS

_SPAN: Final = 10**SUFFIX_DIGITS
_BATCH_COMMANDS: Final = 250
"""Of few numbers each they fit into a socket's buffer, so that Redis is at work while the next ones are made."""
_BATCH_PREFIXES: Final = 200
_MEMBERS: Final = np.array([b"$%d\r\n%d\r\n" % (len(str(suffix)), suffix) for suffix in range(_SPAN)])
"""Every member as Redis wants an argument, filled up with NUL to the same length."""
_BLANK: Final = "\0"
"""Stands for each digit of a prefix; no key holds it."""

Codes = NDArray[np.uint16]
Numbers = NDArray[np.uint64]


class RedisBulkLists:
    """See ``agent.scrub_ports.BulkLists``. ``mark_of`` asks the journal for a record's mark."""

    def __init__(
        self, server: RedisServer, journal_id: str, mark_of: Callable[[int], Mark | None], losses: RedisLosses
    ) -> None:
        self._server = server
        self._mark = AppliedMark(journal_id, mark_of)
        self._losses = losses

    def begin(self, campaign: Campaign) -> RedisBulkRun:
        """See ``agent.scrub_ports.BulkLists``."""
        (pointer,) = self._server.pipeline_read([("GET", redis_keys.current(campaign.profile))])
        return RedisBulkRun(self._server, self._mark, self._losses, campaign, pointer)


class RedisBulkRun:
    """See ``agent.scrub_ports.BulkRun``. A code has a bit for each kind of list: of ours, then of the register."""

    def __init__(
        self, server: RedisServer, mark: AppliedMark, losses: RedisLosses, campaign: Campaign, pointer: str | None
    ) -> None:
        self._server = server
        self._mark = mark
        self._losses = losses
        self._campaign = campaign
        self._pointer = pointer
        self.generation: Generation | None = generation_from_text(pointer) if pointer is not None else None
        self._blocked = relevant_lists(campaign)
        kinds = list_names(campaign)
        self._ours = _Rostered(LISTS, [name for kind in kinds for name in kind])
        """Known while ``_ours_at`` is the mark."""
        self._ours_at: str | None = None
        self._parts = [self._ours]
        self._bits = [bit for bit, kind in enumerate(kinds) for _ in kind]
        """The bit of each list in a code: the opt-outs of all of a seller's keys share one, and so do its customers."""
        if pointer is not None and self.generation is not None:
            roster = of_generation(self.generation.id, rostered_of(pointer))
            self._parts.append(_Rostered(roster, self._blocked))
            self._bits += [len(kinds) + place for place in range(len(self._blocked))]

    def codes(self, numbers: Numbers, applied: int) -> Codes:
        """See ``agent.scrub_ports.BulkRun``."""
        distinct, places = np.unique(numbers, return_inverse=True)
        prefixes, starts = np.unique(distinct // np.uint64(_SPAN), return_index=True)
        self._require_applied(applied)
        codes = self._ask(distinct, starts, [b"%d" % prefix for prefix in prefixes.tolist()])
        mark, pointer = self._server.pipeline_read(
            [("GET", redis_keys.APPLIED), ("GET", redis_keys.current(self._campaign.profile))]
        )
        if self._mark.seq(mark) < applied:
            self._ours_at = None  # brought forward again, it may have the same mark
            raise ListsBehind("Redis lost meanwhile what it had applied")
        if pointer != self._pointer:
            raise RegisterReplaced("another load of the register was put in force meanwhile")
        return codes[places]

    def facts(self, code: int) -> Facts:
        """See ``agent.scrub_ports.BulkRun``."""
        width = len(self._blocked)
        own, entry = code >> 2, code >> (2 + width)
        return Facts(
            generation=self.generation,
            seller_optout=bool(code & 1),
            customer=bool(code & 2),
            own_registration=frozenset(item for bit, item in enumerate(self._blocked) if own >> bit & 1),
            register_entry=frozenset(item for bit, item in enumerate(self._blocked) if entry >> bit & 1),
        )

    def _require_applied(self, applied: int) -> None:
        """Begin a chunk: the mark, before anything that it vouches for."""
        (mark,) = self._server.pipeline_read([("GET", redis_keys.APPLIED)])
        if self._mark.seq(mark) < applied:
            raise ListsBehind("Redis has not yet applied all that the journal holds")
        if mark != self._ours_at:
            self._ours.forget()
            self._ours_at = mark

    def _ask(self, distinct: Numbers, starts: NDArray[np.intp], prefixes: Sequence[bytes]) -> Codes:
        """Which lists hold each of the ``distinct`` numbers; those of a prefix stand from its start to the next one."""
        should_be = self._should_be(prefixes)
        counts = np.diff(starts, append=len(distinct))
        members = list(_arguments(distinct % np.uint64(_SPAN), counts.tolist()))
        keys = [key for part in self._parts for key in part.keys]
        asked = [np.flatnonzero(of_list) for of_list in should_be.T]
        replies = list(
            self._replies(
                b"*%d\r\n$10\r\nSMISMEMBER\r\n%b%b*2\r\n$5\r\nSCARD\r\n%b"
                % (counts[place] + 2, key(prefixes[place]), members[place], key(prefixes[place]))
                for key, of_list in zip(keys, asked, strict=True)
                for place in of_list.tolist()
            )
        )
        places = np.concatenate(asked)
        flags, sizes = _flags_of(replies[::2], counts[places].tolist()), _sizes_of(replies[1::2])
        codes, done = np.zeros(len(distinct), dtype=np.uint16), 0
        for bit, of_list in zip(self._bits, should_be.T, strict=True):
            rows = np.flatnonzero(np.repeat(of_list > 0, counts))
            codes[rows] |= flags[done : done + len(rows)] << bit
            done += len(rows)
        for place in np.unique(places[sizes != should_be.T[should_be.T > 0]]).tolist():
            of_set = slice(starts[place], starts[place] + counts[place])
            suffixes = (distinct[of_set] % np.uint64(_SPAN)).tolist()
            codes[of_set] = self._asked_again(prefixes[place].decode(), suffixes)
        return codes

    def _should_be(self, prefixes: Sequence[bytes]) -> NDArray[np.int64]:
        """By prefix and list, how many members its set must have. One that must not exist is not asked."""
        parts = [part.sizes(self._server, prefixes) for part in self._parts]
        found = [sizes for sizes in parts if sizes is not None]
        if len(found) < len(parts):
            raise self._lost(prefixes[0].decode())
        return np.hstack(found)

    def _asked_again(self, prefix: str, members: Sequence[int]) -> Codes:
        """The codes of numbers of which a set was just being changed, or is lost."""
        asked = [(part.roster, part.names) for part in self._parts]
        for _ in range(LOOKS):
            answers, borne_out = memberships(self._server, prefix, members, asked)
            if borne_out:
                lists = [listed for of_roster in answers for listed in of_roster]
                codes = np.zeros(len(members), dtype=np.uint16)
                for bit, flags in zip(self._bits, lists, strict=True):
                    codes |= np.array(flags, dtype=np.uint16) << bit
                return codes
        raise self._lost(prefix)

    def _lost(self, prefix: str) -> LookupUnavailable:
        """What to raise when the sets of a prefix are not what the rosters say."""
        self._ours_at = None
        (pointer,) = self._server.pipeline_read([("GET", redis_keys.current(self._campaign.profile))])
        if pointer != self._pointer:
            return RegisterReplaced("another load of the register was put in force meanwhile")
        self._losses.suspect(Suspicion(prefix, self._ours.names))
        self._losses.suspect(Suspicion(prefix, profile=self._campaign.profile))
        return ListsBehind(LOST)

    def _replies(self, commands: Iterable[bytes]) -> Iterator[Any]:
        """The replies to pairs of commands."""
        left = iter(commands)
        batches = iter(lambda: list(islice(left, _BATCH_COMMANDS)), [])
        packed = ((b"".join(batch), 2 * len(batch)) for batch in batches)
        return chain.from_iterable(self._server.stream_read(packed))


class _Rostered:
    """The lists of one roster, and what it says of the prefixes that were asked."""

    def __init__(self, roster: Roster, names: Sequence[str]) -> None:
        self.roster = roster
        self.names = tuple(map(str, names))
        self.keys = [_filled_in(partial(_key_argument, roster, name)) for name in self.names]
        """The key of each list, as Redis wants an argument, as a function of the prefix."""
        self._known: dict[bytes, tuple[int, ...]] = {}

    def forget(self) -> None:
        """The roster may have changed."""
        self._known.clear()

    def sizes(self, server: RedisServer, prefixes: Sequence[bytes]) -> NDArray[np.int64] | None:
        """How many members the set of each list must have, by prefix; None when the roster is lost."""
        unknown = [prefix.decode() for prefix in prefixes if prefix not in self._known]
        some = [unknown[start : start + _BATCH_PREFIXES] for start in range(0, len(unknown), _BATCH_PREFIXES)]
        replies = server.pipeline_read([("HMGET", self.roster.key, PREFIXES, *batch) for batch in some]) if some else ()
        for batch, (told, *entries) in zip(some, replies, strict=True):
            if not self.roster.bears_out((told, None), (), ()):
                return None
            for prefix, entry in zip(batch, entries, strict=True):
                named = sizes_in(entry)
                self._known[prefix.encode()] = tuple(named.get(name, 0) for name in self.names)
        return np.array([self._known[prefix] for prefix in prefixes], dtype=np.int64)


def _flags_of(replies: Sequence[Any], counts: Sequence[int]) -> Codes:
    """Every 0 and 1 of replies that hold so many each. Raises ``LookupUnavailable`` for anything else."""
    if all(reply.__class__ is list for reply in replies) and [len(reply) for reply in replies] == counts:
        flags = list(chain.from_iterable(replies))
        if set(map(type, flags)) <= {int} and set(flags) <= {0, 1}:
            return np.array(flags, dtype=np.uint16)
    raise LookupUnavailable(NO_ANSWER)


def _sizes_of(replies: Sequence[Any]) -> NDArray[np.int64]:
    """As ``_flags_of``, of replies that are sizes."""
    if all(map(is_size, replies)):
        return np.array(replies, dtype=np.int64)
    raise LookupUnavailable(NO_ANSWER)


def _key_argument(roster: Roster, name: str, prefix: str) -> bytes:
    raw = roster.set_key(prefix, name).encode()
    return b"$%d\r\n%b\r\n" % (len(raw), raw)


def _filled_in(text: Callable[[str], bytes]) -> Callable[[bytes], bytes]:
    """``text`` as a function of the prefix, made once for each length that a prefix has."""
    blank = cache(lambda digits: text(_BLANK * digits))
    return lambda prefix: blank(len(prefix)).replace(_BLANK.encode() * len(prefix), prefix)


def _arguments(suffixes: Numbers, sizes: Sequence[int]) -> Iterator[bytes]:
    """The members of each set, as arguments: of the first the first so many suffixes, and so on."""
    padded, start = _MEMBERS[suffixes].tobytes(), 0
    for size in sizes:
        end = start + size * _MEMBERS.itemsize
        yield padded[start:end].replace(b"\0", b"")
        start = end
