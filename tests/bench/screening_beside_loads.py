"""Does screening suffer from loads of the register, and is any verdict wrong while they come and go?

    .venv/bin/python -m tests.bench.screening_beside_loads [--numbers 1000000] [--seconds 60]

Screenings over AGI on loopback at a steady pace, journal fsynced: first alone; then, with ``bmn register`` in a process
of its own, one change after the other: a whole load, another one, a list of changes, a rollback. Each verdict is
compared with what the load that its record names holds, and that load must have been in force during the screening.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import random
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from threading import Thread
from typing import Any, Final

import numpy as np

from agent import dialplan_names as names
from agent.bootstrap import now_utc
from agent.domain.profile import NL_BMNR
from deploy.lab.agent_service import bmn
from deploy.lab.redis_server import PrivateRedis
from tests.agi.fake_asterisk import FakeAsterisk
from tests.agi.test_screen_script import SCREEN_SETS, Site
from tests.bench.import_register import dutch_numbers
from tests.conftest import REDIS_CONF

GROUP: Final = 500
THREADS: Final = 2
PAUSE_S: Final = 0.008
"""Between two screenings of a thread: some two hundred a second in all."""


@dataclass(frozen=True, slots=True)
class Screened:
    """What one screening was told."""

    call: str
    number: str
    reason: str
    began: float
    ended: float


@dataclass(slots=True)
class Model:
    """What each load holds, and when it may have been in force."""

    contents: dict[str, frozenset[str]] = field(default_factory=dict)
    spans: list[tuple[str, float, float]] = field(default_factory=list)
    """Generation, and the moments before and after which it certainly was not in force."""

    def change(self, generation: str, began: float, ended: float) -> None:
        """A command between these moments put it in force."""
        if self.spans:
            last, since, _ = self.spans[-1]
            self.spans[-1] = (last, since, ended)
        self.spans.append((generation, began, float("inf")))

    def is_right(self, seen: Screened, generation: str) -> bool:
        """Whether the verdict is that of a load that was in force during the screening."""
        listed = seen.number in self.contents.get(generation, frozenset())
        in_force = any(
            name == generation and seen.ended >= since and seen.began <= until for name, since, until in self.spans
        )
        return in_force and seen.reason == ("registered" if listed else "not_registered")


class Loads:
    """The changes, one after the other, for ever."""

    def __init__(self, site: Site, numbers: list[str]) -> None:
        self._site = site
        self.model = Model()
        groups = [numbers[start : start + GROUP] for start in range(0, 4 * GROUP, GROUP)]
        self._always, self._only_a, self._only_b, _ = groups
        self._a = frozenset([*self._always, *self._only_a])
        self._b = frozenset([*self._always, *self._only_b])
        self._rest = "\n".join(numbers[4 * GROUP :])
        self._serial = 0
        self._today = NL_BMNR.local_date(now_utc())
        self.watched = [number for group in groups for number in group]
        """Some of both, some of one, some of the other, some of neither."""

    def steps(self) -> Iterator[str]:
        """Do one change after the other; the name of each that was done."""
        for name in itertools.cycle(("load A", "load B", "changes from B to A", "rollback to B")):
            if name == "load A":
                self._import(self._a)
            elif name == "load B":
                self._import(self._b)
            elif name == "rollback to B":
                self._run("rollback", content=None)
            else:
                path = self._site.folder / "changes.csv"
                removed, added = (
                    (f"-{number}" for number in self._only_b),
                    (f"+{number},all" for number in self._only_a),
                )
                path.write_text("\n".join([*removed, *added]) + "\n" * self._next())
                base = self.model.spans[-1][0]
                options = ("--as-of", str(self._today), "--base", base, "--allow-shrink")
                self._run("delta", str(path), *options, content=self._a)
            yield name

    def _import(self, content: frozenset[str]) -> None:
        path = self._site.folder / "register.txt"
        path.write_text(self._rest + "\n" + "\n".join(sorted(content)) + "\n" * self._next())
        before = str(self._today - timedelta(days=1))
        self._run("import", str(path), "--as-of", before, "--allow-older", "--allow-shrink", content=content)

    def _run(self, *arguments: str, content: frozenset[str] | None) -> None:
        began = time.time()
        answer = bmn("register", *arguments, "--json", environment=self._site.environment)
        generation = json.loads(answer.stdout)["generation"]
        if content is not None:
            self.model.contents[generation] = content
        self.model.change(generation, began, time.time())

    def _next(self) -> int:
        """Blank lines that make a file another one than the last, for the very same load would change nothing."""
        self._serial += 1
        return self._serial


def measure(count: int, seconds: float) -> Iterator[tuple[str, str]]:
    """Name and figure of each measurement."""
    with (
        tempfile.TemporaryDirectory(prefix="bmn-bench-") as name,
        PrivateRedis(Path(name), REDIS_CONF) as server,
    ):
        site = Site(Path(name), server.url)
        with site.agent:
            loads = Loads(site, dutch_numbers(count + 4 * GROUP))
            steps = loads.steps()
            next(steps)
            idle = _screen_while(site, loads.watched, lambda: time.sleep(seconds / 4))
            done = 0

            def reload() -> None:
                nonlocal done
                until = time.monotonic() + seconds
                while time.monotonic() < until:
                    next(steps)
                    done += 1

            busy = _screen_while(site, loads.watched, reload)
        yield "numbers in the register", f"{count:,}"
        yield "changes of the register", f"{done} in {seconds:.0f} s: whole loads, lists of changes, rollbacks"
        yield "screenings meanwhile", f"{len(busy):,}"
        told, failures = _records(site)
        seen = [*idle, *busy]
        errors = [item for item in seen if item.reason not in ("registered", "not_registered")]
        wrong = [item for item in seen if item not in errors and not loads.model.is_right(item, told[item.call])]
        used = {told[item.call] for item in seen}
        yield "generations that answered", f"{len(used)}"
        yield "wrong verdicts", f"{len(wrong)}"
        yield (
            "errors",
            f"{len(errors)} {', '.join(sorted({failures.get(item.call, item.reason) for item in errors}))}".strip(),
        )
        yield "screening p50 / p99 alone, ms", "{:.2f} / {:.2f}".format(*_times(idle))
        yield "screening p50 / p99 beside loads, ms", "{:.2f} / {:.2f}".format(*_times(busy))
        yield "  p99 of screening beside loads, ratio", f"{_times(busy)[1] / _times(idle)[1]:.2f}"


def _records(site: Site) -> tuple[dict[str, str], dict[str, str]]:
    """The load that each screening rested on, and what failed, by its call id, as the journal has it."""
    with closing(sqlite3.connect(site.folder / "journal.db")) as journal:
        rows = journal.execute("SELECT body FROM records WHERE type = 'call.screened'").fetchall()
    bodies = [json.loads(row[0]) for row in rows]
    failures = {body["call"]: f"{body['reason']}: {body['failure']}" for body in bodies if body["failure"]}
    return {body["call"]: str(body["generation"]) for body in bodies}, failures


def _screen_while(site: Site, numbers: list[str], work: Any) -> list[Screened]:
    """Screen at a steady pace, in a process of its own, until ``work`` is done."""
    context = multiprocessing.get_context("spawn")
    results: Any = context.Queue()
    stop: Any = context.Event()
    process = context.Process(target=_screen, args=(site.address, numbers, stop, results))
    process.start()
    try:
        results.get()  # it has begun
        work()
    finally:
        stop.set()
        found: list[Screened] = results.get()
        process.join()
    return found


def _screen(address: tuple[str, int], numbers: list[str], stop: Any, results: Any) -> None:
    found: list[Screened] = []

    def run(seed: int) -> None:
        dice = random.Random(seed)
        while not stop.is_set():
            found.append(_one(address, dice.choice(numbers)))
            time.sleep(PAUSE_S)

    threads = [Thread(target=run, args=(seed,)) for seed in range(THREADS)]
    for thread in threads:
        thread.start()
    results.put(None)
    for thread in threads:
        thread.join()
    results.put(found)


def _one(address: tuple[str, int], number: str) -> Screened:
    began = time.time()
    with FakeAsterisk.call(address, names.SCRIPT_SCREEN, number, "energy", "agent-7") as asterisk:
        command = asterisk.read_command()
        ended = time.time()
        asterisk.send("200 result=1\n")
    _, reason, _, call, _ = command.removeprefix(SCREEN_SETS).strip('"').split(",")
    return Screened(call=call, number=number, reason=reason, began=began, ended=ended)


def _times(seen: list[Screened]) -> tuple[float, float]:
    taken = [(item.ended - item.began) * 1000 for item in seen]
    return float(np.percentile(taken, 50)), float(np.percentile(taken, 99))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--numbers", type=int, default=1_000_000, help="in the register (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=60, help="of loads (default: %(default)s)")
    arguments = parser.parse_args()
    for name, figure in measure(arguments.numbers, arguments.seconds):
        sys.stdout.write(f"{name:50} {figure}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
