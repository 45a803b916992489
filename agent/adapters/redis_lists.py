"""The lists in Redis as the dial path reads them: one round trip for a call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

from agent.adapters import redis_keys
from agent.adapters.redis_commands import Command, Reading, reading
from agent.adapters.redis_connection import RedisServer
from agent.adapters.redis_losses import LOST, RedisLosses, Suspicion
from agent.adapters.redis_mark import AppliedMark
from agent.adapters.redis_rosters import LISTS, LOOKS, Roster, of_generation
from agent.adapters.redis_values import generation_from_text, rostered_of
from agent.domain.deadline import Deadline
from agent.domain.errors import ListsBehind, LookupUnavailable
from agent.domain.journal_events import Mark
from agent.domain.model import Blocked, Campaign, Facts, Generation
from agent.domain.phone_number import PhoneNumber
from agent.domain.ports import JournalState

_PREFIX_DIGIT: Final = b"\1"
_MEMBER: Final = b"$1\r\n\2\r\n"
"""These stand in a question for what differs from call to call; no key holds such characters."""


@dataclass(frozen=True, slots=True)
class _Known:
    """The generation in force, as a pointer told it."""

    pointer: str
    generation: Generation
    roster: Roster


@dataclass(frozen=True, slots=True)
class _Question:
    """What is asked of every number of a campaign with a prefix of a certain length, while one generation is in force.

    The replies: the mark, whether each set has the number, how many it has, the rosters, the pointer.
    """

    campaign: Campaign
    known: _Known | None
    reading: Reading
    names: tuple[str, ...]
    """Of the sets that the outbox writes: opt-outs, customers, and own registrations by ``blocked``."""
    blocked: tuple[Blocked, ...]

    def of(self, number: PhoneNumber) -> Reading:
        """With the number filled in."""
        prefix, member = number.prefix, b"%d" % number.suffix
        packed = self.reading.packed.replace(_PREFIX_DIGIT * len(prefix), prefix.encode())
        return Reading(packed.replace(_MEMBER, b"$%d\r\n%b\r\n" % (len(member), member)), self.reading.checks)

    @property
    def sets(self) -> int:
        """How many sets are asked."""
        return len(self.names) + (len(self.blocked) if self.known else 0)

    def is_whole(self, replies: Sequence[Any]) -> bool:
        """Whether the sets are what the rosters say."""
        own, sets = len(self.names), self.sets
        sizes, rosters = replies[1 + sets : 1 + 2 * sets], replies[1 + 2 * sets : -1]
        if not LISTS.bears_out(rosters[0], self.names, sizes[:own]):
            return False
        return self.known is None or self.known.roster.bears_out(rosters[1], self.blocked, sizes[own:])

    def facts(self, replies: Sequence[Any], applied: int, journal: JournalState) -> Facts:
        """What they say."""
        keys, own = len(self.campaign.seller.keys), 1 + len(self.names)
        optouts, customers = replies[1 : 1 + keys], replies[1 + keys : 1 + 2 * keys]
        registered, entries = replies[1 + 2 * keys : own], replies[own : 1 + self.sets]
        return Facts(
            upto=applied,
            newest_at=journal.newest_at,
            generation=self.known.generation if self.known else None,
            register_entry=frozenset(item for item, listed in zip(self.blocked, entries, strict=False) if listed),
            own_registration=frozenset(item for item, listed in zip(self.blocked, registered, strict=True) if listed),
            seller_optout=any(optouts),
            customer=any(customers),
        )


class RedisLists:
    """See ``agent.domain.ports.Lists``. ``mark_of`` asks the journal for a record's mark. Thread-safe."""

    def __init__(
        self, server: RedisServer, journal_id: str, mark_of: Callable[[int], Mark | None], losses: RedisLosses
    ) -> None:
        self._server = server
        self._mark = AppliedMark(journal_id, mark_of)
        self._losses = losses
        self._known: dict[str, _Known] = {}
        self._questions: dict[tuple[str, int], _Question] = {}
        """By campaign and length of the prefix."""

    def facts(self, number: PhoneNumber, campaign: Campaign, journal: JournalState, deadline: Deadline) -> Facts:
        """See ``agent.domain.ports.Lists``.

        The order of the commands is what makes the answer sound without a transaction. The mark is read first:
        whatever it vouches for is in the sets read after it. The sizes are read after the memberships: a set that is
        whole then was whole when it was asked. The pointer is read last: a generation that is still in force then was
        complete all the while, for sets of a generation never change, and are freed only after it was replaced.

        When the pointer has moved since the last call, or a size is not what the roster says, the lookup is made again:
        a second round trip, once per thread pool and load, and where a set was changed just then. A size that stays
        wrong is a loss: the lists are behind until the outbox has looked into it.
        """
        moved = False
        for _ in range(LOOKS):
            question = self._question(campaign, len(number.prefix))
            replies = self._server.ask(question.of(number), deadline)
            applied = self._mark.seq(replies[0])
            if applied < journal.restriction_watermark:
                raise ListsBehind("Redis has not yet applied all that the journal holds")
            pointer: str | None = replies[-1]
            moved = pointer != (question.known.pointer if question.known else None)
            if moved:
                self._learn(campaign.profile, pointer)
            elif question.is_whole(replies):
                return question.facts(replies, applied, journal)
        if moved:
            raise LookupUnavailable("the register's generation changes faster than it can be read")
        self._losses.suspect(Suspicion(number.prefix, question.names))
        self._losses.suspect(Suspicion(number.prefix, profile=campaign.profile))
        raise ListsBehind(LOST)

    def _learn(self, profile: str, pointer: str | None) -> None:
        if pointer is None:
            self._known.pop(profile, None)
            return
        generation = generation_from_text(pointer)
        self._known[profile] = _Known(pointer, generation, of_generation(generation.id, rostered_of(pointer)))

    def _question(self, campaign: Campaign, digits: int) -> _Question:
        known, asked = self._known.get(campaign.profile), self._questions.get((campaign.key, digits))
        if asked is None or asked.known is not known or asked.campaign is not campaign:
            asked = _question(campaign, known, digits)
            self._questions[campaign.key, digits] = asked
        return asked


