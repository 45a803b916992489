"""Two at work on Redis at once: each test puts the other one exactly where it would do harm."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from io import BytesIO
from typing import Any

import pytest
import redis

from agent.adapters import redis_generations, redis_import_lock, redis_keys, redis_values
from agent.adapters.redis_commands import Reading
from agent.adapters.redis_connection import RedisServer
from agent.adapters.redis_generation_sets import set_sizes
from agent.adapters.redis_generations import RedisGenerations
from agent.adapters.redis_import_lock import ImportLock
from agent.adapters.redis_set_changes import SetChanges
from agent.bootstrap import Application
from agent.domain.deadline import Deadline
from agent.domain.errors import InputRejected, ListsBehind, LookupUnavailable
from agent.domain.journal_events import Event, EventType
from agent.domain.model import Blocked, Generation
from agent.domain.phone_number import PhoneNumber
from agent.domain.profile import NL_BMNR
from tests.conftest import load_register, wired
from tests.integration.test_outbox import an_optout
from tests.integration.test_screening import NUMBER, reason
from tests.redis_proxy import read_frame

GOOD = "0612345678\n"
PROFILE = NL_BMNR.key
LOCK = redis_keys.import_lock(PROFILE)
COMMANDS = 20
"""Of a lookup: the mark, five sets of ours and three of the register, the sizes of all, two rosters, the pointer."""
IN_THE_SAME_SET = PhoneNumber(digits="31612345679")
NUMBERS = {Blocked.ALL: [31600000000 + step * 10_000 for step in range(4)]}


@pytest.fixture
def client(redis_url: str) -> Iterator[Any]:
    """What another process does."""
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        yield client


@pytest.fixture
def generations(app: Application, monkeypatch: pytest.MonkeyPatch) -> RedisGenerations:
    """Loads of four numbers, in a batch each."""
    monkeypatch.setattr(redis_generations, "_BATCH_MEMBERS", 1)
    return RedisGenerations(app.redis)


def a_generation(name: str) -> Generation:
    """With an id to be recognised by."""
    now = datetime.now(UTC)
    return Generation(id=name, profile=PROFILE, as_of=date(2026, 1, 1), loaded_at=now, count=4, sha256="0" * 64)


def held(client: Any, name: str) -> int:
    """How many entries of a generation Redis has."""
    return sum(set_sizes(client, redis_keys.register_sets_pattern(name)).values())


# --- loads


def test_a_load_that_lost_its_lock_removes_only_its_own_part(generations: RedisGenerations, client: Any) -> None:
    """It finds out while another one is in the middle of its load, which stays whole."""
    waiting, on = threading.Event(), threading.Event()

    def wait(step: str, done: int, total: int | None) -> None:
        waiting.set()
        assert on.wait(10)

    def slow() -> None:
        with pytest.raises(LookupUnavailable, match="lock in Redis was lost"), generations.changing(PROFILE) as changes:
            changes.load(a_generation("slow"), NUMBERS, wait)

    thread = threading.Thread(target=slow)
    thread.start()
    assert waiting.wait(10)
    client.delete(LOCK)  # its time has passed

    def let_the_other_find_out(step: str, done: int, total: int | None) -> None:
        on.set()
        thread.join(10)
        assert client.hkeys(redis_keys.loading(PROFILE)) == ["quick"]

    with generations.changing(PROFILE) as changes:
        changes.load(a_generation("quick"), NUMBERS, let_the_other_find_out)
    assert (held(client, "slow"), held(client, "quick")) == (0, 4)
    assert [item.id for item in generations.kept(PROFILE)] == ["quick"]


@pytest.mark.parametrize("owner", [None, "elsewhere 1 abc"])
def test_a_load_is_not_complete_when_its_lock_was_lost_at_the_last_moment(
    generations: RedisGenerations, client: Any, owner: str | None
) -> None:
    """After its last batch: expired, or with another one already."""

    def lose_it(step: str, done: int, total: int | None) -> None:
        if done == total:
            client.delete(LOCK)
            if owner:
                client.set(LOCK, owner)

    with pytest.raises(LookupUnavailable, match="lock in Redis was lost"), generations.changing(PROFILE) as changes:
        changes.load(a_generation("late"), NUMBERS, lose_it)
    assert generations.kept(PROFILE) == ()
    assert held(client, "late") == 0
    assert client.get(LOCK) == owner


def test_a_load_of_which_redis_took_less_is_not_complete(generations: RedisGenerations, client: Any) -> None:
    """A member was there already, so this is not the set that was meant."""
    client.sadd(redis_keys.register_set("3160000", "odd", Blocked.ALL), 0)
    with pytest.raises(LookupUnavailable, match="Redis took 3 of 4 entries"), generations.changing(PROFILE) as changes:
        changes.load(a_generation("odd"), NUMBERS, lambda *_: None)
    assert generations.kept(PROFILE) == ()


def test_only_the_owner_renews_and_ends_a_lock(app: Application, client: Any) -> None:
    """Whoever has it now keeps it, for as long as it was given."""
    with ImportLock(app.redis, LOCK) as lock:
        lock.renew()
        client.set(LOCK, "elsewhere 1 abc", px=5_000)
        with pytest.raises(LookupUnavailable, match="lost"):
            lock.renew()
        assert client.pttl(LOCK) <= 5_000
    assert client.get(LOCK) == "elsewhere 1 abc"


def test_a_dead_lock_is_taken_over_by_one_only(app: Application, client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both find it dead; the second must not remove what the first has taken."""

    def another_is_faster(holder: str) -> bool:
        client.set(LOCK, "elsewhere 1 abc")
        return True

    client.set(LOCK, "here 1 dead")
    monkeypatch.setattr(redis_import_lock, "_is_dead", another_is_faster)
    with pytest.raises(InputRejected, match="has just begun"), ImportLock(app.redis, LOCK):
        pass
    assert client.get(LOCK) == "elsewhere 1 abc"


