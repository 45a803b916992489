"""The composition root: everything is wired here, by hand, once."""

from __future__ import annotations

import getpass
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Self

from agent import logs
from agent.adapters.call_ids import new_call_id
from agent.adapters.journal_history import JournalHistory
from agent.adapters.journal_objections import JournalObjections
from agent.adapters.journal_views import JournalCalls, JournalSellerLists
from agent.adapters.redis_connection import RedisServer
from agent.adapters.redis_generations import RedisGenerations
from agent.adapters.redis_list_changes import RedisListChanges
from agent.adapters.redis_lists import RedisLists
from agent.adapters.redis_losses import RedisLosses
from agent.adapters.redis_memberships import RedisMemberships
from agent.adapters.registration_files import CsvRegistrationFiles
from agent.adapters.sound_files import SoundFiles
from agent.adapters.sqlite_journal import SqliteJournal
from agent.adapters.system_clock import synchronised
from agent.choices import Choices
from agent.clock_keeping import ClockKeeping
from agent.config import Settings
from agent.conversation import Notices
from agent.domain.condition import Loss
from agent.domain.model import Campaign
from agent.domain.phone_number import NUMBERING
from agent.domain.ports import Progress
from agent.domain.profile import PROFILES
from agent.domain.watch import Watch
from agent.explaining import Explaining
from agent.finishing import Finishing
from agent.generation_keeping import GenerationKeeping
from agent.outbox import Outbox
from agent.registers import Registers
from agent.registrations import Registrations
from agent.screening import Screening
from agent.scrub_checks import ScrubChecks
from agent.seller_lists import SellerLists
from agent.unassigned_objections import UnassignedObjections

if TYPE_CHECKING:
    from agent.evidence import Evidence
    from agent.register_loading import RegisterLoading
    from agent.retention import Retention
    from agent.scrubbing import Scrubbing


def now_utc() -> datetime:
    """The clock of this system: aware UTC."""
    return datetime.now(UTC)


def _tell_loss(watch: Watch, loss: Loss) -> None:
    logs.logger().error(logs.LISTS_LOST, what=loss)
    watch.redis_lost(loss)


def _log_restart(why: str) -> None:
    logs.logger().error(logs.OUTBOX_RESTARTED, why=why)


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """The use cases, wired. Close it, or use it as a context manager."""

    settings: Settings
    campaigns: Mapping[str, Campaign]
    journal: SqliteJournal
    history: JournalHistory
    redis: RedisServer
    losses: RedisLosses
    outbox: Outbox
    unassigned: UnassignedObjections
    screening: Screening
    registers: Registers
    seller_lists: SellerLists
    choices: Choices
    notices: Notices
    finishing: Finishing
    registrations: Registrations
    scrub_checks: ScrubChecks
    clock_keeping: ClockKeeping
    by: str
    """The system user on whose behalf this process runs."""
    watch: Watch
    """Told what happens."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Write what is queued for the journal and close all connections."""
        if lost := self.journal.close():
            logs.logger().error(logs.RECORDS_LOST, count=lost)
        self.redis.close()


def bootstrap(
    settings: Settings,
    progress: Progress | None = lambda *_: None,
    watch: Watch | None = None,
    *,
    create_journal: bool = True,
) -> Application:
    """Wire everything, to tell ``watch`` what happens. Raises ``JournalUnavailable``; Redis is not contacted yet.

    ``progress`` hears of it when the journal of an older version is brought up to date, which may take a while; with
    None, that is not done and ``JournalOutdated`` raised.
    """
    watch, place = watch or Watch(), settings.journal
    journal = SqliteJournal(place.path, place.key_path, create=create_journal, progress=progress, watch=watch)
    redis = redis_of(settings, watch)
    calls = JournalCalls(journal)
    losses = RedisLosses(redis, journal.id, partial(_tell_loss, watch))
    changes = RedisListChanges(redis, journal.id, journal.mark, losses)
    outbox = Outbox(journal, calls, changes, now_utc, _log_restart)
    generations = RedisGenerations(redis)
    by = getpass.getuser()
    campaigns = settings.domain_campaigns()
    unassigned = UnassignedObjections(JournalObjections(journal, calls), settings.assigned_sellers())
    sectors = {key: campaign.sector for key, campaign in campaigns.items()}
    choices = Choices(journal, calls, outbox, sectors, watch)
    return Application(
        settings=settings,
        campaigns=campaigns,
        journal=journal,
        history=JournalHistory(journal),
        redis=redis,
        losses=losses,
        outbox=outbox,
        unassigned=unassigned,
        screening=Screening(
            lists=RedisLists(redis, journal.id, journal.mark, losses),
            journal=journal,
            outbox=outbox,
            unassigned=unassigned,
            campaigns=campaigns,
            profiles=PROFILES,
            default_profile=PROFILES[settings.dialling.profile],
            pbx_prefixes=settings.dialling.pbx_prefixes,
            lookup_timeout_ms=settings.redis.lookup_timeout_ms,
            clock=now_utc,
            new_call_id=new_call_id,
        ),
        registers=Registers(
            generations=generations,
            journal=journal,
            outbox=outbox,
            clock=now_utc,
            keeping=_keeping(settings, generations, journal),
            numbering=NUMBERING,
            by=by,
        ),
        seller_lists=SellerLists(journal, JournalSellerLists(journal, calls), outbox, settings.domain_sellers(), by),
        choices=choices,
        notices=Notices(
            journal=journal,
            choices=choices,
            sounds=SoundFiles(settings.sounds.folder),
            profiles=PROFILES,
            languages={key: campaign.language for key, campaign in campaigns.items()},
        ),
        finishing=Finishing(journal, calls, now_utc),
        registrations=registrations_of(settings, journal, calls, by),
        scrub_checks=ScrubChecks(journal, now_utc),
        clock_keeping=ClockKeeping(journal, now_utc, synchronised),
        by=by,
        watch=watch,
    )