def _question(campaign: Campaign, known: _Known | None, digits: int) -> _Question:
    prefix, member, blocked = "\1" * digits, "\2", relevant_lists(campaign)
    names = tuple(chain.from_iterable(list_names(campaign)))
    keys = [redis_keys.list_set(prefix, name) for name in names]
    rosters = [LISTS.question(prefix)]
    if known is not None:
        keys += [known.roster.set_key(prefix, item) for item in blocked]
        rosters.append(known.roster.question(prefix))
    commands: list[Command] = [
        ("GET", redis_keys.APPLIED),
        *(("SISMEMBER", key, member) for key in keys),
        *(("SCARD", key) for key in keys),
        *rosters,
        ("GET", redis_keys.current(campaign.profile)),
    ]
    return _Question(campaign, known, reading(commands), names, blocked)


def relevant_lists(campaign: Campaign) -> tuple[Blocked, ...]:
    """The lists of the register that can matter to a campaign."""
    sector = () if campaign.sector is None else (Blocked(campaign.sector),)
    return (Blocked.ALL, Blocked.ALL_EXCEPT_CHARITIES, *sector)


def list_names(campaign: Campaign) -> list[list[str]]:
    """The lists that the outbox writes and that matter to a campaign: opt-outs, customers, own registrations.

    Lists that say the same of a number stand together; of most kinds there is one list.
    """
    keys, group = campaign.seller.keys, campaign.product_group or ""
    return [
        [redis_keys.optout_name(key) for key in keys],
        [redis_keys.customer_name(key, group) for key in keys],
        *([redis_keys.own_name(campaign.profile, item)] for item in relevant_lists(campaign)),
    ]
