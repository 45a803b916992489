"""Whether what runs here runs well: the clock, the service, the outbox, and registrations that are due."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from agent.domain.clock import CLOCK_TOLERANCE, behind, is_behind
from agent.domain.condition import ServiceUnavailable
from agent.domain.errors import JournalUnavailable, LookupUnavailable
from agent.domain.registration import Due
from agent.domain.wording import counted
from agent.site import Finding, Site, State

_DRIFT: Final = timedelta(seconds=5)
"""More than clocks that are kept differ."""
_LATE: Final = timedelta(minutes=1)
"""What waits longer in the outbox waits for somebody to help."""
_SET_CLOCK: Final = "have the clock kept right: timedatectl set-ntp true, or chrony"


def check_clock(site: Site) -> Iterator[Finding]:
    """Of this machine, against that of Redis and the newest record: periods and evidence hang on it."""
    now = site.clock()
    found = [*_own_clock(site), *_redis_clock(site, now), *_journal_clock(site, now)]
    yield from found
    if not found:
        yield Finding(check="clock", state=State.OK, what="is kept right, and agrees with Redis and the journal")


def _own_clock(site: Site) -> Iterator[Finding]:
    match site.synchronised():
        case False:
            what = "of this machine is not synchronised"
            yield Finding(check="clock", state=State.WARNING, what=what, todo=_SET_CLOCK)
        case None:
            what = "does not say whether it is synchronised"
            yield Finding(check="clock", state=State.WARNING, what=what, todo="see for yourself: timedatectl")
        case True:
            return


def _redis_clock(site: Site, now: datetime) -> Iterator[Finding]:
    try:
        ahead = site.server.time() - now
    except LookupUnavailable:  # told by the check of Redis
        return
    if abs(ahead) > _DRIFT:
        state = State.PROBLEM if abs(ahead) > CLOCK_TOLERANCE else State.WARNING
        way = "ahead of" if ahead > timedelta() else "behind"
        what = f"of Redis is {abs(ahead).total_seconds():.0f} s {way} this one"
        yield Finding(check="clock", state=state, what=what, todo=f"{_SET_CLOCK}, on both hosts")


def _journal_clock(site: Site, now: datetime) -> Iterator[Finding]:
    try:
        newest_at = site.journal_condition().newest_at if site.journal_opens() else None
    except JournalUnavailable:  # told by the check of the journal
        return
    if newest_at is None or newest_at <= now + _DRIFT:
        return
    if is_behind(now, newest_at):
        what = f"calls are blocked (clock_unsound): {behind(now, newest_at)}"
        yield Finding(check="clock", state=State.PROBLEM, what=what, todo=_SET_CLOCK)
        return
    what = f"was set back: the journal holds a record of {newest_at.isoformat(timespec='seconds')}"
    yield Finding(check="clock", state=State.PROBLEM, what=what, todo=_SET_CLOCK)


def check_service(site: Site) -> Iterator[Finding]:
    """Ask as Asterisk would."""
    where = f"{site.listen[0]}:{site.listen[1]}"
    try:
        well = site.service_is_well()
    except ServiceUnavailable as error:
        todo = "start it: systemctl start bmn, or bmn serve; classic AGI scripts alone need none"
        what = f"does not answer on {where} (agi.listen): {error}"
        yield Finding(check="service", state=State.WARNING, what=what, todo=todo)
        return
    yield from _service_numbering(site)
    if well:
        yield Finding(check="service", state=State.OK, what=f"answers on {where}, and is well")
    else:
        what = f"answers on {where}, and is degraded: calls may be blocked"
        yield Finding(check="service", state=State.PROBLEM, what=what, todo="see the other findings, and its log")


def _service_numbering(site: Site) -> Iterator[Finding]:
    """A service goes on with what it was started with, whatever was installed since."""
    try:
        running = site.service_numbering() if site.journal_opens() else None
    except JournalUnavailable:
        return
    if running not in (None, site.numbering):
        what = f"reads numbers with phonenumbers {running}, and the commands with {site.numbering}"
        todo = "restart it: systemctl restart bmn"
        yield Finding(check="service", state=State.WARNING, what=what, todo=todo)


def check_outbox(site: Site) -> Iterator[Finding]:
    """What was recorded and does not protect anybody yet."""
    try:
        if not site.journal_opens():
            return
        waiting = site.waiting()
    except JournalUnavailable:
        return
    except LookupUnavailable as error:
        todo = "see what redis needs; bmn rebuild fills lists that were lost"
        yield Finding(check="outbox", state=State.PROBLEM, what=f"not known: {error}", todo=todo)
        return
    if waiting.since is None:
        yield Finding(check="outbox", state=State.OK, what="is empty: Redis holds all that the journal does")
        return
    age = site.clock() - waiting.since
    what = f"{counted(waiting.changes, 'change')} not in Redis yet, the oldest for {age.total_seconds():,.0f} s"
    state = State.PROBLEM if age > _LATE else State.WARNING
    todo = "bmn serve brings it forward; bmn rebuild does it now"
    yield Finding(check="outbox", state=state, what=what, todo=todo)


def check_calls(site: Site) -> Iterator[Finding]:
    """Calls of which nobody knows what became of them."""
    try:
        unended = site.journal_condition().unended if site.journal_opens() else 0
    except JournalUnavailable:  # told by the check of the journal
        return
    if unended:
        what = (
            f"{counted(unended, 'allowed call')} of the last day got no end: were they dialled, was anything offered?"
        )
        todo = "bmn log --without-end --since 1d; see that the dialplan runs bmn-finish, and that the service was up"
        yield Finding(check="calls", state=State.WARNING, what=what, todo=todo)
    else:
        yield Finding(check="calls", state=State.OK, what="each allowed call of the last day has an end, or goes on")


def check_registrations(site: Site) -> Iterator[Finding]:
    """What consumers asked for and the registrar must have in time."""
    try:
        if not site.journal_opens():
            return
        undelivered = site.undelivered()
    except JournalUnavailable:
        return
    now = site.clock()
    late = [item.due for item in undelivered if Due.of(item.due - now) is Due.OVERDUE]
    soon = [item.due for item in undelivered if Due.of(item.due - now).is_near]
    todo = "bmn registrations export FILE, and hand it to the registrar"
    if late:
        what = f"{counted(len(late), 'registration')} past the time in which the registrar must have them"
        yield Finding(check="registrations", state=State.PROBLEM, what=what, todo=todo)
    if soon:
        what = f"{counted(len(soon), 'registration')} due soon, the first on {min(soon).astimezone():%Y-%m-%d}"
        yield Finding(check="registrations", state=State.WARNING, what=what, todo=todo)
    if not late and not soon:
        what = f"{counted(len(undelivered), 'registration')} to hand over, none due soon"
        yield Finding(check="registrations", state=State.OK, what=what)
