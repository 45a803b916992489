"""The lists in Redis as a scrub reads them: many numbers at once, by the rules of ``redis_lists``.

The numbers of a chunk are sorted, so that those of one set stand together, and every set is asked once for all of its
numbers (SMISMEMBER). Of most lists most sets do not exist; that is asked first, by groups of lists (EXISTS), and
remembered for as long as Redis has applied nothing new. The register's longest list is asked straight away: it has
nearly all of its sets.

There may be nearly as many sets as numbers, so a command is not put together for each of them: it is that for a blank
prefix, with the prefix filled in.

What is asked of one chunk is sound for the reasons given in ``RedisLists.facts``: the mark is read first and the
pointer last, and both stand around the whole chunk. A pointer that has moved since the run began ends the run, for its
parts would rest on two registers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, partial
from itertools import chain, islice
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from agent.adapters import redis_keys
from agent.adapters.redis_connection import RedisServer
from agent.adapters.redis_lists import relevant_lists
from agent.adapters.redis_mark import AppliedMark
from agent.adapters.redis_values import generation_from_text
from agent.domain.errors import ListsBehind, RegisterReplaced
from agent.domain.journal_events import Mark
from agent.domain.model import Campaign, Facts, Generation
from agent.domain.phone_number import SUFFIX_DIGITS

_SPAN: Final = 10**SUFFIX_DIGITS
_BATCH_COMMANDS: Final = 250
"""Of few numbers each they fit into a socket's buffer, so that Redis is at work while the next ones are made."""
_MEMBERS: Final = np.array([b"$%d\r\n%d\r\n" % (len(str(suffix)), suffix) for suffix in range(_SPAN)])
"""Every member as Redis wants an argument, filled up with NUL to the same length."""
_BLANK: Final = "\0"
"""Stands for each digit of a prefix; no key holds it."""

Codes = NDArray[np.uint16]
Numbers = NDArray[np.uint64]


class RedisBulkLists:
    """See ``agent.scrub_ports.BulkLists``. ``mark_of`` asks the journal for a record's mark."""

    def __init__(self, server: RedisServer, journal_id: str, mark_of: Callable[[int], Mark | None]) -> None:
        self._server = server
        self._mark = AppliedMark(journal_id, mark_of)

    def begin(self, campaign: Campaign) -> RedisBulkRun:
        """See ``agent.scrub_ports.BulkLists``."""
        self._server.require_no_eviction()
        (pointer,) = self._server.pipeline_read([("GET", redis_keys.current(campaign.profile))])
        return RedisBulkRun(self._server, self._mark, campaign, pointer)


