"""Loads of the register: whole or not at all, and the last good one stays in force."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis

from agent import register_loading as loading_module
from agent.adapters import redis_keys
from agent.adapters.register_files import FileOptions, open_register_file
from agent.bootstrap import Application, now_utc, register_loading
from agent.domain.errors import InputRejected, JournalUnavailable, LookupUnavailable
from agent.domain.journal_events import EventType
from agent.domain.model import Blocked
from agent.domain.profile import NL_BMNR
from agent.register_loading import Imported, ImportOptions
from agent.register_rows import Rows, read_rows
from deploy.lab.redis_server import PrivateRedis
from tests.conftest import load_register, wired, write_configuration
from tests.integration.test_screening import reason

GOOD = "0612345678\n0612345679\n0612345680\n"


def load_bytes(app: Application, content: bytes) -> Imported:
    """Load a file with exactly this content."""
    path = app.settings.journal.path.parent / "register.txt"
    path.write_bytes(content)
    chosen = ImportOptions(as_of=date.today())
    return register_loading(app).import_files(NL_BMNR, [open_register_file(path)], chosen, lambda *_: None)


@pytest.mark.parametrize(
    ("content", "message", "problem"),
    [
        (b"", "is empty", ""),
        (b"\n\n", "there is no number", ""),
        (b"number\n", "there is no number", ""),
        (b"0612345678\n06123\n0612345679\n", "1 of 3 lines is wrong", "register.txt, line 2: not a number"),
        (b"0612345678\n+3225551234\n", "1 of 2 lines", "line 2: not a number of region NL"),
        (b"0612345678,energy\n0612345679,gas\n", "1 of 2 lines", "line 2: unknown word 'gas'"),
        (b"0612345678,\n", "1 of 1 line is wrong", "line 1: unknown word '(empty)'"),
        (b"0612345678,all;\n", "1 of 1 line is wrong", "unknown word '(empty)'"),
        (b"name,address\nJan,Dorp\n", "2 of 2 lines", "line 1"),
        (b"112\n", "1 of 1 line is wrong", "line 1"),
        (b"\xff\xfe0\x006\x001\x00", "1 of 1 line is wrong", "line 1: not a number"),
        (b"0612345678\n06123\x0045679\n", "NUL", ""),
        (b"0" * 5_000, "longer than", ""),
        (b"\x1f\x8b\x08\x00\x00\x00\x00\x00", "cut off", ""),
    ],
)
def test_a_bad_file_is_rejected_whole_and_changes_nothing(
    app: Application, redis_url: str, content: bytes, message: str, problem: str
) -> None:
    """With the line and why, and the load in force untouched to the key."""
    load_register(app, GOOD)
    with redis.Redis.from_url(redis_url) as client:
        before = sorted(client.keys("*"))
        with pytest.raises(InputRejected, match=message) as caught:
            load_bytes(app, content)
        assert sorted(client.keys("*")) == before
    assert problem in "\n".join(caught.value.problems)
    assert reason(app) == "registered"


def test_a_name_that_the_journal_cannot_hold_is_refused(tmp_path: Path) -> None:
    """Not UTF-8, or nothing that a terminal should show."""
    for name in (b"n\xff.txt", b"n\x1b.txt"):
        with pytest.raises(InputRejected, match="printable"):
            open_register_file(tmp_path / os.fsdecode(name))


def test_status_tells_a_clock_that_was_set_back(app: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what to do."""
    load_register(app, GOOD)
    monkeypatch.setattr(app.registers, "_clock", lambda: now_utc() - timedelta(days=2))
    status = app.registers.status(NL_BMNR)
    assert "set the clock right" in status.problems[0]


def test_a_rejection_is_in_the_journal(app: Application) -> None:
    """Which file, by its hash, and why."""
    with pytest.raises(InputRejected):
        load_bytes(app, b"0612345678\n06123\n")
    (record,) = app.journal.records(f"type = '{EventType.REGISTER_REJECTED}'")
    assert record.body["problems"] == 1
    assert "1 of 2 lines is wrong" in str(record.body["problem"])
    assert record.body["files"][0]["name"] == "register.txt"  # type: ignore[index,call-overload]


