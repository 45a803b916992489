"""Verdicts and reasons over time, and per campaign."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, tzinfo
from typing import Final

from starlette.responses import Response

from agent.bootstrap import now_utc
from agent.domain.history import Breakdown, Bucket, Count, History
from agent.domain.model import Verdict
from agent.entrypoints.dashboard.charts import Chart, stacked
from agent.entrypoints.dashboard.language import Words
from agent.entrypoints.dashboard.visits import Visit

PERIODS: Final = ("day", "week", "month", "quarter")
_DAYS: Final = {"week": 7, "month": 30, "quarter": 90}
_SERIES: Final = 5
"""As many reasons have a colour of their own; the rest is one more."""
_CAMPAIGNS: Final = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretches:
    """The pieces of time of one chart."""

    begins: tuple[datetime, ...]
    until: datetime
    bucket: Bucket


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Counts over time: as a chart, and as the table with the same figures."""

    labels: tuple[str, ...]
    names: dict[str, str]
    """Of each series, in plain words."""
    series: dict[str, list[int]]
    chart: Chart

    @property
    def totals(self) -> dict[str, int]:
        """Of each series."""
        return {kind: sum(figures) for kind, figures in self.series.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class OfCampaign:
    """One campaign in the whole period."""

    name: str
    blocked: int
    allowed: int

    @property
    def total(self) -> int:
        """Both."""
        return self.blocked + self.allowed


async def show(visit: Visit) -> Response:
    """Everything on one page."""
    asked = visit.request.query_params.get("period", "week")
    period = asked if asked in PERIODS else "week"
    stretches = _stretches(period, now_utc(), visit.site.zone)
    history: History = visit.site.app.history
    counted = {
        by: await visit.site.ask(history.counts, stretches.begins[0], stretches.until, bucket, by, visit.site.zone)
        for by, bucket in (
            (Breakdown.VERDICT, stretches.bucket),
            (Breakdown.REASON, stretches.bucket),
            (Breakdown.CAMPAIGN, Bucket.WHOLE),
        )
    }
    undelivered = await visit.site.ask(history.undelivered, stretches.begins[0], stretches.until)
    verdicts = _over_time(
        stretches, counted[Breakdown.VERDICT], [Verdict.ALLOW, Verdict.BLOCK], visit.words, "verdicts"
    )
    blocked = [count for count in counted[Breakdown.REASON] if count.verdict is Verdict.BLOCK]
    reasons = _over_time(stretches, blocked, _most(blocked), visit.words, "reasons")
    campaigns = _campaigns(counted[Breakdown.CAMPAIGN])
    return visit.page(
        "charts.html",
        period=period,
        periods=PERIODS,
        verdicts=verdicts,
        undelivered=undelivered,
        reasons=reasons,
        campaigns=campaigns[:_CAMPAIGNS],
        more=max(0, len(campaigns) - _CAMPAIGNS),
    )


def _stretches(period: str, now: datetime, zone: tzinfo) -> Stretches:
    """Whole hours of a day, or whole days where the register's days begin, the last of them not over yet."""
    hour = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    until = hour + timedelta(hours=1)
    if period == "day":
        begins = tuple(until - timedelta(hours=back) for back in range(24, 0, -1))
        return Stretches(begins=begins, until=until, bucket=Bucket.HOUR)
    today = now.astimezone(zone).date()
    days = [today - timedelta(days=back) for back in range(_DAYS[period] - 1, -1, -1)]
    return Stretches(begins=tuple(datetime.combine(day, time(), zone) for day in days), until=until, bucket=Bucket.DAY)


def _over_time(
    stretches: Stretches, counts: Iterable[Count], kinds: Sequence[str], words: Words, section: str
) -> Figures:
    columns = {begins.astimezone(UTC): column for column, begins in enumerate(stretches.begins)}
    series = {str(kind): [0] * len(columns) for kind in kinds}
    rest = [0] * len(columns)
    for count in counts:
        column = columns.get(count.begins.astimezone(UTC))
        if column is not None:
            series.get(count.key, rest)[column] += count.count
    names = {kind: words.of(section, kind) for kind in series}
    if any(rest):
        series["other"] = rest
        names["other"] = words("charts.other")
    labels = tuple(_label(begins, stretches.bucket, words) for begins in stretches.begins)
    return Figures(labels=labels, names=names, series=series, chart=stacked(labels, series))


def _label(begins: datetime, bucket: Bucket, words: Words) -> str:
    local = begins.astimezone(words.zone)
    return f"{local:%H:%M}" if bucket is Bucket.HOUR else words.short_day(local)


def _most(counts: Iterable[Count]) -> list[str]:
    totals: dict[str, int] = defaultdict(int)
    for count in counts:
        totals[count.key] += count.count
    return sorted(totals, key=lambda key: (-totals[key], key))[:_SERIES]


def _campaigns(counts: Iterable[Count]) -> list[OfCampaign]:
    totals: dict[str, dict[Verdict, int]] = defaultdict(lambda: dict.fromkeys(Verdict, 0))
    for count in counts:
        totals[count.key][count.verdict] += count.count
    found = [
        OfCampaign(name=name, blocked=figures[Verdict.BLOCK], allowed=figures[Verdict.ALLOW])
        for name, figures in totals.items()
    ]
    return sorted(found, key=lambda one: (-one.total, one.name))