class RedisBulkRun:
    """See ``agent.scrub_ports.BulkRun``. A code has a bit for each kind of list, in the order of ``_lists``."""

    def __init__(self, server: RedisServer, mark: AppliedMark, campaign: Campaign, pointer: str | None) -> None:
        self._server = server
        self._mark = mark
        self._campaign = campaign
        self._pointer = pointer
        self.generation: Generation | None = generation_from_text(pointer) if pointer is not None else None
        self._blocked = relevant_lists(campaign)
        kinds = _lists(campaign, self.generation)
        self._lists = [one for kind in kinds for one in kind]
        self._bits = [bit for bit, kind in enumerate(kinds) for _ in kind]
        """The bit of each list in a code: the opt-outs of all of a seller's keys share one, and so do its customers."""
        places, longest = range(len(self._lists)), 2 * len(campaign.seller.keys) + len(self._blocked)
        self._groups = [group for group in (places[:longest], places[longest + 1 :]) if group]
        """Our own lists, and the register's but its longest: which of these exist is asked together."""
        self._always = sum(1 << place for place in places[longest : longest + 1])
        """The register's longest list, where there is one, as in ``_held``."""
        self._keys = [_filled_in(key) for key in self._lists]
        self._exist = _filled_in(self._exist_commands)
        self._held: dict[bytes, int] = {}
        """By prefix, the lists that may have a set of it, a bit for each; known while ``_held_at`` is the mark."""
        self._held_at: str | None = None

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
            self._held_at = None  # brought forward again, it may have the same mark
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
        if mark != self._held_at:
            self._held.clear()
            self._held_at = mark

    def _current(self) -> Any:
        return self._server.pipeline_read([("GET", redis_keys.current(self._campaign.profile))])[0]

    def _exist_commands(self, prefix: str) -> bytes:
        """For each group, which of its lists have a set of this prefix."""
        groups = [[self._lists[place](prefix) for place in group] for group in self._groups]
        return b"".join(b"*%d\r\n$6\r\nEXISTS\r\n%b" % (len(keys) + 1, b"".join(keys)) for keys in groups)

    def _sets_of(self, prefixes: Sequence[bytes]) -> NDArray[np.uint32]:
        """For each prefix the lists that may have a set of it: all of a group when one of them has."""
        unknown = [prefix for prefix in prefixes if prefix not in self._held]
        counts = self._replies(map(self._exist, unknown), len(self._groups))
        exist = np.fromiter(counts, dtype=np.uint16).reshape(len(unknown), len(self._groups)) > 0
        masks = np.array([sum(1 << place for place in group) for group in self._groups], dtype=np.uint32)
        self._held.update(zip(unknown, (exist @ masks | self._always).tolist(), strict=True))
        return np.array([self._held[prefix] for prefix in prefixes], dtype=np.uint32)

    def _ask(self, distinct: Numbers, starts: NDArray[np.intp], prefixes: Sequence[bytes]) -> Codes:
        """Which lists hold each of the ``distinct`` numbers; those of a prefix stand from its start to the next one."""
        held, sizes = self._sets_of(prefixes), np.diff(starts, append=len(distinct))
        asked = [held >> place & 1 == 1 for place in range(len(self._lists))]
        members = list(_arguments(distinct % np.uint64(_SPAN), sizes.tolist()))
        commands = (
            b"*%d\r\n$10\r\nSMISMEMBER\r\n%b%b" % (sizes[place] + 2, key(prefixes[place]), members[place])
            for key, of_list in zip(self._keys, asked, strict=True)
            for place in np.flatnonzero(of_list).tolist()
        )
        answers = np.fromiter(chain.from_iterable(self._replies(commands, 1)), dtype=np.uint16)
        codes, done = np.zeros(len(distinct), dtype=np.uint16), 0
        for bit, of_list in zip(self._bits, asked, strict=True):
            rows = np.flatnonzero(np.repeat(of_list, sizes))
            codes[rows] |= answers[done : done + len(rows)] << bit
            done += len(rows)
        return codes

    def _replies(self, commands: Iterable[bytes], each: int) -> Iterator[Any]:
        """The replies to ``commands``, of which every item holds ``each``."""
        left = iter(commands)
        batches = iter(lambda: list(islice(left, _BATCH_COMMANDS)), [])
        packed = ((b"".join(batch), len(batch) * each) for batch in batches)
        return chain.from_iterable(self._server.stream_read(packed))


def _lists(campaign: Campaign, generation: Generation | None) -> list[list[Callable[[str], bytes]]]:
    """The key of each list that matters to a campaign, as Redis wants an argument, as a function of the prefix.

    Lists that say the same of a number stand together; of most kinds there is one list.
    """
    seller, blocked, group = campaign.seller, relevant_lists(campaign), campaign.product_group or ""
    kinds: list[list[Callable[[str], str]]] = [
        [partial(redis_keys.optout_set, seller=key) for key in seller.keys],
        [partial(redis_keys.customer_set, seller=key, product_group=group) for key in seller.keys],
    ]
    kinds += [[partial(redis_keys.own_set, profile=campaign.profile, blocked=item)] for item in blocked]
    if generation is not None:
        kinds += [[partial(redis_keys.register_set, generation=generation.id, blocked=item)] for item in blocked]
    return [[partial(_key_argument, name) for name in kind] for kind in kinds]


def _key_argument(name: Callable[[str], str], prefix: str) -> bytes:
    raw = name(prefix).encode()
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
