"""The lists in Redis as a scrub reads them: many numbers at once, by the rules of ``redis_lists``.

The numbers of a chunk are sorted, so that those of one set stand together, and every set is asked once for all of its
numbers (SMISMEMBER). Most sets of most lists do not exist; that is asked first, by groups of lists (EXISTS), and
remembered for as long as Redis has applied nothing new.

What is asked of one chunk is sound for the reasons given in ``RedisLists.facts``: the mark is read first and the
pointer last, and both stand around the whole chunk. A pointer that has moved since the run began ends the run, for its
parts would rest on two registers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
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
_BATCH_COMMANDS: Final = 1_000
_MEMBERS: Final = [b"$%d\r\n%d\r\n" % (len(str(suffix)), suffix) for suffix in range(_SPAN)]
"""Every member as Redis wants an argument."""

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
    """See ``agent.scrub_ports.BulkRun``. A code has one bit for each list, in the order of ``_lists``."""

    def __init__(self, server: RedisServer, mark: AppliedMark, campaign: Campaign, pointer: str | None) -> None:
        self._server = server
        self._mark = mark
        self._campaign = campaign
        self._pointer = pointer
        self.generation: Generation | None = generation_from_text(pointer) if pointer is not None else None
        self._blocked = relevant_lists(campaign)
        self._lists = _lists(campaign, self.generation)
        first_entry = 2 + len(self._blocked)
        places = range(len(self._lists))
        self._groups = [
            group
            for group in (places[:first_entry], places[first_entry : first_entry + 1], places[first_entry + 1 :])
            if group
        ]
        """Our own lists, the register's longest list, its others: which of these exist is asked together."""
        self._held: dict[int, int] = {}
        """By prefix, the lists that may have a set of it, as a code; known while ``_held_at`` is the mark."""
        self._held_at: str | None = None

    def codes(self, numbers: Numbers, applied: int) -> Codes:
        """See ``agent.scrub_ports.BulkRun``."""
        distinct, places = np.unique(numbers, return_inverse=True)
        prefixes, starts = np.unique(distinct // np.uint64(_SPAN), return_index=True)
        ends = [*starts[1:].tolist(), len(distinct)]
        self._require_applied(applied)
        held = self._sets_of(prefixes.tolist())
        codes = self._ask(distinct, prefixes.tolist(), starts.tolist(), ends, held)
        if self._current() != self._pointer:
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

    def _sets_of(self, prefixes: Sequence[int]) -> list[int]:
        """For each prefix the lists that may have a set of it: all of a group when one of them has."""
        unknown = [prefix for prefix in prefixes if prefix not in self._held]
        commands = (
            b"*%d\r\n$6\r\nEXISTS\r\n" % (len(group) + 1)
            + b"".join(_argument(self._lists[bit](str(prefix))) for bit in group)
            for prefix in unknown
            for group in self._groups
        )
        masks = [sum(1 << bit for bit in group) for group in self._groups]
        replies = (reply for batch in self._server.stream_read(_batches(commands)) for reply in batch)
        for prefix in unknown:
            found = islice(replies, len(masks))
            self._held[prefix] = sum(mask for mask, count in zip(masks, found, strict=True) if count)
        return [self._held[prefix] for prefix in prefixes]

    def _ask(
        self, distinct: Numbers, prefixes: Sequence[int], starts: Sequence[int], ends: Sequence[int], held: list[int]
    ) -> Codes:
        """Which lists hold each of the ``distinct`` numbers; those of a prefix stand from its start to its end."""
        suffixes = (distinct % np.uint64(_SPAN)).tolist()
        codes = np.zeros(len(distinct), dtype=np.uint16)

        def commands() -> Iterator[bytes]:
            for prefix, start, end, sets in zip(prefixes, starts, ends, held, strict=True):
                if not sets:
                    continue
                members = b"".join([_MEMBERS[suffix] for suffix in suffixes[start:end]])
                head = b"*%d\r\n$10\r\nSMISMEMBER\r\n" % (end - start + 2)
                for bit, name in enumerate(self._lists):
                    if sets >> bit & 1:
                        yield head + _argument(name(str(prefix))) + members

        asked = (
            (start, end, bit)
            for start, end, sets in zip(starts, ends, held, strict=True)
            for bit in range(len(self._lists))
            if sets >> bit & 1
        )
        for batch in self._server.stream_read(_batches(commands())):
            for reply, (start, end, bit) in zip(batch, asked, strict=False):
                codes[start:end] |= np.array(reply, dtype=np.uint16) << np.uint16(bit)
        return codes


def _lists(campaign: Campaign, generation: Generation | None) -> tuple[Callable[[str], str], ...]:
    """The key of each list that matters to a campaign, as a function of the prefix."""
    seller, blocked = campaign.seller.key, relevant_lists(campaign)
    names: list[Callable[[str], str]] = [
        partial(redis_keys.optout_set, seller=seller),
        partial(redis_keys.customer_set, seller=seller, product_group=campaign.product_group or ""),
    ]
    names += [partial(redis_keys.own_set, profile=campaign.profile, blocked=item) for item in blocked]
    if generation is not None:
        names += [partial(redis_keys.register_set, generation=generation.id, blocked=item) for item in blocked]
    return tuple(names)


def _argument(text: str) -> bytes:
    raw = text.encode()
    return b"$%d\r\n%b\r\n" % (len(raw), raw)


def _batches(commands: Iterator[bytes]) -> Iterator[tuple[bytes, int]]:
    """Commands in groups, each as one text with how many they are."""
    while batch := list(islice(commands, _BATCH_COMMANDS)):
        yield b"".join(batch), len(batch)
