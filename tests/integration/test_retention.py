"""``bmn journal purge``: what is past its period is gone to the byte, and nothing else changes."""

from __future__ import annotations

import random
import sqlite3
import threading
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis

from agent.adapters import redis_keys
from agent.adapters.journal_file import connect
from agent.adapters.journal_purge import JournalPurge
from agent.adapters.journal_views import JournalCalls
from agent.bootstrap import Application, retention
from agent.domain.choice import Answer, Source
from agent.domain.deadline import Deadline
from agent.domain.errors import InputRejected, JournalUnavailable
from agent.domain.journal_events import Event, EventType
from agent.domain.phone_number import PhoneNumber
from agent.domain.standing import standing
from agent.retention import Purge
from agent.screening import ScreenRequest
from tests.conftest import load_register, wired
from tests.integration.aged_journal import NOW, AgedJournal
from tests.integration.test_cli import Bmn

NUMBERS = [f"+3161234{last:04d}" for last in range(40)]
OLD = NOW - timedelta(days=2_000)
"""Past every period."""
CAMPAIGNS = ("energy", "solar", "charity", "loans")


@pytest.fixture
def site(tmp_path: Path, redis_url: str) -> Bmn:
    """Its commands."""
    return Bmn(tmp_path, redis_url)


@pytest.fixture
def old(app: Application, monkeypatch: pytest.MonkeyPatch) -> AgedJournal:
    """The same site's journal."""
    return AgedJournal(app, monkeypatch)


def purged(app: Application, **options: bool) -> Purge:
    """What a purge says; the clock is right."""
    return retention(app).purge(lambda *_: None, **{"dry_run": False, "trust_clock": True, **options})


def verdicts(app: Application) -> dict[tuple[str, str], str]:
    """Of every number in every campaign."""
    app.outbox.drain()
    found = {}
    for number in NUMBERS:
        for campaign in CAMPAIGNS:
            request = ScreenRequest(number=number, campaign=campaign, agent="", source="command")
            screened, _ = app.screening.screen(request, Deadline.after_ms(5_000))
            found[number, campaign] = str(screened.decision.reason)
    return found


def stands(app: Application) -> dict[str, Any]:
    """What holds of every number, with the records that it rests on."""
    calls = JournalCalls(app.journal)
    found = {}
    for number in NUMBERS:
        now = standing(calls.choices_of(number, app.journal.head().seq))
        optouts = {seller: one.seq for seller, one in now.optouts.items() if one is not None}
        blocked = {entry for entry, blocks in now.registrations.items() if blocks}
        phone = PhoneNumber(digits=number.removeprefix("+"))
        customers = [
            one.since
            for seller in ("acme", "bank")
            for one in app.seller_lists.customers(seller, None)
            if one.number == phone
        ]
        found[number] = (optouts, {seller: one.seq for seller, one in now.listed.items()}, blocked, customers)
    return found


@pytest.mark.parametrize("seed", range(4))
def test_everybody_gets_the_same_verdicts_as_before(
    app: Application, old: AgedJournal, site: Bmn, redis_url: str, seed: int
) -> None:
    """After a purge of random lives of twelve years: in Redis as it is, and in one that is filled from what is left."""
    load_register(app, "0612340000\n0612340001\n0612340002\n")
    old.live_through(NUMBERS, 12, 700, random.Random(seed))
    before = verdicts(app), stands(app), list(app.registrations.all())
    assert len(set(before[0].values())) >= 4
    done = purged(app)
    assert done.count > 300
    assert done.wiped
    after = verdicts(app), stands(app), list(app.registrations.all())
    assert after[:2] == before[:2]
    kept = {item.call: item for item in after[2]}
    for item in before[2]:
        if item.state == "pending":
            assert kept[item.call] == item
        elif item.wish.register:  # that the call ended is of no use any more once it was handed over
            assert replace(kept[item.call], ended_at=None) == replace(item, ended_at=None)
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
    site("rebuild")
    assert verdicts(app) == before[0]
    told = site.json("journal", "verify")
    assert (told["whole"], told["purged"]) == (True, done.count)
    assert purged(app).count == 0


