"""What does counting cost a call?

    .venv/bin/python -m tests.bench.metrics_cost [--screenings 3000] [--scrapes-per-second 4]

Two services side by side, each with a Redis and a journal of its own, fsynced: one counts and tells ``/metrics``, the
other does neither. Screenings over AGI on loopback, one at a time, the one service after the other and in turns the
first, so that what else the machine does falls on both; then the same while ``/metrics`` is scraped more often than any
Prometheus does it. The ratio of the medians is the figure. Besides: what all the counting of one screening takes by
itself.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

from agent.domain.model import Reason
from agent.domain.watch import Stage
from deploy.lab.redis_server import PrivateRedis
from tests.agi.test_screen_script import Site
from tests.conftest import REDIS_CONF
from tests.metric_families import make_metrics


def measure(screenings: int, scrapes_per_s: float) -> list[tuple[str, float, float]]:
    """Name, p50 and p99 in milliseconds: without and with metrics; the same while they are scraped."""
    with tempfile.TemporaryDirectory(prefix="bmn-bench-") as name:
        folder = Path(name)
        for part in ("silent", "telling"):
            (folder / part).mkdir()
        with PrivateRedis(folder / "silent", REDIS_CONF) as one, PrivateRedis(folder / "telling", REDIS_CONF) as other:
            silent = Site(folder / "silent", one.url)
            telling = Site(folder / "telling", other.url, BMN_METRICS__LISTEN="127.0.0.1:0")
            for site in (silent, telling):
                site.load("0611111111\n")
            with silent.agent, telling.agent:
                return _compare(silent, telling, screenings, scrapes_per_s)


def _compare(silent: Site, telling: Site, screenings: int, scrapes_per_s: float) -> list[tuple[str, float, float]]:
    page = f"http://{telling.agent.log('agent.started')[-1]['metrics']}/metrics"
    _in_turns(silent, telling, 200)
    without, counted = _in_turns(silent, telling, screenings)
    ending = threading.Event()
    scraping = threading.Thread(target=_scrape, args=(page, 1 / scrapes_per_s, ending))
    scraping.start()
    beside, scraped = _in_turns(silent, telling, screenings)
    ending.set()
    scraping.join()
    named = {"without": without, "with metrics": counted, "without, again": beside, "with metrics, scraped": scraped}
    return [(name, values[len(values) // 2], values[int(len(values) * 0.99)]) for name, values in named.items()]


def _scrape(page: str, every_s: float, ending: threading.Event) -> None:
    while not ending.is_set():
        with urllib.request.urlopen(page) as answer:
            answer.read()
        ending.wait(every_s)


def _in_turns(silent: Site, telling: Site, count: int) -> tuple[list[float], list[float]]:
    """Milliseconds of each screening of the one and of the other, sorted."""
    taken: dict[Site, list[float]] = {silent: [], telling: []}
    for serial in range(count):
        for site in (silent, telling) if serial % 2 else (telling, silent):
            began = time.perf_counter()
            site.screen(f"06870{serial:05d}", "energy", "agent-7")
            taken[site].append((time.perf_counter() - began) * 1000)
    return sorted(taken[silent]), sorted(taken[telling])


def counting_us(times: int = 20_000) -> float:
    """Microseconds that all the counting of one screening takes."""
    metrics = make_metrics()
    seconds = dict.fromkeys(Stage, 0.001)
    began = time.perf_counter()
    for _ in range(times):
        metrics.session_began("screen")
        metrics.committed(1, 0.001)
        metrics.screened(Reason.NOT_REGISTERED, "energy", delivered=True)
        metrics.timed(seconds)
        metrics.session_ended("screen")
    return (time.perf_counter() - began) / times * 1e6


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--screenings", type=int, default=3_000, help="of each kind (default: %(default)s)")
    parser.add_argument("--scrapes-per-second", type=float, default=4.0, help="(default: %(default)s)")
    chosen = parser.parse_args()
    rows = measure(chosen.screenings, chosen.scrapes_per_second)
    print("screening, milliseconds       p50     p99   ratio of p50   of p99")  # noqa: T201  # the table
    for at, (title, half, most) in enumerate(rows):
        _, other_half, other_most = rows[at // 2 * 2]
        print(f"{title:25}{half:8.3f}{most:8.3f}{half / other_half:15.3f}{most / other_most:9.3f}")  # noqa: T201
    print(f"counting by itself: {counting_us():.1f} microseconds a screening")  # noqa: T201


if __name__ == "__main__":
    main()
