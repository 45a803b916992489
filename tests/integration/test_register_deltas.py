"""Changes of the register: on the load in force only, and a complete load afterwards."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis

from agent.adapters import redis_derived_sets, redis_keys
from agent.adapters.register_files import FileOptions, open_register_file, reopen_register_file
from agent.bootstrap import Application, now_utc, register_loading
from agent.domain.errors import InputRejected, LookupUnavailable
from agent.domain.journal_events import EventType
from agent.domain.model import Blocked
from agent.domain.profile import NL_BMNR
from agent.register_deltas import DeltaOptions
from agent.register_loading import Imported
from tests.conftest import load_register
from tests.integration.test_screening import reason

BASE = "0612345678\n0612345679,energy;finance\n0687654321,all\n0687654322,lotteries\n".replace("678\n", "678,all\n", 1)
TODAY = NL_BMNR.local_date(now_utc())


def load_base(app: Application, days: int = 3) -> str:
    """The load to change; its id."""
    return load_register(app, BASE, as_of=TODAY - timedelta(days=days)).generation.id


def change(app: Application, base: str, text: str, *, as_of: date = TODAY, **options: Any) -> Imported:
    """Load changes."""
    path = app.settings.journal.path.parent / f"changes-{as_of}.csv"
    path.write_text(text)
    file = open_register_file(path, FileOptions(changes=True))
    chosen = DeltaOptions(as_of=as_of, base=base, **{"allow_shrink": True, **options})
    return register_loading(app).apply_delta(NL_BMNR, file, chosen, lambda *_: None)


def members(redis_url: str, generation: str) -> set[str]:
    """Every entry of a generation, as ``LIST NUMBER``."""
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        keys = client.keys(redis_keys.register_sets_pattern(generation))
        found: set[str] = set()
        for key in keys:
            prefix, blocked = key[key.index("{") + 1 : key.index("}")], key.rpartition(":")[2]
            found |= {f"{blocked} {prefix}{int(str(member)):04d}" for member in client.smembers(key)}
        return found


CHANGES = """-0612345678
-0612345679
+0612345679,lotteries
+0658888888,all
+0687654322,lotteries;energy
-0611111111
"""
AFTER = {
    "lotteries 31612345679",
    "all 31658888888",
    "all 31687654321",
    "lotteries 31687654322",
    "energy 31687654322",
}


def test_changes_make_a_complete_load(app: Application, redis_url: str) -> None:
    """Removals first; the load before stays as it was, and can be gone back to."""
    base = load_base(app)
    before = members(redis_url, base)
    imported = change(app, base, CHANGES)
    assert members(redis_url, imported.generation.id) == AFTER
    assert members(redis_url, base) == before
    assert imported.generation.count == 4
    assert imported.counts == {Blocked.ALL: 2, Blocked.LOTTERIES: 2, Blocked.ENERGY: 1}
    assert app.registers.status(NL_BMNR).current == imported.generation
    assert reason(app, "0658888888") == "registered"
    assert reason(app, "0612345678") == "not_registered"
    app.registers.rollback(NL_BMNR)
    assert reason(app, "0612345678") == "registered"


def test_changes_are_recorded_with_what_they_build_on(app: Application) -> None:
    """A load like any other, with its base."""
    base = load_base(app)
    change(app, base, CHANGES)
    first, second = app.journal.records(f"type = '{EventType.REGISTER_LOADED}'")
    assert (first.body["base"], second.body["base"]) == (None, base)
    assert second.body["count"] == 4


@pytest.mark.parametrize(
    ("base", "options", "message"),
    [
        ("20200101T000000-0000", {}, "build on 20200101T000000-0000, and in force is"),
        ("", {"as_of": TODAY - timedelta(days=3)}, "is not after that of the load in force"),
        ("", {"as_of": TODAY + timedelta(days=2)}, "in the future"),
        ("", {"since": TODAY - timedelta(days=2)}, "the changes in between are missing"),
        ("", {"allow_shrink": False}, "take out 3 numbers of 4, more than 10 %"),
    ],
)
def test_changes_that_do_not_follow_are_rejected(
    app: Application, redis_url: str, base: str, options: dict[str, Any], message: str
) -> None:
    """Nothing changes, and the rejection is recorded."""
    loaded = load_base(app)
    with redis.Redis.from_url(redis_url) as client:
        keys = sorted(client.keys("*"))
        with pytest.raises(InputRejected, match=message):
            change(app, base or loaded, CHANGES, **options)
        assert sorted(client.keys("*")) == keys
    assert len(list(app.journal.records(f"type = '{EventType.REGISTER_REJECTED}'"))) == 1


def test_changes_cannot_be_loaded_twice(app: Application) -> None:
    """The second time, the base is not in force any more."""
    base = load_base(app)
    change(app, base, CHANGES)
    with pytest.raises(InputRejected, match="build on"):
        change(app, base, CHANGES)


def test_changes_without_a_register_are_rejected(app: Application) -> None:
    """There is nothing to change."""
    with pytest.raises(InputRejected, match="begin with bmn register import"):
        change(app, "20200101T000000-0000", CHANGES)


def test_a_base_that_lost_a_part_is_not_built_on(app: Application, redis_url: str) -> None:
    """The copy would have the same hole."""
    base = load_base(app)
    with redis.Redis.from_url(redis_url) as client:
        client.delete(redis_keys.register_set("3168765", base, Blocked.ALL))
        with pytest.raises(LookupUnavailable, match="lost a part"):
            change(app, base, CHANGES)
        assert not client.exists(redis_keys.loading(NL_BMNR.key))
    assert [item.id for item in app.registers.status(NL_BMNR).kept] == [base]


def test_changes_that_redis_did_not_take_are_not_put_in_force(
    app: Application, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor do they leave anything behind."""
    base = load_base(app)
    original = redis_derived_sets.copy_changed

    def losing(client: Any, *arguments: Any) -> Any:
        difference = original(client, *arguments)
        client.delete(redis_keys.register_set("3165888", arguments[1], Blocked.ALL))
        return difference

    monkeypatch.setattr(redis_derived_sets, "copy_changed", losing)
    with pytest.raises(LookupUnavailable, match="did not take all changes"):
        change(app, base, CHANGES)
    assert reason(app, "0612345678") == "registered"
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        assert {key.split(":")[3] for key in client.keys("bmn:{*}:g:*")} == {base}


