"""What ``bmn doctor`` looks at, wired."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Final

from agent.adapters.agi_health import ask_health
from agent.adapters.asterisk_console import AsteriskConsole
from agent.adapters.journal_check import opens
from agent.adapters.journal_condition import condition_of
from agent.adapters.journal_numbering import service_numbering, unread
from agent.adapters.journal_objections import sellers_on_record
from agent.adapters.journal_views import JournalCalls
from agent.adapters.redis_audit import RedisAudit
from agent.adapters.redis_connection import RedisServer
from agent.adapters.redis_generations import RedisGenerations
from agent.adapters.redis_list_changes import RedisListChanges
from agent.adapters.redis_losses import RedisLosses
from agent.adapters.sound_files import SoundFiles
from agent.adapters.sqlite_journal import SqliteJournal
from agent.adapters.system_clock import synchronised
from agent.bootstrap import now_utc, redis_of, registrations_of
from agent.config import Settings
from agent.domain.condition import Audited, ExpectedDialplan, Undelivered, Waiting
from agent.domain.phone_number import NUMBERING
from agent.domain.profile import PROFILES
from agent.domain.register_history import register_history
from agent.site import Site

_WAITING_COUNTED: Final = 1_000


@contextmanager
def survey(settings: Settings, dialplan: ExpectedDialplan, asterisk: Sequence[str]) -> Iterator[Site]:
    """Wire what ``agent.health_checks`` looks at. Nothing is opened or made: that is for the checks to try.

    ``asterisk`` is the command that reaches its console; empty when there is none.
    """
    redis = redis_of(settings)
    path, key_path = settings.journal.path, settings.journal.key_path
    try:
        yield Site(
            campaigns=settings.domain_campaigns(),
            profiles=PROFILES,
            journal_opens=partial(opens, path, key_path),
            journal_condition=partial(condition_of, path, key_path),
            waiting=partial(_waiting, settings, redis),
            undelivered=partial(_undelivered, settings),
            sellers_on_record=partial(
                sellers_on_record,
                path,
                key_path,
                settings.domain_campaigns().values(),
                settings.assigned_sellers(),
                settings.sellers,
            ),
            unread=partial(unread, path, key_path, NUMBERING),
            service_numbering=partial(service_numbering, path, key_path),
            numbering=NUMBERING,
            in_force=partial(_in_force, settings),
            audited=partial(_audited, settings, redis),
            server=redis,
            generations=RedisGenerations(redis),
            sounds=SoundFiles(settings.sounds.folder),
            asterisk=AsteriskConsole(asterisk) if asterisk else None,
            service_is_well=partial(_service_is_well, settings, dialplan),
            listen=settings.agi.listen,
            synchronised=synchronised,
            dialplan=dialplan,
            clock=now_utc,
        )
    finally:
        redis.close()


def _service_is_well(settings: Settings, dialplan: ExpectedDialplan) -> bool:
    return ask_health(settings.agi.listen, dialplan.health_script, dialplan.health_variable) == dialplan.health_ok


def _waiting(settings: Settings, redis: RedisServer) -> Waiting:
    with SqliteJournal(settings.journal.path, settings.journal.key_path, create=False, progress=None) as journal:
        losses = RedisLosses(redis, journal.id, lambda _: None)
        mark = RedisListChanges(redis, journal.id, journal.mark, losses).applied()
        known = mark is not None and journal.mark(mark.seq) == mark
        records = journal.list_changes(mark.seq if mark is not None and known else 0, _WAITING_COUNTED)
    return Waiting(changes=len(records), since=records[0].at if records else None)


def _in_force(settings: Settings, profile: str) -> str | None:
    with SqliteJournal(settings.journal.path, settings.journal.key_path, create=False, progress=None) as journal:
        loaded = register_history(journal.register_changes(profile)).in_force
    return None if loaded is None else str(loaded.body["generation"])


def _audited(settings: Settings, redis: RedisServer) -> Audited | None:
    with SqliteJournal(settings.journal.path, settings.journal.key_path, create=False, progress=None) as journal:
        losses = RedisLosses(redis, journal.id, lambda _: None)
    steps = list(RedisAudit(redis, journal.id, losses, PROFILES, mend=False).steps())
    if not steps:
        return None
    lost = frozenset(step.loss for step in steps if step.loss is not None)
    return Audited(losses=lost, expiring=sum(step.expiring for step in steps))


def _undelivered(settings: Settings) -> list[Undelivered]:
    with SqliteJournal(settings.journal.path, settings.journal.key_path, create=False, progress=None) as journal:
        registrations = registrations_of(settings, journal, JournalCalls(journal), "")
        return [Undelivered(due=registrations.due(item)) for item in registrations.all() if item.is_undelivered]