@pytest.mark.parametrize(
    ("as_of", "message"),
    [
        (date.today() + timedelta(days=2), "in the future"),
        (date.today() - timedelta(days=1), "before that of the load in force"),
    ],
)
def test_a_date_that_cannot_be_right_is_rejected(app: Application, as_of: date, message: str) -> None:
    """In the future, or before the load that it would replace."""
    load_register(app, GOOD)
    with pytest.raises(InputRejected, match=message):
        load_register(app, GOOD, as_of=as_of)


def test_an_older_load_can_be_asked_for(app: Application) -> None:
    """By name."""
    load_register(app, GOOD)
    path = app.settings.journal.path.parent / "register.csv"
    options = ImportOptions(as_of=date.today() - timedelta(days=3), allow_older=True)
    imported = register_loading(app).import_files(NL_BMNR, [open_register_file(path)], options, lambda *_: None)
    assert app.registers.status(NL_BMNR).current == imported.generation


@pytest.mark.parametrize(("left", "rejected"), [(90, False), (89, True)])
def test_a_load_that_shrinks_the_register_by_more_than_a_tenth_is_rejected(
    app: Application, left: int, rejected: bool
) -> None:
    """A cut-off file looks exactly like that. Ten per cent itself passes."""
    numbers = [f"06{20000000 + step}" for step in range(100)]
    load_register(app, "\n".join(numbers))
    if rejected:
        with pytest.raises(InputRejected, match="--allow-shrink"):
            load_register(app, "\n".join(numbers[:left]), allow_shrink=False)
        load_register(app, "\n".join(numbers[:left]), allow_shrink=True)
    else:
        load_register(app, "\n".join(numbers[:left]), allow_shrink=False)
    assert app.registers.status(NL_BMNR).current.count == left  # type: ignore[union-attr]


def test_spellings_and_repetitions_of_one_number_are_one_entry(app: Application) -> None:
    """Counted once; the repetition is told."""
    imported = load_register(app, "number\n0612345678\n+31612345678\n06-12345678\n\n0612345679\n")
    assert (imported.generation.count, imported.lines, imported.duplicates) == (2, 4, 2)


def test_sectors_of_one_number_add_up_over_lines_and_files(app: Application, tmp_path: Path) -> None:
    """One number, several categories; counted once in the whole."""
    first, second = tmp_path / "1.csv", tmp_path / "2.csv"
    first.write_text("\ufeffnumber,blocked\r\n0612345678,energy;finance\r\n", encoding="utf-8")
    second.write_text('"0612345678","lotteries"\n0612345679,all\n')
    options = ImportOptions(as_of=date.today())
    files = [open_register_file(path) for path in (first, second)]
    imported = register_loading(app).import_files(NL_BMNR, files, options, lambda *_: None)
    assert imported.generation.count == 2
    assert imported.counts == {Blocked.ENERGY: 1, Blocked.FINANCE: 1, Blocked.LOTTERIES: 1, Blocked.ALL: 1}


def test_rollback_puts_the_load_before_back_in_force(app: Application) -> None:
    """One command; and it is in the journal."""
    first = load_register(app, GOOD).generation
    second = load_register(app, "0687654321\n").generation
    assert reason(app) == "not_registered"
    assert app.registers.rollback(NL_BMNR) == (second, first)
    assert reason(app) == "registered"
    with pytest.raises(InputRejected, match="oldest load"):
        app.registers.rollback(NL_BMNR)
    (record,) = app.journal.records(f"type = '{EventType.REGISTER_ROLLED_BACK}'")
    assert (record.body["from_generation"], record.body["generation"]) == (second.id, first.id)


def test_a_load_that_was_rolled_back_from_is_never_gone_back_to(app: Application) -> None:
    """It was bad: the first to be let go, however new it is."""
    good = load_register(app, GOOD).generation
    bad = load_register(app, "0687654321\n").generation
    app.registers.rollback(NL_BMNR)
    third = load_register(app, GOOD)
    assert third.freed == (bad.id,)
    assert app.registers.rollback(NL_BMNR) == (third.generation, good)


