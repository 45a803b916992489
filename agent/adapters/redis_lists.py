"""The lists in Redis as the dial path reads them: one round trip for a call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from agent.adapters import redis_keys
from agent.adapters.redis_connection import RedisServer
from agent.adapters.redis_mark import AppliedMark
from agent.adapters.redis_values import generation_from_text
from agent.domain.deadline import Deadline
from agent.domain.errors import ListsBehind, LookupUnavailable
from agent.domain.journal_events import Mark
from agent.domain.model import Blocked, Campaign, Facts, Generation
from agent.domain.phone_number import PhoneNumber
from agent.domain.ports import JournalState

_SWITCHES_FOLLOWED: Final = 3


class RedisLists:
    """See ``agent.domain.ports.Lists``. ``mark_of`` asks the journal for a record's mark. Thread-safe."""

    def __init__(self, server: RedisServer, journal_id: str, mark_of: Callable[[int], Mark | None]) -> None:
        self._server = server
        self._mark = AppliedMark(journal_id, mark_of)
        self._known: dict[str, tuple[str, Generation]] = {}

    def facts(self, number: PhoneNumber, campaign: Campaign, journal: JournalState, deadline: Deadline) -> Facts:
        """See ``agent.domain.ports.Lists``.

        The order of the commands is what makes the answer sound without a transaction. The mark is read first:
        whatever it vouches for is in the sets read after it. The pointer is read last: a generation that is still in
        force then was complete all the while, for sets of a generation never change, and are freed only after it was
        replaced. When the pointer has moved since the last call, the lookup is made again for the new generation: a
        second round trip, once per thread pool and load.
        """
        for _ in range(_SWITCHES_FOLLOWED):
            known = self._known.get(campaign.profile)
            blocked = relevant_lists(campaign)
            replies = self._server.pipeline_read(
                _questions(number, campaign, blocked, known[1].id if known else None), deadline
            )
            applied = self._mark.seq(replies[0])
            if applied < journal.restriction_watermark:
                raise ListsBehind("Redis has not yet applied all that the journal holds")
            pointer: str | None = replies[-1]
            if pointer is not None and (known is None or pointer != known[0]):
                self._known[campaign.profile] = (pointer, generation_from_text(pointer))
                continue
            if pointer is None:
                self._known.pop(campaign.profile, None)
            in_force = known[1] if known and pointer is not None else None
            return _facts(replies, campaign, blocked, in_force, applied, journal)
        raise LookupUnavailable("the register's generation changes faster than it can be read")


def _questions(
    number: PhoneNumber, campaign: Campaign, blocked: tuple[Blocked, ...], generation: str | None
) -> list[tuple[str | int, ...]]:
    """The commands of one lookup; ``_facts`` reads their replies by position."""
    prefix, member, group = number.prefix, number.suffix, campaign.product_group or ""
    questions: list[tuple[str | int, ...]] = [
        ("GET", redis_keys.APPLIED),
        *(("SISMEMBER", redis_keys.optout_set(prefix, key), member) for key in campaign.seller.keys),
        *(("SISMEMBER", redis_keys.customer_set(prefix, key, group), member) for key in campaign.seller.keys),
    ]
    questions += [("SISMEMBER", redis_keys.own_set(prefix, campaign.profile, item), member) for item in blocked]
    if generation is not None:
        questions += [("SISMEMBER", redis_keys.register_set(prefix, generation, item), member) for item in blocked]
    questions.append(("GET", redis_keys.current(campaign.profile)))
    return questions


def relevant_lists(campaign: Campaign) -> tuple[Blocked, ...]:
    """The lists of the register that can matter to a campaign."""
    sector = () if campaign.sector is None else (Blocked(campaign.sector),)
    return (Blocked.ALL, Blocked.ALL_EXCEPT_CHARITIES, *sector)


def _facts(
    replies: Sequence[Any],
    campaign: Campaign,
    blocked: tuple[Blocked, ...],
    generation: Generation | None,
    applied: int,
    journal: JournalState,
) -> Facts:
    keys = len(campaign.seller.keys)
    optouts, customers, rest = replies[1 : 1 + keys], replies[1 + keys : 1 + 2 * keys], replies[1 + 2 * keys : -1]
    own, entry = rest[: len(blocked)], rest[len(blocked) :]
    return Facts(
        upto=applied,
        newest_at=journal.newest_at,
        generation=generation,
        register_entry=frozenset(item for item, listed in zip(blocked, entry, strict=False) if listed),
        own_registration=frozenset(item for item, listed in zip(blocked, own, strict=True) if listed),
        seller_optout=any(optouts),
        customer=any(customers),
    )
