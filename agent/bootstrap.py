"""The composition root: everything is wired here, by hand, once."""

from __future__ import annotations

import getpass
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Self

from agent import logs
from agent.adapters.call_ids import new_call_id
from agent.adapters.journal_check import opens
from agent.adapters.journal_history import JournalHistory
from agent.adapters.journal_views import JournalCalls, JournalSellerLists
from agent.adapters.redis_connection import RedisServer
from agent.adapters.redis_generations import RedisGenerations
from agent.adapters.redis_list_changes import RedisListChanges
from agent.adapters.redis_lists import RedisLists
from agent.adapters.registration_files import CsvRegistrationFiles
from agent.adapters.sound_files import SoundFiles
from agent.adapters.sqlite_journal import SqliteJournal
from agent.choices import Choices
from agent.config import Settings
from agent.domain.model import Campaign
from agent.domain.profile import PROFILES
from agent.finishing import Finishing
from agent.generation_keeping import GenerationKeeping
from agent.health_checks import Site
from agent.notices import Notices
from agent.outbox import Outbox
from agent.registers import Registers
from agent.registrations import Registrations
from agent.screening import Screening
from agent.scrub_checks import ScrubChecks
from agent.seller_lists import SellerLists

if TYPE_CHECKING:
    from agent.evidence import Evidence
    from agent.scrubbing import Scrubbing


def now_utc() -> datetime:
    """The clock of this system: aware UTC."""
    return datetime.now(UTC)


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
    outbox: Outbox
    screening: Screening
    registers: Registers
    seller_lists: SellerLists
    choices: Choices
    notices: Notices
    finishing: Finishing
    registrations: Registrations
    scrub_checks: ScrubChecks
    by: str
    """The system user on whose behalf this process runs."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Write what is queued for the journal and close all connections."""
        self.journal.close()
        self.redis.close()


def bootstrap(settings: Settings, *, create_journal: bool = True) -> Application:
    """Wire everything. Raises ``JournalUnavailable``; Redis is not contacted yet."""
    journal = SqliteJournal(settings.journal.path, settings.journal.key_path, create=create_journal)
    redis = _redis(settings)
    calls = JournalCalls(journal)
    outbox = Outbox(journal, calls, RedisListChanges(redis, journal.id, journal.mark), now_utc, _log_restart)
    generations = RedisGenerations(redis)
    by = getpass.getuser()
    campaigns = settings.domain_campaigns()
    choices = Choices(journal, calls, outbox, {key: campaign.sector for key, campaign in campaigns.items()})
    return Application(
        settings=settings,
        campaigns=campaigns,
        journal=journal,
        history=JournalHistory(journal),
        redis=redis,
        outbox=outbox,
        screening=Screening(
            lists=RedisLists(redis, journal.id, journal.mark),
            journal=journal,
            outbox=outbox,
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
            keeping=GenerationKeeping(
                generations=generations,
                journal=journal,
                clock=now_utc,
                keep=settings.register_.keep_generations,
                grace=timedelta(minutes=settings.register_.grace_minutes),
            ),
            max_shrink_percent=settings.register_.max_shrink_percent,
            max_rejected_percent=settings.register_.max_rejected_percent,
            by=by,
        ),
        seller_lists=SellerLists(journal, JournalSellerLists(journal, calls), outbox, by),
        choices=choices,
        notices=Notices(
            journal=journal,
            choices=choices,
            sounds=SoundFiles(settings.sounds.folder),
            profiles=PROFILES,
            languages={key: campaign.language for key, campaign in campaigns.items()},
        ),
        finishing=Finishing(journal, calls, now_utc),
        registrations=Registrations(
            journal=journal,
            calls=calls,
            files=CsvRegistrationFiles(settings.journal.path.with_name(settings.journal.path.name + ".export-lock")),
            profiles=PROFILES,
            clock=now_utc,
            settle=timedelta(minutes=settings.registrations.settle_minutes),
            by=by,
        ),
        scrub_checks=ScrubChecks(journal, now_utc),
        by=by,
    )


def scrubbing(app: Application) -> Scrubbing:
    """What ``bmn scrub`` needs besides; apart, for its libraries take longer to load than a classic AGI script has."""
    from importlib.metadata import version

    from agent.adapters.redis_bulk_lists import RedisBulkLists
    from agent.scrubbing import Scrubbing

    return Scrubbing(
        lists=RedisBulkLists(app.redis, app.journal.id, app.journal.mark),
        journal=app.journal,
        outbox=app.outbox,
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
        clock=now_utc,
        version=version("bel-me-niet-agent"),
        by=app.by if by is None else by,
    )


@contextmanager
def survey(settings: Settings, dialplan_reasons: Sequence[str]) -> Iterator[Site]:
    """Wire what ``agent.health_checks`` looks at. Nothing is opened or made: that is for the checks to try."""
    redis = _redis(settings)
    try:
        yield Site(
            campaigns=settings.domain_campaigns(),
            profiles=PROFILES,
            journal_opens=partial(opens, settings.journal.path, settings.journal.key_path),
            server=redis,
            generations=RedisGenerations(redis),
            sounds=SoundFiles(settings.sounds.folder),
            dialplan_reasons=dialplan_reasons,
            clock=now_utc,
        )
    finally:
        redis.close()


def _redis(settings: Settings) -> RedisServer:
    return RedisServer(
        settings.redis.url,
        connect_timeout_ms=settings.redis.connect_timeout_ms,
        command_timeout_ms=settings.redis.command_timeout_ms,
    )
