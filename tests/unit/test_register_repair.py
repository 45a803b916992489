"""A lost register that is loaded again: one process at a time, not too often, and only when it is really lost."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest

from agent import register_repair
from agent.domain.journal_events import EventType, Record
from agent.domain.model import Generation
from agent.register_repair import RegisterRepair, Repair
from tests.unit.builders import a_generation


class Site:
    """A journal with one load, what waits in the outbox, and what Redis has in force; a clock, and processes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 10_000.0
        self.in_force: Generation | None = None
        self.waiting = 0
        self.loads = ["lost"]
        self.started: list[Attempt] = []
        self.told: list[Repair] = []
        self.begun: list[tuple[str, str]] = []
        monkeypatch.setattr(register_repair, "monotonic", lambda: self.now)
        world: Any = self
        self.repair = RegisterRepair(
            generations=world,
            journal=world,
            outbox=world,
            profiles=["nl-bmnr"],
            start=self.start,
            begun=lambda profile, generation: self.begun.append((profile, generation)),
            ended=self.told.append,
        )

    def current(self, profile: str) -> Generation | None:
        """As of ``Generations``."""
        return self.in_force

    def register_changes(self, profile: str) -> list[Record]:
        """As of ``Journal``."""
        at = datetime(2026, 11, 1, tzinfo=UTC)
        return [
            Record(seq, at, EventType.REGISTER_LOADED, {"generation": load, "profile": profile, "base": None})
            for seq, load in enumerate(self.loads, 1)
        ]

    def lag(self) -> int:
        """As of ``Outbox``."""
        return self.waiting

    def start(self, profile: str) -> Attempt:
        """Another process."""
        self.started.append(Attempt())
        return self.started[-1]

    def pass_by(self, seconds: float) -> None:
        """Look every second, for so long."""
        for _ in range(round(seconds)):
            self.now += 1
            self.repair.step()


class Attempt:
    """A process that runs until it is told to end."""

    def __init__(self) -> None:
        self.code: int | None = None
        self.said = ""
        self.killed = False

    def ended(self) -> int | None:
        """As told."""
        return self.code

    def words(self) -> str:
        """As told."""
        return self.said

    def kill(self) -> None:
        """Remembered."""
        self.killed = True


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Site:
    """With a register that Redis lost."""
    return Site(monkeypatch)


def test_a_register_that_is_missing_twice_in_a_row_is_loaded_again(site: Site) -> None:
    """Once may be a load that is just being put in force."""
    site.repair.step()
    assert site.started == []
    site.pass_by(3)
    assert (len(site.started), site.begun) == (1, [("nl-bmnr", "lost")])
    site.pass_by(100)
    assert len(site.started) == 1, "one at a time"
    site.in_force = a_generation()
    site.started[0].code = 0
    site.pass_by(1)
    assert site.told == [Repair(profile="nl-bmnr", generation="lost", done=True)]
    site.pass_by(7_200)
    assert len(site.started) == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda site: setattr(site, "in_force", a_generation()),
        lambda site: setattr(site, "waiting", 1),
        lambda site: site.loads.clear(),
    ],
)
def test_what_is_not_lost_is_left_alone(site: Site, change: Callable[[Site], None]) -> None:
    """In force, not applied yet, or never loaded."""
    change(site)
    site.pass_by(600)
    assert site.started == []


def test_a_load_that_comes_in_between_is_looked_at_on_its_own(site: Site) -> None:
    """Each look found another one missing."""
    site.repair.step()
    site.loads.append("newer")
    site.pass_by(2)
    assert site.started == []
    site.pass_by(2)
    assert site.begun == [("nl-bmnr", "newer")]


def test_attempts_that_fail_follow_at_longer_and_longer_waits(site: Site) -> None:
    """A minute, two, four, at most an hour; each failure says why, and when the next one is."""
    begun_at: list[float] = []
    for _ in range(9):
        before = len(site.started)
        while len(site.started) == before:
            site.pass_by(1)
        begun_at.append(site.now)
        site.started[-1].code, site.started[-1].said = 4, "register.csv is not there"
        site.pass_by(1)
    waits = [round(after - before) for before, after in pairwise(begun_at)]
    expected = [60, 120, 240, 480, 960, 1_920, 3_600, 3_600]
    assert all(wanted <= wait <= wanted + 3 for wait, wanted in zip(waits, expected, strict=True)), waits
    assert {told.why for told in site.told} == {"register.csv is not there"}
    assert [told.done for told in site.told] == [False] * 9
    assert 50 <= site.told[0].next_s <= 60


def test_a_process_that_says_nothing_is_told_by_its_exit_code(site: Site) -> None:
    """As when the system killed it for its memory."""
    site.pass_by(4)
    site.started[0].code = -9
    site.pass_by(1)
    assert site.told[0].why == "the process ended with -9"


def test_a_register_that_is_lost_again_much_later_is_loaded_at_once(site: Site) -> None:
    """The waits are for what follows on each other."""
    for wait in (4, 200):
        site.pass_by(wait)
        site.in_force = a_generation()
        site.started[-1].code = 0
        site.pass_by(1)
        site.in_force = None
    site.in_force = a_generation()
    site.pass_by(8_000)
    site.in_force = None
    began = len(site.started)
    site.pass_by(5)
    assert len(site.started) == began + 1


def test_a_process_does_not_outlive_the_service(site: Site) -> None:
    """The next service begins it again."""
    site.pass_by(4)
    site.repair.stop()
    assert site.started[0].killed
    site.repair.stop()