def test_the_number_is_gone_from_every_file(app: Application, old: AgedJournal, site: Bmn, tmp_path: Path) -> None:
    """Journal, write-ahead log, all of it; who objected is there still."""
    gone, protected = "+31687654321", "+31687650000"
    for step in range(300):
        moment = OLD + timedelta(minutes=step)
        call = old.call(moment, gone)
        seq = old.say(moment, gone, call, Source.AGENT, Answer.SELLER_OPTOUT)
        old.undo(moment, gone, call, seq, Answer.SELLER_OPTOUT)
        old.call(moment, f"+3161111{step:04d}")
    old.append(OLD, EventType.OPTOUT_ADDED, seller="acme", number=protected, source="letter", by="tests")
    old.append(NOW, EventType.AGENT_STARTED, host="here", pid=1, version="1", listen="-")
    journal = tmp_path / "journal.db"
    with closing(sqlite3.connect(journal)) as connection:
        assert connection.execute("SELECT count(*) FROM records WHERE number = ?", (gone,)).fetchone() == (900,)
    dry = site.json("journal", "purge", "--dry-run", "--trust-clock")
    assert dry["count"] == 1_200
    assert site.json("journal", "verify")["purged"] == 0
    assert site.json("journal", "purge", "--trust-clock")["counts"] == dry["counts"]
    for file in tmp_path.iterdir():
        content = file.read_bytes()
        assert b"87654321" not in content, file.name
        assert b"61111" not in content, file.name
    with closing(sqlite3.connect(journal)) as connection:
        assert connection.execute("SELECT number FROM records WHERE number IS NOT NULL").fetchall() == [(protected,)]
    assert "1,200 records the body was purged" in site("journal", "verify")


def test_what_ended_counts_from_its_end(app: Application, old: AgedJournal) -> None:
    """A customer of long ago who left last year explains the calls of these years."""
    number = NUMBERS[0]
    entry = {"seller": "acme", "product_group": "energy-contract", "number": number, "by": "tests"}
    sale = {"sold_on": "2016-01-05", "product": "Stroom", "source": "test"}
    added = old.append(OLD - timedelta(days=900), EventType.CUSTOMER_ADDED, **entry, **sale)
    again = old.append(OLD, EventType.CUSTOMER_ADDED, **entry, **sale)
    old.append(NOW - timedelta(days=300), EventType.CUSTOMER_REMOVED, **entry, reason="left")
    assert dict(purged(app).counts) == {EventType.CUSTOMER_ADDED: 1}
    assert app.journal.record(added) is None
    assert app.journal.record(again) is not None


def test_a_registration_that_is_pending_keeps_its_whole_call(app: Application, old: AgedJournal) -> None:
    """The registrar does not have it yet, however old it is."""
    number = NUMBERS[0]
    call = old.call(OLD, number)
    old.say(OLD, number, call, Source.AGENT, Answer.REGISTER_WITH_CHARITIES)
    old.finish(OLD, number, call)
    other = old.call(OLD, NUMBERS[1])
    old.append(NOW, EventType.AGENT_STARTED, host="here", pid=1, version="1", listen="-")
    before = list(app.registrations.all())
    assert purged(app).count == 1
    assert list(app.registrations.all()) == before
    calls = JournalCalls(app.journal)
    assert (len(calls.of_call(call)), len(calls.of_call(other))) == (3, 0)


def test_the_end_of_a_call_does_not_go_before_its_beginning(app: Application, old: AgedJournal, site: Bmn) -> None:
    """The clock was set back in the call, and the period ends between the two: the journal holds together."""
    edge = NOW - timedelta(days=1826)
    call = old.call(edge + timedelta(minutes=30), NUMBERS[0])
    old.finish(edge - timedelta(minutes=30), NUMBERS[0], call)
    lost = old.call(edge + timedelta(minutes=25), NUMBERS[2])
    old.append(
        edge - timedelta(minutes=25),
        EventType.VERDICT_UNDELIVERED,
        call=lost,
        number=NUMBERS[2],
        verdict="allow",
        why="lost",
    )
    other = old.call(edge - timedelta(minutes=40), NUMBERS[1])
    old.finish(edge - timedelta(minutes=35), NUMBERS[1], other)
    old.append(edge - timedelta(minutes=20), EventType.AGENT_STARTED, host="here", pid=1, version="1", listen="-")
    assert dict(purged(app).counts) == {
        EventType.AGENT_STARTED: 1,
        EventType.CALL_SCREENED: 1,
        EventType.CALL_FINISHED: 1,
    }
    assert [len(JournalCalls(app.journal).of_call(one)) for one in (call, lost)] == [2, 2]
    assert site.json("journal", "verify")["whole"] is True


