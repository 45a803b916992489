"""How fast is a long journal read, and what does that cost whoever writes it?

    .venv/bin/python -m tests.bench.history [--records N] [--journal FILE]

Makes a journal of a year's calls (about 15 s and 0.7 GB a million records), unless FILE is one that an earlier run
kept, and reads it as the dashboard and ``bmn log`` do: the first call of each is shown, and the median of the next
ones. Then the same events are appended, fsynced, to an empty journal of version 1, which had none of the indexes, and
to one of this version.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import random
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch
from zoneinfo import ZoneInfo

from agent.adapters import journal_file, journal_schema
from agent.adapters.journal_history import JournalHistory
from agent.adapters.sqlite_journal import SqliteJournal
from agent.domain.deadline import Deadline
from agent.domain.history import Breakdown, Bucket, HistoryFilter
from agent.domain.journal_events import Event, EventType, Record
from agent.domain.model import Reason, Verdict
from agent.domain.phone_number import PhoneNumber
from deploy.lab.agent_service import bmn
from tests.bench import journal_maker
from tests.conftest import write_configuration

Row = tuple[str, float, float, int]
"""What was asked, milliseconds the first time and afterwards, and how many were found."""
_PAGE = 50
_SCREENED = frozenset({EventType.CALL_SCREENED})


def _key(path: Path) -> Path:
    return path.with_name(path.name + ".key")


def _filters(now: datetime) -> Iterator[tuple[str, HistoryFilter]]:
    block, reason = Verdict.BLOCK, Reason(journal_maker.RARE_REASON)
    rare_agent, rare_campaign = journal_maker.RARE_AGENT, journal_maker.RARE_CAMPAIGN
    half, month = now - timedelta(days=180), timedelta(days=30)
    yield "everything", HistoryFilter()
    yield "screened calls", HistoryFilter(types=_SCREENED)
    yield "verdict", HistoryFilter(verdict=block)
    yield "reason", HistoryFilter(reason=Reason.SELLER_OPTOUT)
    yield "reason, rare", HistoryFilter(reason=reason)
    yield "reason, never", HistoryFilter(reason=Reason.OVERLOADED)
    yield "campaign", HistoryFilter(types=_SCREENED, campaign="campaign-3")
    yield "campaign, rare", HistoryFilter(types=_SCREENED, campaign=rare_campaign)
    yield "campaign, none", HistoryFilter(campaign="no-such")
    yield "seller", HistoryFilter(seller="seller-1")
    yield "seller, none", HistoryFilter(seller="no-such")
    yield "agent", HistoryFilter(types=_SCREENED, agent="agent-007")
    yield "agent, rare", HistoryFilter(types=_SCREENED, agent=rare_agent)
    yield "agent, rare, any type", HistoryFilter(agent=rare_agent)
    yield "agent, none, any type", HistoryFilter(agent="no-such")
    yield "type, rare", HistoryFilter(types=frozenset({EventType.REGISTER_LOADED}))
    yield "number", HistoryFilter(number=PhoneNumber(digits="31612012345"))
    yield "call, none", HistoryFilter(call="no-such")
    yield "an hour, half a year ago", HistoryFilter(since=half, until=half + timedelta(hours=1))
    yield "blocked, a month, half a year ago", HistoryFilter(verdict=block, since=half, until=half + month)
    yield "rare agent, same month", HistoryFilter(agent=rare_agent, since=half, until=half + month)
    yield "before everything", HistoryFilter(until=now - timedelta(days=800))
    yield "agent, campaign, blocked", HistoryFilter(verdict=block, agent="agent-007", campaign="campaign-3")
    yield "agent and campaign, both rare", HistoryFilter(types=_SCREENED, agent=rare_agent, campaign=rare_campaign)
    yield "agent, reason, seller, none", HistoryFilter(reason=reason, seller="seller-1", agent="agent-007")


def measure_reading(path: Path) -> list[Row]:
    """Each of the questions of the dashboard."""
    rows: list[Row] = []

    def timed(what: str, ask: Callable[[], Sequence[Any]]) -> None:
        times = []
        for _ in range(4):
            began = time.perf_counter()
            found = ask()
            times.append((time.perf_counter() - began) * 1000)
        rows.append((what, times[0], statistics.median(times[1:]), len(found)))

    with SqliteJournal(path, _key(path), create=False) as journal:
        history = JournalHistory(journal)

        def records(chosen: HistoryFilter, before: int | None = None, after: int | None = None) -> tuple[Record, ...]:
            return history.page(chosen, before=before, after=after, limit=_PAGE).records

        newest = history.page(HistoryFilter(), limit=1).records[0]
        now, deep = newest.at, newest.seq // 3
        for what, chosen in _filters(now):
            timed(f"page: {what}", partial(records, chosen))
        timed("page: deep in", partial(records, HistoryFilter(), before=deep))
        blocked = HistoryFilter(verdict=Verdict.BLOCK)
        timed("page: blocked, deep in", partial(records, blocked, before=deep))
        timed("follow: blocked, nothing new", partial(records, blocked, after=newest.seq))
        zone = ZoneInfo("Europe/Amsterdam")
        for (name, days, bucket), by in itertools.product(
            (("week by hour", 7, Bucket.HOUR), ("year by day", 365, Bucket.DAY), ("year", 365, Bucket.WHOLE)), Breakdown
        ):
            since = now - timedelta(days=days)
            timed(
                f"chart: {name}, {by}",
                partial(history.counts, since, now, bucket, by, zone),
            )
        for name, days in (("week", 7), ("year", 365)):
            since = now - timedelta(days=days)
            timed(f"repeated attempts, {name}", partial(history.repeated_attempts, since, 20))
            timed(f"missing offers, {name}", partial(history.missing_offers, since, 20))
            timed(f"agents missing offers, {name}", partial(history.agents_missing_offers, since, 20))
            timed(f"unfinished calls, {name}", partial(history.unfinished_calls, since, 20))
    return rows


def measure_command(path: Path) -> list[Row]:
    """``bmn log`` from the shell, with all that it takes to start."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="bmn-") as folder:
        environment = {"BMN_CONFIG": str(write_configuration(Path(folder))), "BMN_JOURNAL": str(path)}
        for arguments in (
            ("--help",),
            (),
            ("--verdict", "block"),
            ("--reason", journal_maker.RARE_REASON),
            ("--agent", journal_maker.RARE_AGENT, "--campaign", "campaign-3"),
            ("--number", "0612012345"),
            ("--type", "all", "--agent", "no-such"),
            ("--since", "2h", "--csv"),
            ("--since", "1d", "--verdict", "block", "--json"),
            ("--missing-offer",),
        ):
            times = []
            for _ in range(4):
                began = time.perf_counter()
                done = bmn("log", *arguments, environment=environment)
                times.append((time.perf_counter() - began) * 1000)
            shown = len(done.stdout.splitlines())
            rows.append((f"bmn log {' '.join(arguments)}", times[0], statistics.median(times[1:]), shown))
    return rows