def register_loading(app: Application) -> RegisterLoading:
    """What loads need besides; apart, for its libraries take longer to load than a classic AGI script has."""
    from agent.register_loading import RegisterLoading

    generations = RedisGenerations(app.redis)
    return RegisterLoading(
        generations=generations,
        journal=app.journal,
        outbox=app.outbox,
        keeping=_keeping(app.settings, generations, app.journal),
        clock=now_utc,
        max_shrink_percent=app.settings.register_.max_shrink_percent,
        max_rejected_percent=app.settings.register_.max_rejected_percent,
        numbering=NUMBERING,
        by=app.by,
    )


def explaining(app: Application) -> Explaining:
    """What ``bmn explain`` needs besides."""
    calls = JournalCalls(app.journal)
    return Explaining(
        journal=app.journal,
        calls=calls,
        seller_lists=JournalSellerLists(app.journal, calls),
        memberships=RedisMemberships(app.redis, app.journal.id, app.journal.mark),
        screening=app.screening,
        campaigns=app.campaigns,
        profiles=PROFILES,
        clock=now_utc,
    )


def scrubbing(app: Application) -> Scrubbing:
    """What ``bmn scrub`` needs besides; apart, as ``register_loading`` is."""
    from importlib.metadata import version

    from agent.adapters.redis_bulk_lists import RedisBulkLists
    from agent.scrubbing import Scrubbing

    return Scrubbing(
        lists=RedisBulkLists(app.redis, app.journal.id, app.journal.mark, app.losses),
        journal=app.journal,
        outbox=app.outbox,
        unassigned=app.unassigned,
        profiles=PROFILES,
        clock=now_utc,
        version=version("bel-me-niet-agent"),
        by=app.by,
    )


def evidence(app: Application, by: str | None = None) -> Evidence:
    """What ``bmn evidence`` needs besides; apart, as few commands do. ``by`` is who asks, else the system user."""
    from importlib.metadata import version

    from agent.adapters.journal_evidence import JournalEvidence, record_of
    from agent.evidence import Evidence

    return Evidence(
        records=JournalEvidence(app.settings.journal.path, app.settings.journal.key_path),
        read=record_of,
        journal=app.journal,
        profiles=PROFILES,
        campaigns=app.campaigns,
        clock=now_utc,
        version=version("bel-me-niet-agent"),
        by=app.by if by is None else by,
    )


def retention(app: Application) -> Retention:
    """What ``bmn journal purge`` needs besides."""
    from agent.adapters.journal_purge import JournalPurge
    from agent.retention import Retention

    return Retention(
        records=JournalPurge(app.journal),
        calls=JournalCalls(app.journal),
        days=app.settings.retention.days,
        clock=now_utc,
        synchronised=synchronised,
        pause=time.sleep,
        by=app.by,
    )


def _keeping(settings: Settings, generations: RedisGenerations, journal: SqliteJournal) -> GenerationKeeping:
    return GenerationKeeping(
        generations=generations,
        journal=journal,
        clock=now_utc,
        keep=settings.register_.keep_generations,
        grace=timedelta(minutes=settings.register_.grace_minutes),
    )


def registrations_of(settings: Settings, journal: SqliteJournal, calls: JournalCalls, by: str) -> Registrations:
    """The outbox to the registrar, on a journal that is open."""
    return Registrations(
        journal=journal,
        calls=calls,
        files=CsvRegistrationFiles(settings.journal.path.with_name(settings.journal.path.name + ".export-lock")),
        profiles=PROFILES,
        clock=now_utc,
        settle=timedelta(minutes=settings.registrations.settle_minutes),
        by=by,
    )


def redis_of(settings: Settings, watch: Watch | None = None) -> RedisServer:
    """The Redis that is configured; nothing is connected yet."""
    return RedisServer(
        settings.redis.url,
        connect_timeout_ms=settings.redis.connect_timeout_ms,
        command_timeout_ms=settings.redis.command_timeout_ms,
        watch=watch,
    )