def test_a_withdrawal_that_the_registrar_has_to_hear_of_keeps_its_choices(app: Application, old: AgedJournal) -> None:
    """Nothing of it is in force, but the registrar still believes it."""
    call = old.call(OLD, NUMBERS[0])
    key = old.say(OLD, NUMBERS[0], call, Source.AGENT, Answer.REGISTER_WITH_CHARITIES)
    told = {"batch": "b1", "action": "register", "scope": "everything", "charities": "yes", "profile": "nl-bmnr"}
    old.append(OLD, EventType.REGISTRATION_EXPORTED, call=call, number=NUMBERS[0], **told)
    old.undo(OLD, NUMBERS[0], call, key, Answer.REGISTER_WITH_CHARITIES)
    before = list(app.registrations.all())
    assert [(item.state, item.action) for item in before] == [("pending", "withdraw")]
    assert purged(app).count == 0
    assert list(app.registrations.all()) == before


def test_screening_goes_on_when_all_list_changes_are_past_their_period(
    app: Application, old: AgedJournal, redis_url: str
) -> None:
    """It looks for the newest that protects, so that one stays; an empty Redis must be able to reach it."""
    load_register(app, "0612340001\n")
    entry = {"seller": "acme", "product_group": "energy-contract", "number": NUMBERS[0], "by": "tests"}
    for step in range(3):
        moment = OLD + timedelta(days=step)
        sale = {"sold_on": "2014-01-05", "product": "Stroom", "source": "test"}
        old.append(moment, EventType.CUSTOMER_ADDED, **entry, **sale)
        old.append(moment, EventType.CUSTOMER_REMOVED, **entry, reason="left")
    before = verdicts(app)
    assert purged(app).count == 5
    with redis.Redis.from_url(redis_url) as client:
        client.set(redis_keys.APPLIED, "nonsense")
    app.outbox.replay(lambda *_: None, take_over=False)
    assert verdicts(app) == before
    assert "lookup_unavailable" not in before.values()


def test_a_body_that_came_back_is_found(app: Application, old: AgedJournal, site: Bmn) -> None:
    """From a copy: it matches its digest, but the purge said that it was gone."""
    old.call(OLD, NUMBERS[0])
    with closing(sqlite3.connect(app.settings.journal.path, isolation_level=None)) as connection:
        row = connection.execute("SELECT salt, body FROM records WHERE seq = 1").fetchone()
        assert purged(app).count == 1
        connection.execute("UPDATE records SET salt = ?, body = ? WHERE seq = 1", row)
    assert "0 bodies are gone, and the records of purges tell of 1" in site("journal", "verify", code=1)


def test_calls_are_screened_during_a_purge(app: Application, old: AgedJournal, tmp_path: Path, redis_url: str) -> None:
    """By another process's journal: each is answered with a verdict of its own while bodies are going."""
    for step in range(60):
        old.call(OLD + timedelta(minutes=step), NUMBERS[0])
    load_register(app, "0612340001\n")
    seen: list[str] = []
    with wired(tmp_path, redis_url) as service:
        use_case = retention(app)
        turn = threading.Event()

        def screen_one(_: float) -> None:
            request = ScreenRequest(number=NUMBERS[2], campaign="energy", agent="", source="fastagi")
            seen.append(str(service.screening.screen(request, Deadline.after_ms(1_000))[0].decision.reason))
            turn.set()

        use_case._pause = screen_one
        import agent.retention

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(agent.retention, "_CHUNK", 10)
            assert use_case.purge(lambda *_: None, dry_run=False, trust_clock=True).count == 60
    assert turn.is_set()
    assert seen == ["not_registered"] * 6


def test_bodies_that_went_without_a_purge_are_found(app: Application, old: AgedJournal, site: Bmn) -> None:
    """By the shell, with and without a mark; and readers do not pass them over, for they may be opt-outs."""
    old.call(OLD, NUMBERS[0])
    hidden = old.append(NOW, EventType.OPTOUT_ADDED, seller="acme", number=NUMBERS[1], source="letter", by="tests")
    old.append(NOW, EventType.AGENT_STARTED, host="here", pid=1, version="1", listen="-")
    assert purged(app).count == 1
    journal = app.settings.journal.path
    with closing(sqlite3.connect(journal, isolation_level=None)) as connection:
        (mark,) = connection.execute("SELECT salt FROM records WHERE seq = 1").fetchone()
        for salt in (None, mark):
            connection.execute("UPDATE records SET body = NULL, salt = ? WHERE seq = ?", (salt, hidden))
            told = site.json("journal", "verify", code=1)
            assert (told["first_bad"], told["whole"]) == (hidden, False)
            with pytest.raises(JournalUnavailable, match="no purge took it"):
                app.journal.list_changes(0, 10)


