"""How the service stands, read from a real Redis and a real journal."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from agent.adapters.journal_views import JournalCalls
from agent.bootstrap import Application, now_utc
from agent.bootstrap.service import service_state
from agent.domain.deadline import Deadline
from agent.domain.journal_events import EventType
from agent.domain.profile import NL_BMNR
from agent.domain.registration import Due, RegistrationState
from agent.service_state import OpenRegistrations, ServiceState, State
from deploy.lab.redis_server import PrivateRedis
from tests.conftest import load_register, wired
from tests.integration.test_choices import EMPTY, call, press
from tests.integration.test_registrations import answered, export
from tests.waiting import until


@pytest.fixture
def app(tmp_path: Path, redis_url: str) -> Iterator[Application]:
    """Calls count as over at once, so that their registrations can be handed over."""
    with wired(tmp_path, redis_url, BMN_REGISTRATIONS__SETTLE_MINUTES="0") as application:
        load_register(application, EMPTY)
        yield application


def read(state: ServiceState) -> State:
    """The state now."""
    return state.read(Deadline.after_ms(5_000))


def later(state: ServiceState, monkeypatch: pytest.MonkeyPatch, **ahead: float) -> State:
    """The state as it will be after some time, if nothing happens."""

    def clock() -> datetime:
        return now_utc() + timedelta(**ahead)

    monkeypatch.setattr(state, "_clock", clock)
    return read(state)


def waiting(state: State) -> dict[Due, int]:
    """Registrations that the registrar must get, where there are any."""
    assert state.registrations is not None
    return {due: count for due, count in state.registrations.due.items() if count}


@pytest.mark.parametrize(
    ("days", "due"),
    [(0, Due.LATER), (6.9, Due.LATER), (7.1, Due.WITHIN_3_DAYS), (9.1, Due.WITHIN_1_DAY), (10.1, Due.OVERDUE)],
)
def test_a_registration_comes_nearer_to_its_deadline(
    app: Application, monkeypatch: pytest.MonkeyPatch, days: float, due: Due
) -> None:
    """Which is ten days after it was said."""
    press(app, call(app), "register_with_charities")
    state = later(service_state(app), monkeypatch, days=days)
    assert waiting(state) == {due: 1}
    assert state.registrations is not None
    assert state.registrations.oldest is not None
    assert abs(state.registrations.oldest - timedelta(days=days)) < timedelta(minutes=1)


def test_a_registration_is_followed_to_its_end(
    app: Application, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Said, handed over, rejected, handed over again, accepted: by one reader that sees only what is new."""
    state = service_state(app)
    assert waiting(read(state)) == {}
    first, second = call(app), call(app, number="0687654321")
    press(app, first, "register_with_charities")
    press(app, second, "seller_optout")
    assert waiting(read(state)) == {Due.LATER: 1}
    monkeypatch.setattr(app.registrations, "_clock", lambda: now_utc() + timedelta(hours=5))
    export(app, tmp_path / "1.csv")
    known = read(state).registrations
    assert known is not None
    assert (sum(known.due.values()), known.unanswered, known.oldest) == (0, 1, None)
    app.registrations.acknowledge(answered((first, False, "number not in use")))
    assert waiting(read(state)) == {Due.LATER: 1}
    app.registrations.export(tmp_path / "2.csv", rejected=True)
    app.registrations.acknowledge(answered((first, True, None)))
    known = read(state).registrations
    assert known is not None
    assert (sum(known.due.values()), known.unanswered) == (0, 0)


def test_what_is_read_piece_by_piece_is_what_there_is(app: Application, tmp_path: Path) -> None:
    """The registrations that are kept up are those that a fresh look finds; undone ones are gone."""
    kept = OpenRegistrations(JournalCalls(app.journal), lambda: app.journal.head().seq)
    keys = ["register_with_charities", "offered", "register_without_charities", "seller_optout", "undo"]
    for serial in range(12):
        of_call = call(app, number=f"068765{serial:04d}")
        for key in keys[serial % 3 :]:
            press(app, of_call, key)
            fresh = [item for item in app.registrations.all() if item.state is not RegistrationState.WITHDRAWN]
            assert sorted(item.call for item in kept.read()) == sorted(item.call for item in fresh)
    assert len(kept.read()) > 3


def test_nothing_is_read_again_while_nothing_happens(app: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    """A journal of years must not be walked at each scrape."""
    press(app, call(app), "register_with_charities")
    calls = JournalCalls(app.journal)
    kept = OpenRegistrations(calls, lambda: app.journal.head().seq)
    until(lambda: list(app.journal.records(f"type = '{EventType.CHOICE_APPLIED}'")))
    assert len(kept.read()) == 1
    monkeypatch.setattr(calls, "of_call", None)
    monkeypatch.setattr(calls, "registrations_changed", None)
    assert len(kept.read()) == 1


def test_the_outbox_is_measured_without_redis_too(tmp_path: Path, own_redis: PrivateRedis) -> None:
    """From where Redis was last seen; a Redis that was never seen stands nowhere that is known."""
    with wired(tmp_path, own_redis.url) as app:
        load_register(app, EMPTY)
        state = service_state(app)
        before = read(state)
        assert before.redis_up
        assert before.outbox is not None
        assert (before.outbox.records, before.outbox.oldest) == (0, timedelta())
        of_call = call(app)
        own_redis.stop()
        assert not press(app, of_call, "seller_optout").applied
        after = read(state)
        assert (after.redis_up, after.redis_bytes, after.registers) == (False, None, ())
        assert after.outbox is not None
        assert after.outbox.records == 1
        assert timedelta() < after.outbox.oldest < timedelta(minutes=1)
        assert read(service_state(app)).outbox is None
        own_redis.start()
        again = read(state)
        assert again.redis_up
        assert [register.generation for register in again.registers] == [None]


def test_the_age_of_the_register_grows_past_its_period(app: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the rules count it."""
    state = service_state(app)
    (register,) = read(state).registers
    assert register.generation == app.registers.status(NL_BMNR).current
    (register,) = later(state, monkeypatch, days=29).registers
    assert register.age is not None
    assert register.age > timedelta(days=NL_BMNR.load_valid_days)


def test_a_redis_that_may_throw_numbers_away_is_not_up(tmp_path: Path, own_redis: PrivateRedis) -> None:
    """Nothing that it says is believed."""
    with wired(tmp_path, own_redis.url) as app:
        load_register(app, EMPTY)
        state = service_state(app)
        with app.redis.commands() as client:
            client.config_set("maxmemory-policy", "allkeys-lru")
        assert not read(state).redis_up
