"""Whether Redis answers, has room, and has all that it should have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from agent.domain.condition import Loss
from agent.domain.errors import JournalUnavailable, LookupUnavailable
from agent.domain.wording import counted
from agent.site import Finding, Site, State, needed_profiles

_MB: Final = 1_000_000
_LOST: Final = {
    Loss.LISTS: ("the lists of opt-outs, customers and registrations", "bmn serve applies all of the journal again"),
    Loss.REGISTER: ("the register in force", "bmn serve loads it again, where its files still are where they were"),
}


def check_redis(site: Site) -> Iterator[Finding]:
    """Whether it answers, and may be believed."""
    try:
        site.server.require_no_eviction()
        packed = site.server.packs_our_sets()
    except LookupUnavailable as error:
        todo = "start Redis with the settings of deploy/redis.conf, or correct redis.url"
        yield Finding(check="redis", state=State.PROBLEM, what=str(error), todo=todo)
        return
    yield Finding(check="redis", state=State.OK, what="answers, and never evicts our numbers")
    todo = "set it to 10000 or more, as in deploy/redis.conf"
    if packed is None:
        what = "does not tell set-max-intset-entries, for CONFIG is forbidden"
        yield Finding(check="redis", state=State.WARNING, what=what, todo=todo)
    elif not packed:
        what = "set-max-intset-entries is too low: the register takes many times the memory"
        yield Finding(check="redis", state=State.WARNING, what=what, todo=todo)


def check_redis_memory(site: Site) -> Iterator[Finding]:
    """The next load stands beside the one in force until it is whole."""
    try:
        memory = site.server.memory()
        current = [site.generations.current(profile.key) for profile in needed_profiles(site)]
        sizes = [site.generations.memory(item.id) for item in current if item is not None]
    except LookupUnavailable:  # told by the check of Redis
        return
    needed = max((size for size in sizes if size is not None), default=0)
    if memory.limit and memory.used + needed > memory.limit:
        limit = "maxmemory is" if memory.limited else "the machine has"
        what = (
            f"has no room for the next load: {memory.used / _MB:,.0f} MB used, the load in force takes "
            f"{needed / _MB:,.0f} MB, and {limit} {memory.limit / _MB:,.0f} MB"
        )
        todo = "raise maxmemory" if memory.limited else "give the machine more memory"
        yield Finding(check="redis", state=State.WARNING, what=what, todo=f"{todo}, or keep fewer other things there")


def check_lists(site: Site) -> Iterator[Finding]:
    """Whether every set is there that should be, with all its members: all of them are looked at."""
    try:
        found = site.audited() if site.journal_opens() else None
    except (JournalUnavailable, LookupUnavailable):  # reported by the checks of the journal, Redis and the outbox
        return
    if found is None:
        return
    for loss in sorted(found.losses):
        what, todo = _LOST[loss]
        yield Finding(
            check="lists",
            state=State.PROBLEM,
            what=f"Redis lost a part of {what}, or holds what an older version wrote: calls that need it are blocked",
            todo=f"{todo}; bmn rebuild does it now",
        )
    if found.expiring:
        what = f"{counted(found.expiring, 'key')} in Redis would expire, and calls be blocked then"
        todo = "bmn serve makes them stay; find out who gives our keys a time to live"
        yield Finding(check="lists", state=State.WARNING, what=what, todo=todo)
    if not found.losses and not found.expiring:
        yield Finding(check="lists", state=State.OK, what="Redis has every set that it should have, whole")
