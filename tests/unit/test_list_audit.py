"""The rounds through everything that Redis must hold: spread over time, and begun at once after an eviction."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from agent import list_audit
from agent.domain.condition import AuditStep
from agent.domain.errors import LookupUnavailable
from agent.list_audit import ListAudit


class Sets:
    """Some steps, each of which finds as many expiring keys as it is told."""

    def __init__(self, *expiring: int, steps_needed: int = 3) -> None:
        self._expiring = expiring
        self._steps_needed = steps_needed
        self.evictions: int | None = 0
        self.asked = 0
        self.rounds = 0
        self.fails = False

    def steps_needed(self) -> int:
        """As told."""
        return self._steps_needed

    def steps(self) -> Iterator[AuditStep]:
        """One round."""
        self.rounds += 1
        for count in self._expiring:
            if self.fails:
                raise LookupUnavailable("away")
            yield AuditStep(loss=None, expiring=count)

    def evicted(self) -> int | None:
        """As told."""
        self.asked += 1
        return self.evictions


class Clock:
    """Goes on by what each step says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1_000.0
        monkeypatch.setattr(list_audit, "monotonic", lambda: self.now)

    def run(self, audit: ListAudit, seconds: float) -> int:
        """Steps in so much time."""
        end, steps = self.now + seconds, 0
        while self.now < end:
            self.now += audit.step()
            steps += 1
        return steps


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock of one's own."""
    return Clock(monkeypatch)


@pytest.mark.parametrize("steps", [1, 30, 1_000, 20_000])
def test_every_set_is_looked_at_again_within_a_minute(clock: Clock, steps: int) -> None:
    """However many there are; and calls feel none of it, for the steps of a large register are spread."""
    sets = Sets(*[0] * steps, steps_needed=steps)
    audit = ListAudit(sets, lambda count: None)
    clock.run(audit, 600)
    assert 600 / sets.rounds < 60
    pause_s = audit._pause_s
    assert pause_s == min(1.0, 30 / steps)


def test_the_first_round_begins_with_the_service(clock: Clock) -> None:
    """It may have been down for long."""
    sets = Sets(0)
    audit = ListAudit(sets, lambda count: None)
    audit.step()
    assert sets.rounds == 1


def test_an_eviction_is_followed_by_a_round_at_once(clock: Clock) -> None:
    """The policy may be as it should be by now."""
    sets = Sets(0)
    audit = ListAudit(sets, lambda count: None)
    clock.run(audit, 10)
    sets.evictions = 7
    clock.run(audit, 3)
    assert sets.rounds == 2
    clock.run(audit, 10)
    assert sets.rounds == 2


def test_a_redis_that_does_not_say_what_it_evicted_is_not_asked_every_second(clock: Clock) -> None:
    """A managed server: it would be counted as an error of Redis each time."""
    sets = Sets(0)
    sets.evictions = None
    audit = ListAudit(sets, lambda count: None)
    clock.run(audit, 400)
    assert sets.rounds >= 8
    assert sets.asked <= sets.rounds + 1


def test_keys_that_expire_are_told_where_there_are_any(clock: Clock) -> None:
    """Step by step."""
    told: list[int] = []
    clock.run(ListAudit(Sets(0, 2, 0, 3), told.append), 30)
    assert told == [2, 3]


def test_a_round_that_fails_is_followed_by_the_next_one_in_its_time(clock: Clock) -> None:
    """Nothing hangs on the one that broke off."""
    sets = Sets(0, 0)
    sets.fails = True
    audit = ListAudit(sets, lambda count: None)
    with pytest.raises(LookupUnavailable):
        clock.run(audit, 5)
    sets.fails = False
    clock.run(audit, 60)
    assert sets.rounds >= 2
