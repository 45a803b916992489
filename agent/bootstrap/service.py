"""What ``bmn serve`` needs besides: what it counts and tells, and how it keeps the lists in Redis whole.

Apart from ``agent.bootstrap``, for a classic AGI script would only wait for it.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version

from prometheus_client import CollectorRegistry, disable_created_metrics

from agent.adapters.child_process import ChildProcess
from agent.adapters.journal_views import JournalCalls
from agent.adapters.redis_audit import RedisAudit
from agent.adapters.redis_generations import RedisGenerations
from agent.bootstrap import Application, now_utc
from agent.config import Settings
from agent.domain.profile import PROFILES
from agent.list_audit import ListAudit
from agent.metrics import Metrics
from agent.register_repair import RegisterRepair, Repair
from agent.service_state import OpenRegistrations, ServiceState


def metrics(settings: Settings) -> Metrics:
    """What counts for ``/metrics``."""
    disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series a counter, of no use
    return Metrics(
        CollectorRegistry(),
        settings.campaigns,
        version=version("bel-me-niet-agent"),
        screening_deadline_ms=settings.agi.deadline_ms,
    )


def service_state(app: Application) -> ServiceState:
    """What ``/metrics`` tells besides of Redis and the journal."""
    return ServiceState(
        server=app.redis,
        generations=RedisGenerations(app.redis),
        outbox=app.outbox,
        registrations=OpenRegistrations(JournalCalls(app.journal), lambda: app.journal.head().seq),
        profiles=PROFILES,
        used=_used_profiles(app),
        clock=now_utc,
    )


def list_audit(app: Application, expiring: Callable[[int], None]) -> ListAudit:
    """Looks at everything that Redis must hold; ``expiring`` is told of keys that would have expired."""
    return ListAudit(RedisAudit(app.redis, app.journal.id, app.losses, _used_profiles(app), mend=True), expiring)


def register_repair(
    app: Application, begun: Callable[[str, str], None], ended: Callable[[Repair], None]
) -> RegisterRepair:
    """Has a register that was lost loaded again, and tells ``begun`` and ``ended``."""
    return RegisterRepair(
        generations=RedisGenerations(app.redis),
        journal=app.journal,
        outbox=app.outbox,
        profiles=_used_profiles(app),
        start=lambda profile: ChildProcess(["rebuild", "--register-only", "--profile", profile, "--json"]),
        begun=begun,
        ended=ended,
    )


def _used_profiles(app: Application) -> set[str]:
    return {app.settings.dialling.profile, *(campaign.profile for campaign in app.campaigns.values())}