def test_changes_on_changes_are_rebuilt_from_all_their_files(app: Application, redis_url: str) -> None:
    """The whole load first; and once more, from the load that was rebuilt."""
    base = load_base(app)
    second = change(app, base, CHANGES, as_of=TODAY - timedelta(days=1)).generation.id
    last = change(app, second, "-0658888888\n+0612345678,energy\n").generation
    expected = members(redis_url, last.id)
    for _ in range(2):
        with redis.Redis.from_url(redis_url) as client:
            client.flushall()
        rebuilt = register_loading(app).rebuild(NL_BMNR, [], reopen_register_file, lambda *_: None).in_force
        assert rebuilt is not None
        assert (rebuilt.count, rebuilt.as_of, rebuilt.sha256) == (last.count, last.as_of, last.sha256)
        assert members(redis_url, rebuilt.id) == expected
    folder: Path = app.settings.journal.path.parent
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
    given = [reopen_register_file(str(path), None) for path in folder.glob("*.csv")]
    with pytest.raises(InputRejected, match="is missing: give all 3 files"):
        register_loading(app).rebuild(NL_BMNR, given[:2], reopen_register_file, lambda *_: None)
    assert register_loading(app).rebuild(NL_BMNR, given, reopen_register_file, lambda *_: None).in_force


def test_status_tells_memory_and_what_was_left_out(app: Application) -> None:
    """And from three quarters of the period on, that a newer load is due."""
    load_base(app, days=22)
    status = app.registers.status(NL_BMNR)
    assert status.ageing
    assert not status.stale
    ((generation, used),) = app.registers.memory(status).items()
    assert generation == status.kept[0].id
    assert used is not None
    assert used > 100
    load_base(app, days=20)
    assert not app.registers.status(NL_BMNR).ageing


def test_a_removal_that_names_a_list_is_not_taken_for_a_removal_from_all(app: Application) -> None:
    """Somebody meant that one list, or nothing that we know; the number stays where it was."""
    base = load_base(app)
    with pytest.raises(InputRejected, match="2 of 2 lines are wrong") as rejected:
        change(app, base, "-0612345678,finance\n-0612345679,nonsense\n")
    assert "names none" in rejected.value.problems[0]
    change(app, base, "-0612345678,\n")
    assert reason(app, "0612345678") == "not_registered"


def test_an_empty_register_is_never_put_in_force(app: Application, redis_url: str) -> None:
    """Not even by a list of changes that may shrink it; and nothing of it stays."""
    base = load_base(app)
    with pytest.raises(InputRejected, match="take every number out"):
        change(
            app,
            base,
            "".join(f"-{number.split()[1]}\n" for number in sorted(members(redis_url, base))).replace("-31", "-+31"),
        )
    assert reason(app, "0612345678") == "registered"
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        assert list(client.hkeys(redis_keys.generations(NL_BMNR.key))) == [base]
        assert not client.exists(redis_keys.loading(NL_BMNR.key))
