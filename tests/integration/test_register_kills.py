"""Imports and lists of changes that are killed at any moment: what is in force is always a complete load."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis

from agent.adapters import redis_keys
from agent.adapters.redis_values import generation_from_text
from agent.bootstrap import now_utc
from agent.domain.profile import NL_BMNR
from tests.conftest import wired
from tests.integration.test_cli import BMN, Bmn

KILLS = int(os.environ.get("BMN_IMPORT_KILLS", "50"))
SPAN = 10_000
TODAY = NL_BMNR.local_date(now_utc())
YESTERDAY = str(TODAY - timedelta(days=1))


class Victim:
    """A site whose register is A, B, or B with changes."""

    def __init__(self, folder: Path, redis_url: str) -> None:
        self.site = Bmn(folder, redis_url)
        self.client: Any = redis.Redis.from_url(redis_url, decode_responses=True)
        self._folder = folder
        self._serial = 0
        a, b = range(31612000000, 31612100000), range(31613000000, 31613100000)
        gone, come = b[:40_000], range(31614000000, 31614040000)
        self.contents = {"A": {*a}, "B": {*b}, "changed": {*b[40_000:], *come}}
        self._lines = {
            "A": "".join(f"+{number}\n" for number in a),
            "B": "".join(f"+{number}\n" for number in b),
            "changed": "".join([*(f"-+{number}\n" for number in gone), *(f"++{number},all\n" for number in come)]),
        }

    def command(self, what: str) -> list[str]:
        """The command that puts ``what`` in force, from a file that never was before."""
        self._serial += 1
        path = self._folder / f"{what}.csv"
        path.write_text(self._lines[what] + "\n" * self._serial)
        if what == "changed":
            return ["register", "delta", str(path), "--as-of", str(TODAY), "--base", self.in_force()[0]]
        return ["register", "import", str(path), "--as-of", YESTERDAY, "--allow-older"]

    def in_force(self) -> tuple[str, set[int]]:
        """The generation that Redis points at, and every number that it holds."""
        generation = generation_from_text(self.client.get(redis_keys.current(NL_BMNR.key))).id
        found: set[int] = set()
        for key in self.client.scan_iter(redis_keys.register_sets_pattern(generation), count=1000):
            prefix = int(key.partition("{")[2].partition("}")[0])
            found.update(prefix * SPAN + int(member) for member in self.client.smembers(key))
        return generation, found


@pytest.fixture
def victim(tmp_path: Path, redis_url: str) -> Iterator[Victim]:
    """B is in force."""
    victim = Victim(tmp_path, redis_url)
    victim.site(*victim.command("B"))
    yield victim
    victim.client.close()


def test_what_is_in_force_is_complete_whenever_a_load_is_killed(victim: Victim, tmp_path: Path, redis_url: str) -> None:
    """At fifty random moments; the journal and Redis agree after each, and the next load clears up."""
    dice = random.Random()
    ended = replaced = 0
    took = 0.0
    for kill in range(KILLS):
        known, before = victim.in_force()
        if before == victim.contents["B"] and kill % 2:
            what = "changed"
        else:
            what = "A" if before == victim.contents["B"] else "B"
        began = time.monotonic()
        if kill < 2:  # how long it takes when nobody kills it
            victim.site(*victim.command(what))
            took = max(took, time.monotonic() - began)
            continue
        process = subprocess.Popen(
            [BMN, *victim.command(what)],
            env={**os.environ, **victim.site.environment},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            process.wait(dice.uniform(took * 0.5, took * 1.1))
            ended += 1
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        generation, numbers = victim.in_force()
        assert numbers in victim.contents.values(), f"{generation} has {len(numbers):,} numbers (kill {kill})"
        assert generation == known or numbers == victim.contents[what]
        with wired(tmp_path, redis_url) as app:
            app.outbox.drain()
            status = app.registers.status(NL_BMNR)
        generation, numbers = victim.in_force()
        replaced += generation != known
        assert status.current is not None
        assert (status.current.id, status.current.count) == (generation, len(numbers))
        assert all("complete in Redis but was never in force" in problem for problem in status.problems)
        assert numbers == (victim.contents[what] if generation != known else before)
    sys.stdout.write(f"{KILLS} loads: {ended} had ended, {replaced} were in force, {KILLS - 2 - replaced} were not\n")
    victim.site(*victim.command("A"))
    assert victim.in_force()[1] == victim.contents["A"]
    victim.site("journal", "verify")
    kept = {item["generation"] for item in victim.site.json("register", "status")["kept"]}
    held = {key.split(":g:")[1].split(":")[0] for key in victim.client.scan_iter("bmn:{*}:g:*", count=1000)}
    assert held == kept