def test_a_clock_that_is_wrong_takes_nothing(app: Application, old: AgedJournal, site: Bmn) -> None:
    """What it would take cannot be brought back."""
    old.call(OLD, NUMBERS[0])
    assert "set the clock" in site("journal", "purge", code=4)
    assert site.json("journal", "verify")["purged"] == 0
    assert site.json("journal", "purge", "--trust-clock")["count"] == 1


@pytest.mark.parametrize("beside", [0, 3])
def test_a_clock_that_jumped_is_found_behind_what_was_written_with_it(
    app: Application, old: AgedJournal, beside: int
) -> None:
    """A service that starts with the wrong clock writes before the purge looks, as much as it likes."""
    for step in range(5):
        old.call(NOW + timedelta(minutes=step), NUMBERS[0])
    wrong = NOW + timedelta(days=3_650)
    for step in range(beside):
        old.append(wrong + timedelta(minutes=step), EventType.AGENT_STARTED, host="h", pid=1, version="1", listen="-")
    use_case = retention(app)
    use_case._clock, use_case._synchronised = lambda: wrong + timedelta(hours=1), lambda: True
    with pytest.raises(InputRejected, match=f"record 5 is of {NOW:%Y}"):
        use_case.purge(lambda *_: None, dry_run=False)
    assert use_case.purge(lambda *_: None, dry_run=True).count == 5, "who only looks loses nothing"
    assert app.journal.head().seq == 5 + beside
    assert use_case.purge(lambda *_: None, dry_run=False, trust_clock=True).count == 5


def test_a_journal_without_a_jump_is_purged(app: Application, old: AgedJournal) -> None:
    """A record a month is enough, and so is a journal that only began: then nothing is old."""
    use_case = retention(app)
    use_case._synchronised = lambda: None
    assert use_case.purge(lambda *_: None, dry_run=False).count == 0
    for days in range(1_980, -1, -30):
        old.call(NOW - timedelta(days=days), NUMBERS[0])
    assert use_case.purge(lambda *_: None, dry_run=False).count == 6


def test_a_clock_that_nothing_keeps_right_is_refused(
    app: Application, old: AgedJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the system says so; one that does not say is taken as it is."""
    old.call(NOW, NUMBERS[0])
    monkeypatch.setattr("agent.bootstrap.synchronised", lambda: False)
    with pytest.raises(InputRejected, match="nothing keeps"):
        purged(app, trust_clock=False)
    use_case = retention(app)
    for answer in (True, None):
        use_case._synchronised = lambda answer=answer: answer  # type: ignore[misc]
        assert use_case.purge(lambda *_: None, dry_run=False).count == 0
    use_case._synchronised = lambda: False
    with pytest.raises(InputRejected, match="nothing keeps the clock of this machine right"):
        use_case.purge(lambda *_: None, dry_run=False)
    assert use_case.purge(lambda *_: None, dry_run=False, trust_clock=True).count == 0


def test_calls_are_recorded_while_a_reader_holds_up_a_wipe(app: Application, old: AgedJournal) -> None:
    """A check of the chain, an export: it keeps the purge from its end, and nobody else."""
    old.call(NOW, NUMBERS[0])
    appended, told = threading.Semaphore(0), []
    with closing(connect(app.settings.journal.path)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM records").fetchone()
        old.call(NOW, NUMBERS[0])

        def wait(_: float) -> None:
            appended.acquire(timeout=5)

        purge = JournalPurge(app.journal, pause=wait)
        wipe = threading.Thread(target=lambda: told.append(purge.wipe()))
        wipe.start()
        while wipe.is_alive():
            app.journal.append([Event.of(EventType.AGENT_STOPPED, {})], Deadline.after_ms(1_000))
            appended.release()
        wipe.join()
        assert told == [False]

        def end(_: float) -> None:
            reader.rollback()

        assert JournalPurge(app.journal, pause=end).wipe()


def test_two_purges_at_once_count_each_body_once(app: Application, old: AgedJournal, site: Bmn) -> None:
    """The second is refused what the first took, and the counts agree."""
    for step in range(20):
        old.call(OLD + timedelta(minutes=step), NUMBERS[0])
    use_case = retention(app)
    remove, told = use_case._remove, []

    def remove_late(*arguments: Any) -> None:
        told.append(site("journal", "purge", "--trust-clock"))
        remove(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(use_case, "_remove", remove_late)
        with pytest.raises(InputRejected, match="another purge is at work"):
            use_case.purge(lambda *_: None, dry_run=False, trust_clock=True)
    assert len(told) == 1
    assert (site.json("journal", "verify")["purged"], app.journal.head().seq) == (20, 21)