def measure_appending(events: int, threads: int) -> tuple[float, float]:
    """Appended events a second by ``threads`` that wait for the disk: with the tables of version 1, and with ours.

    The better of three turns of each, taken in turn.
    """
    best = [0.0, 0.0]
    for _ in range(3):
        for index, versions in enumerate((journal_schema.VERSIONS[:1], journal_schema.VERSIONS)):
            best[index] = max(best[index], _appended_per_s(versions, events, threads))
    return best[0], best[1]


def _appended_per_s(versions: tuple[tuple[str, ...], ...], events: int, threads: int) -> float:
    bodies = journal_maker.bodies(random.Random(7))
    made = [Event.of(event_type, json.loads(text)) for event_type, text in itertools.islice(bodies, events)]
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bmn-")))
        stack.enter_context(patch.object(journal_file, "VERSIONS", versions))
        stack.enter_context(patch.object(journal_file, "SCHEMA_VERSION", len(versions)))
        journal = stack.enter_context(SqliteJournal(folder / "journal.db", folder / "journal.db.key"))

        def append(first: int) -> None:
            for event in made[first::threads]:
                journal.append([event], Deadline.after_ms(60_000))

        workers = [threading.Thread(target=append, args=(first,)) for first in range(threads)]
        began = time.perf_counter()
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return events / (time.perf_counter() - began)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=5_000_000, help="how many (default: %(default)s)")
    parser.add_argument("--journal", type=Path, help="where the journal is, or shall be kept")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bmn-bench-") as folder:
        path = options.journal or Path(folder) / "journal.db"
        if not path.exists():
            journal_maker.make_journal(path, options.records, datetime.now(UTC), _progress)
        rows = [*measure_reading(path), *measure_command(path)]
    width = max(len(row[0]) for row in rows)
    print(f"{'milliseconds':{width}}{'first':>9}{'then':>9}{'found':>9}")  # noqa: T201  # the table
    for what, first, then, found in rows:
        print(f"{what:{width}}{first:9.1f}{then:9.1f}{found:9,}")  # noqa: T201
    print(f"\n{'appended records/s':{width}}{'before':>9}{'now':>9}{'ratio':>9}")  # noqa: T201
    for threads in (1, 16, 64):
        before, now = measure_appending(2_000 if threads == 1 else 20_000, threads)
        print(f"{f'{threads} waiting':{width}}{before:9,.0f}{now:9,.0f}{now / before:9.2f}")  # noqa: T201


def _progress(step: str, done: int, total: int | None) -> None:
    print(f"\r{step} {done:,} of {total or 0:,}", end="", file=sys.stderr, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
