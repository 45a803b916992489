"""How many calls may begin at once where each starts a process (classic AGI), before some are blocked as too late?

    .venv/bin/python -m tests.bench.classic_limit [--at-once 1 2 4 8 16]

So many calls at the same moment to a number that may be called, through ``deploy/agi/screen``; Asterisk gives up after
the 3 seconds of BMN_SCREEN_TIMEOUT, and the script blocks after those of ``agi.classic_deadline_ms``. Then the same
calls through ``bmn serve``. Each allow in the journal is compared with what Asterisk has: the last column must be 0.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path

from agent import dialplan_names as names
from deploy.lab.redis_server import PrivateRedis
from tests.agi.fake_asterisk import FakeAsterisk, environment
from tests.agi.fault_table import Line, Session, run
from tests.agi.test_screen_script import Site
from tests.conftest import REDIS_CONF

SCRIPT = Path(__file__).parents[2] / "deploy" / "agi" / "screen"
GIVES_UP_S = 3.0
_NUMBERS = count(10_000_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Burst:
    """Calls that began at once."""

    through: str
    calls: int
    allowed: int
    blocked: int
    """With a verdict, all the same."""
    given_up: int
    """By Asterisk, without a verdict."""
    slowest_s: float
    false_allows: int
    """Allows in the journal that Asterisk does not have, and of which the journal does not say so."""


def measure(bursts: Sequence[int]) -> Iterator[Burst]:
    """Each burst, classic and through the service."""
    with tempfile.TemporaryDirectory(prefix="bmn-bench-") as name, PrivateRedis(Path(name), REDIS_CONF) as server:
        site = Site(Path(name), server.url)
        site.load("0611111111\n")
        for calls in bursts:
            yield _burst(site, "classic", calls, partial(_classic, site))
        with site.agent:
            _burst(site, "service", 16, partial(_service, site))  # connections, and what is read at the first call
            for calls in bursts:
                yield _burst(site, "service", calls, partial(_service, site))


def _burst(site: Site, through: str, calls: int, screen: Callable[[str], Session]) -> Burst:
    before = len(site.records("type = 'call.screened'"))
    numbers = [f"06{next(_NUMBERS)}" for _ in range(calls)]
    with ThreadPoolExecutor(calls) as pool:
        sessions = list(pool.map(screen, numbers))
    told = [session.line.fake.variables.get(names.BMN_VERDICT) for session in sessions]
    had = {session.line.fake.variables[names.BMN_CALL] for session in sessions if session.line.dials}
    verdicts = site.records("type = 'call.screened'")[before:]
    lost = {one["call"] for one in site.records("type = 'verdict.undelivered'")}
    allowed = {one["call"] for one in verdicts if one["verdict"] == "allow"}
    return Burst(
        through=through,
        calls=calls,
        allowed=told.count("allow"),
        blocked=told.count("block"),
        given_up=told.count(None),
        slowest_s=max(session.took_s for session in sessions),
        false_allows=len(allowed - lost - had),
    )


def _classic(site: Site, number: str) -> Session:
    with _started(site) as asterisk:
        return run(Line(asterisk, environment("bmn", number, "energy", "a", classic=True)), gives_up_s=GIVES_UP_S)


@contextmanager
def _started(site: Site) -> Iterator[FakeAsterisk]:
    """A script that was started, until it has ended."""
    process = subprocess.Popen(
        [SCRIPT],
        env={**os.environ, **site.environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    stdin, stdout = process.stdin, process.stdout

    def hang_up() -> None:
        stdin.close()
        stdout.close()

    try:
        yield FakeAsterisk(stdout.fileno(), stdin.fileno(), hang_up)
    finally:
        hang_up()
        process.wait()


def _service(site: Site, number: str) -> Session:
    lines = environment(names.SCRIPT_SCREEN, number, "energy", "a")
    return run(Line.connect(site.address, lines), gives_up_s=GIVES_UP_S)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--at-once", type=int, nargs="+", default=[1, 2, 4, 8, 16], help="(default: %(default)s)")
    chosen = parser.parse_args()
    print("through   at once  allowed  too late  no verdict  slowest, s  false allows")  # noqa: T201  # the table
    for one in measure(chosen.at_once):
        figures = f"{one.calls:9}{one.allowed:9}{one.blocked:10}{one.given_up:12}{one.slowest_s:12.2f}"
        print(f"{one.through:8}{figures}{one.false_allows:14}", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