def test_a_load_without_a_record_is_never_gone_back_to(app: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was never in force; the next load lets it go."""
    good = load_register(app, GOOD).generation

    def full(*_: object) -> None:
        raise JournalUnavailable("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(app.journal, "append", full)
        with pytest.raises(JournalUnavailable):
            load_register(app, "0687654321\n")
    kept = [item.id for item in app.registers.status(NL_BMNR).kept]
    assert len(kept) == 2
    with pytest.raises(InputRejected, match="none to roll back to"):
        app.registers.rollback(NL_BMNR)
    third = load_register(app, GOOD)
    assert third.freed == (kept[1],)
    assert app.registers.rollback(NL_BMNR) == (third.generation, good)


def test_a_load_that_lost_a_part_is_never_gone_back_to(app: Application, redis_url: str) -> None:
    """Redis lists it as complete, and does not have it any more."""
    broken = load_register(app, GOOD).generation
    load_register(app, GOOD)
    with redis.Redis.from_url(redis_url) as client:
        client.delete(redis_keys.register_set("3161234", broken.id, Blocked.ALL))
    with pytest.raises(InputRejected, match="none to roll back to"):
        app.registers.rollback(NL_BMNR)
    assert reason(app) == "registered"


def test_an_import_that_was_overtaken_while_it_read_is_judged_again(
    app: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A newer load came into force meanwhile."""
    read = read_rows

    def overtaken(*arguments: Any) -> Rows:
        monkeypatch.setattr(loading_module, "read_rows", read)
        rows = read(*arguments)
        load_register(app, GOOD)
        return rows

    monkeypatch.setattr(loading_module, "read_rows", overtaken)
    with pytest.raises(InputRejected, match="before that of the load in force"):
        load_register(app, GOOD, as_of=date.today() - timedelta(days=1))


def test_the_guards_of_an_import_survive_the_loss_of_redis(app: Application, redis_url: str) -> None:
    """They compare with the journal, which knows what was in force."""
    load_register(app, GOOD)
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
    with pytest.raises(InputRejected, match="more than 10 % fewer"):
        load_register(app, "0612345678\n", allow_shrink=False)
    with pytest.raises(InputRejected, match="before that of the load in force"):
        load_register(app, GOOD, as_of=date.today() - timedelta(days=3))
    load_register(app, GOOD, allow_shrink=False)


def test_importing_the_load_in_force_again_changes_nothing(app: Application, tmp_path: Path) -> None:
    """It would only push out the load to roll back to."""
    path = tmp_path / "numbers.txt"
    path.write_text(GOOD)
    options, files = ImportOptions(as_of=date.today()), [open_register_file(path)]
    first = register_loading(app).import_files(NL_BMNR, files, options, lambda *_: None)
    again = register_loading(app).import_files(NL_BMNR, files, options, lambda *_: None)
    assert (again.generation, again.unchanged) == (first.generation, True)
    assert len(app.registers.status(NL_BMNR).kept) == 1


def test_a_load_that_does_not_come_into_force_is_an_error(app: Application, redis_url: str) -> None:
    """A journal restored from a backup, and a clock set back: what is in force stays, and the new load says so."""
    load_register(app, GOOD)
    key = redis_keys.current("nl-bmnr")
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        pointer = json.loads(str(client.get(key)))
        pointer |= {"record": f"{app.journal.id}:99:aa", "in_force_since": "2999-01-01T00:00:00+00:00"}
        client.set(key, json.dumps(pointer))
    with pytest.raises(LookupUnavailable, match="loaded but not in force"):
        load_register(app, GOOD)


def test_a_redis_that_may_evict_is_neither_loaded_nor_believed(tmp_path: Path, own_redis: PrivateRedis) -> None:
    """An evicted number would look as if it were not registered."""
    with wired(tmp_path, own_redis.url) as app:
        load_register(app, GOOD)
        with redis.Redis.from_url(own_redis.url) as client:
            client.config_set("maxmemory-policy", "allkeys-lru")
        with pytest.raises(LookupUnavailable, match="noeviction"):
            load_register(app, GOOD)
        assert reason(app) == "lookup_unavailable"


def test_a_load_that_fails_leaves_nothing_behind(tmp_path: Path, own_redis: PrivateRedis) -> None:
    """Redis is full: the load in force stays, and the part that was written goes."""
    with wired(tmp_path, own_redis.url) as app, redis.Redis.from_url(own_redis.url, decode_responses=True) as client:
        load_register(app, GOOD)
        before = sorted(client.keys("bmn:{*"))
        client.config_set("maxmemory", int(client.info("memory")["used_memory"]) + 300_000)
        with pytest.raises(LookupUnavailable, match="maxmemory"):
            load_register(app, "\n".join(f"06{10_000_000 + step * 997}" for step in range(40_000)))
        assert sorted(client.keys("bmn:{*")) == before
        assert reason(app) == "registered"


def test_rollback_without_a_register_is_refused(app: Application) -> None:
    """In words."""
    with pytest.raises(InputRejected, match="no register is loaded"):
        app.registers.rollback(NL_BMNR)


def test_old_loads_are_freed_and_leave_nothing(app: Application, redis_url: str) -> None:
    """Two are kept: the one in force and one to roll back to."""
    generations = [load_register(app, GOOD).generation.id for _ in range(4)]
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        for generation, kept in zip(generations, (False, False, True, True), strict=True):
            assert bool(client.keys(redis_keys.register_sets_pattern(generation))) is kept
    assert [item.id for item in app.registers.status(NL_BMNR).kept] == generations[2:]


def test_status_tells_age_and_end(app: Application) -> None:
    """And staleness."""
    assert app.registers.status(NL_BMNR).current is None
    load_register(app, GOOD, as_of=NL_BMNR.local_date(now_utc()) - timedelta(days=27))
    fresh = app.registers.status(NL_BMNR)
    assert fresh.age is not None
    assert not fresh.stale
    assert timedelta(days=26) < fresh.age < timedelta(days=28, hours=2)


_IMPORTER = """
import os, sys
os.environ["BMN_CONFIG"], os.environ["BMN_REDIS_URL"] = sys.argv[1], sys.argv[2]
from agent.adapters import redis_generations
redis_generations._BATCH_MEMBERS = 50
from agent.adapters.redis_import_lock import ImportLock
from agent.entrypoints.cli import main
original = ImportLock.renew
def renew(lock):
    original(lock)
    print("batch", flush=True)
    sys.stdin.readline()
ImportLock.renew = renew
sys.argv = ["bmn", "register", "import", sys.argv[3], "--as-of", sys.argv[4]]
main()
"""


@pytest.mark.parametrize("batches", [1, 3, 9])
def test_a_killed_import_leaves_the_old_load_and_the_next_one_clears_up(
    app: Application, redis_url: str, tmp_path: Path, batches: int
) -> None:
    """Kill -9 after some batches; the next import starts at once and leaves no litter."""
    load_register(app, GOOD)
    big = tmp_path / "big.txt"
    big.write_text("\n".join(f"06{30000000 + step * 10_007}" for step in range(500)))
    config = str(write_configuration(tmp_path))
    process = subprocess.Popen(
        [sys.executable, "-c", _IMPORTER, config, redis_url, str(big), str(date.today())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    for _ in range(batches):
        assert process.stdout.readline() == "batch\n"
        process.stdin.write("go\n")
        process.stdin.flush()
    with pytest.raises(InputRejected, match="another import or rollback is under way"):
        load_register(app, GOOD)
    process.kill()
    process.communicate()
    assert reason(app) == "registered"
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        (dead,) = client.hkeys(redis_keys.loading("nl-bmnr"))
        assert client.keys(redis_keys.register_sets_pattern(dead))
        load_register(app, GOOD)
        assert not client.keys(redis_keys.register_sets_pattern(dead))
        assert not client.exists(redis_keys.loading("nl-bmnr"), redis_keys.import_lock("nl-bmnr"))
    assert reason(app) == "registered"


def test_the_sets_stay_packed(app: Application, redis_url: str) -> None:
    """Small integers, two bytes each, even when Redis was set up with its default limit of 512."""
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        client.config_set("set-max-intset-entries", 512)
        generation = load_register(app, "\n".join(f"06{12340000 + step}" for step in range(2_000))).generation
        key = redis_keys.register_set("3161234", generation.id, Blocked.ALL)
        assert client.scard(key) == 2_000
        assert client.object("encoding", key) == "intset"
        assert client.memory_usage(key) < 2_000 * 2 + 200


def test_the_same_file_read_in_another_way_is_another_load(app: Application, tmp_path: Path) -> None:
    """The operator said how, because the first way was wrong."""
    path = tmp_path / "register.csv"
    path.write_text("0612345678,energy\n")
    options = ImportOptions(as_of=date.today())

    def load(**said: str) -> Imported:
        file = open_register_file(path, FileOptions(**said))  # type: ignore[arg-type]
        return register_loading(app).import_files(NL_BMNR, [file], options, lambda *_: None)

    assert not load().unchanged
    assert load().unchanged
    assert not load(encoding="latin-1").unchanged
    assert load(encoding="latin-1").unchanged