def test_a_lock_that_nobody_can_have_written_is_taken_over(app: Application, client: Any) -> None:
    """Else it would stop imports for good."""
    client.set(LOCK, "nonsense")
    with ImportLock(app.redis, LOCK) as lock:
        assert client.get(LOCK) == lock.owner


# --- letting loads go


def test_the_load_in_force_is_never_let_go(app: Application, client: Any) -> None:
    """Whatever is asked."""
    generation = load_register(app, GOOD).generation.id
    with RedisGenerations(app.redis).changing(PROFILE) as changes:
        assert changes.retire([]) == ()
    assert held(client, generation) == 1


def test_a_load_that_comes_into_force_just_then_is_not_let_go(
    app: Application, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rollback between the look at the pointer and the end of the transaction."""
    old, new = (load_register(app, GOOD).generation.id for _ in range(2))
    read = redis_values.generation_from_text
    looks = 0

    def put_in_force_meanwhile(pointer: str) -> Generation:
        nonlocal looks
        looks += 1
        if looks == 1:
            client.set(redis_keys.current(PROFILE), pointer.replace(new, old))
        return read(pointer)

    monkeypatch.setattr(redis_generations, "generation_from_text", put_in_force_meanwhile)
    with RedisGenerations(app.redis).changing(PROFILE) as changes:
        assert changes.retire([new]) == ()
    assert (looks, held(client, old)) == (2, 1)


def test_nothing_is_let_go_without_the_lock(app: Application, client: Any) -> None:
    """Another one may be about to put it in force."""
    old, new = (load_register(app, GOOD).generation.id for _ in range(2))
    with RedisGenerations(app.redis).changing(PROFILE) as changes:
        client.delete(LOCK)
        assert changes.retire([new]) == ()
    assert held(client, old) == 1


def test_a_load_that_was_let_go_and_not_freed_is_litter_for_the_next_load(app: Application, client: Any) -> None:
    """Whoever was killed in between: it cannot be put in force any more, and is not forgotten."""
    old, new = (load_register(app, GOOD).generation.id for _ in range(2))
    with RedisGenerations(app.redis).changing(PROFILE) as changes:
        assert changes.retire([new]) == (old,)
    assert [item.id for item in app.registers.status(NL_BMNR).kept] == [new]
    assert client.hkeys(redis_keys.loading(PROFILE)) == [old]
    load_register(app, GOOD)
    assert held(client, old) == 0
    assert not client.exists(redis_keys.loading(PROFILE))


def test_nobody_rolls_back_while_an_import_is_under_way(app: Application, client: Any) -> None:
    """Which would undo the rollback a moment later."""
    for _ in range(2):
        load_register(app, GOOD)
    client.set(LOCK, "elsewhere 1 abc")
    with pytest.raises(InputRejected, match="process 1 on elsewhere"):
        app.registers.rollback(NL_BMNR)


# --- applying and reading


@pytest.mark.parametrize("after_reading", [False, True])
def test_a_batch_that_another_process_was_faster_with_is_not_applied_again(
    app: Application, tmp_path: Any, redis_url: str, monkeypatch: pytest.MonkeyPatch, after_reading: bool
) -> None:
    """Between the look at the mark and the end of the transaction; mark and roster never go back."""
    app.outbox.drain()
    changes: Any = app.outbox._lists
    app.journal.append([an_optout()], Deadline.after_ms(1_000))
    records, after = app.journal.list_changes(0, 10), changes.applied()
    upto: Any = app.journal.mark(records[-1].seq)
    read, calls = SetChanges.read, 0

    def another_is_faster(self: SetChanges, server: RedisServer) -> bool:
        nonlocal calls
        calls += 1
        if calls > 1:
            return read(self, server)
        found = read(self, server) if after_reading else True
        with wired(tmp_path, redis_url) as other:
            assert other.outbox.drain() == 1
            other.seller_lists.add_optout("acme", IN_THE_SAME_SET, "letter", None)
        return found if after_reading else read(self, server)

    monkeypatch.setattr(SetChanges, "read", another_is_faster)
    assert changes.apply(records, after, upto, {}) is False
    assert changes.applied() == app.journal.mark(upto.seq + 1)
    assert client_entry(redis_url, NUMBER.prefix) == "|optout:acme=2|"
    assert [reason(app), reason(app, IN_THE_SAME_SET.e164)] == ["seller_optout"] * 2


def client_entry(redis_url: str, prefix: str) -> Any:
    """What the roster of our own lists says of a prefix."""
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        return client.hget(redis_keys.LISTS_ROSTER, prefix)


@contextmanager
def between_replies(app: Application, position: int, happens: Callable[[], object]) -> Iterator[None]:
    """Have something happen after ``position`` commands of the next lookup; Redis promises no more than their order."""
    server: Any = app.redis
    ask = server.ask
    waiting = [happens]

    def one_by_one(question: Reading, deadline: Deadline | None = None) -> list[Any]:
        if not waiting or len(question.checks) < COMMANDS:
            return list(ask(question, deadline))
        happens = waiting.pop()
        stream = BytesIO(question.packed)
        commands = [read_frame(stream) for _ in question.checks]
        before = Reading(b"".join(commands[:position]), question.checks[:position])
        after = Reading(b"".join(commands[position:]), question.checks[position:])
        replies = ask(before, deadline) if position else []
        happens()
        return [*replies, *(ask(after, deadline) if position < COMMANDS else [])]

    server.ask = one_by_one
    try:
        yield
    finally:
        del server.ask
    assert not waiting


@pytest.mark.parametrize("position", range(COMMANDS + 1))
def test_an_optout_applied_during_a_lookup_is_seen_or_the_lookup_is_behind(app: Application, position: int) -> None:
    """So the mark is read before the lists."""
    load_register(app, GOOD)
    reason(app)
    app.journal.append([an_optout()], Deadline.after_ms(1_000))
    journal = app.journal.state()
    with between_replies(app, position, app.outbox.drain):
        try:
            facts = app.screening._lists.facts(NUMBER, app.campaigns["energy"], journal, Deadline.after_ms(5_000))
        except ListsBehind:
            assert position > 0
        else:
            assert facts.seller_optout


@pytest.mark.parametrize("position", range(COMMANDS + 1))
def test_a_load_that_is_freed_during_a_lookup_is_not_believed(app: Application, position: int) -> None:
    """So the pointer is read after the lists: who was asked about an empty generation asks again."""
    load_register(app, GOOD)
    reason(app)
    journal = app.journal.state()

    def reload() -> None:
        for _ in range(2):
            load_register(app, GOOD)

    with between_replies(app, position, reload):
        facts = app.screening._lists.facts(NUMBER, app.campaigns["energy"], journal, Deadline.after_ms(5_000))
    assert facts.register_entry == {Blocked.ALL}


def test_the_end_of_an_exemption_is_waited_for(app: Application) -> None:
    """It may turn an allow into a block, so no call is allowed before Redis knows of it."""
    app.outbox.drain()
    where = {"seller": "acme", "product_group": "energy-contract", "number": NUMBER.e164}
    added = {**where, "sold_on": "2026-01-05", "product": "Stroom", "evidence": None, "source": "test", "by": "test"}
    removed = {**where, "reason": "contract ended", "by": "test"}
    app.journal.append([Event(EventType.CUSTOMER_ADDED, added)], Deadline.after_ms(1_000))
    app.outbox.drain()
    assert reason(app) == "exempt_customer"
    app.journal.append([Event(EventType.CUSTOMER_REMOVED, removed)], Deadline.after_ms(1_000))
    assert reason(app) == "register_missing"


# --- a lock that was lost


def test_a_rollback_that_lost_its_lock_changes_nothing(
    app: Application, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another load may be in force by now."""
    generations = [load_register(app, GOOD).generation.id for _ in range(2)]
    whole = RedisGenerations.is_whole

    def slowly(self: RedisGenerations, profile: str, generation: str) -> bool:
        client.set(LOCK, "elsewhere 1 abc")
        return whole(self, profile, generation)

    monkeypatch.setattr(RedisGenerations, "is_whole", slowly)
    with pytest.raises(LookupUnavailable, match="lock in Redis was lost"):
        app.registers.rollback(NL_BMNR)
    status = app.registers.status(NL_BMNR)
    assert status.current is not None
    assert (status.current.id, status.problems) == (generations[1], ())
    assert not list(app.journal.records(f"type = '{EventType.REGISTER_ROLLED_BACK}'"))


def test_a_load_that_lost_its_lock_is_not_recorded(
    app: Application, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the journal it would be the one in force."""
    load_register(app, GOOD)
    load = redis_generations._Changes.load

    def then_lost(self: Any, *arguments: Any) -> None:
        load(self, *arguments)
        client.set(LOCK, "elsewhere 1 abc")

    monkeypatch.setattr(redis_generations._Changes, "load", then_lost)
    with pytest.raises(LookupUnavailable, match="lock in Redis was lost"):
        load_register(app, GOOD + "0687654321\n")
    assert len(list(app.journal.records(f"type = '{EventType.REGISTER_LOADED}'"))) == 1


def test_an_import_beside_another_one_reads_nothing_and_is_no_rejection(
    app: Application, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is wrong with its file."""
    load_register(app, GOOD)
    monkeypatch.setattr(redis_import_lock, "_WAIT_S", 0.05)
    monkeypatch.setattr("agent.register_loading.read_rows", None)
    client.set(LOCK, "elsewhere 1 abc")
    with pytest.raises(InputRejected, match="is under way"):
        load_register(app, GOOD + "0687654321\n")
    assert not list(app.journal.records(f"type = '{EventType.REGISTER_REJECTED}'"))
