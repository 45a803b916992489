"""Filling Redis again: from the journal, and from the register files that it names."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest
import redis

from agent.adapters import redis_keys
from agent.adapters.register_files import open_register_file, reopen_register_file
from agent.bootstrap import Application, now_utc, register_loading
from agent.domain.errors import InputRejected, LookupUnavailable
from agent.domain.journal_events import EventType, Record
from agent.domain.model import Blocked
from agent.domain.profile import NL_BMNR
from agent.domain.register_history import register_history
from agent.domain.seller_list_entries import Sale
from agent.register_loading import ImportOptions, Rebuilt
from agent.register_records import recorded_files
from agent.register_status import rejected_lines
from deploy.lab.redis_server import PrivateRedis
from tests.conftest import load_register, wired
from tests.integration.test_cli import Bmn
from tests.integration.test_outbox import OTHER
from tests.integration.test_screening import NUMBER, reason

REGISTER = "0612345999\n0687654321\n"
FILE = "register.csv"
CURRENT = redis_keys.current(NL_BMNR.key)


@pytest.fixture
def site(tmp_path: Path, redis_url: str) -> Bmn:
    """A site with a register, an opt-out and a customer."""
    site = Bmn(tmp_path, redis_url)
    site.load(REGISTER)
    site("optout", "add", NUMBER.e164, "--seller", "acme")
    sale = ("--product-group", "energy-contract", "--sold-on", "2026-01-05", "--product", "Stroom")
    site("customer", "add", OTHER.e164, "--seller", "acme", *sale)
    return site


@pytest.fixture
def client(redis_url: str) -> Any:
    """What happens to Redis."""
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        yield client


def reasons(site: Bmn) -> list[str]:
    """Of the opt-out, the customer, a registered number, and one that is not."""
    numbers = (NUMBER.e164, OTHER.e164, "0612345999", "0612345998")
    with wired(site.folder, site.environment["BMN_REDIS_URL"]) as app:
        return [reason(app, number) for number in numbers]


WHOLE = ["seller_optout", "exempt_customer", "registered", "not_registered"]


def rebuilt(app: Application, **options: bool) -> Rebuilt:
    """From the files that the journal names."""
    return register_loading(app).rebuild(NL_BMNR, [], reopen_register_file, lambda *_: None, **options)


def test_an_emptied_redis_is_filled_again(site: Bmn, client: Any) -> None:
    """Lists and register, with the date that the journal has; and once more changes nothing."""
    before = site.json("register", "status")["in_force"]
    client.flushall()
    told = site.json("rebuild")
    assert (told["reloaded"], told["problems"]) == (True, [])
    assert {**told["in_force"], "generation": "", "loaded_at": ""} == {**before, "generation": "", "loaded_at": ""}
    assert reasons(site) == WHOLE
    assert site.json("rebuild") == {**told, "reloaded": False, "applied": told["applied"] + 1}  # the new load's record
    assert reasons(site) == WHOLE
    assert "Redis had all of it" in site("rebuild")


@pytest.mark.parametrize(
    "damage",
    [
        lambda client: client.set(redis_keys.APPLIED, "nonsense"),
        lambda client: client.set(CURRENT, "{"),
        lambda client: client.delete(redis_keys.optout_set(NUMBER.prefix, "acme")),
        lambda client: client.delete(*client.keys("bmn:{*}:g:*")),
        lambda client: client.delete(client.keys("bmn:{*}:g:*")[0]),
        lambda client: client.delete(redis_keys.generations(NL_BMNR.key)),
        lambda client: client.delete(CURRENT),
        lambda client: client.sadd(redis_keys.customer_set(NUMBER.prefix, "acme", "solar-panels"), 1),
    ],
)
def test_whatever_was_damaged_is_put_right(site: Bmn, client: Any, damage: Any) -> None:
    """Also what no screening can notice."""
    damage(client)
    site("rebuild")
    assert reasons(site) == WHOLE
    assert not client.exists(redis_keys.customer_set(NUMBER.prefix, "acme", "solar-panels"))


def test_a_load_that_lost_a_part_is_replaced_and_let_go(site: Bmn, client: Any) -> None:
    """It is no load to roll back to."""
    broken = site.json("register", "status")["in_force"]["generation"]
    client.delete(client.keys(f"bmn:{{*}}:g:{broken}:*")[0])
    site("rebuild")
    assert [item["generation"] for item in site.json("register", "status")["kept"]] != [broken]
    assert len(site.json("register", "status")["kept"]) == 1


def test_what_was_rolled_back_to_is_loaded_again(site: Bmn, client: Any, tmp_path: Path) -> None:
    """And not what was loaded last."""
    bad = tmp_path / "bad.csv"
    bad.write_text("0612345998\n")
    site("register", "import", str(bad), "--as-of", str(date.today()), "--allow-shrink")
    site("register", "rollback")
    client.flushall()
    site("rebuild")
    assert reasons(site) == WHOLE


def test_a_file_that_is_not_the_one_is_refused(site: Bmn, client: Any, tmp_path: Path) -> None:
    """Another file given: nothing happens. The named file gone or changed: the lists come back, and it is said how."""
    mark = client.get(redis_keys.APPLIED)
    other = tmp_path / "other.csv"
    other.write_text("0612345998\n")
    told = site("rebuild", str(other), code=4)
    assert "is not what was loaded as of" in told
    assert "bmn register import" in told
    assert client.get(redis_keys.APPLIED) == mark
    client.flushall()
    kept = tmp_path / "kept.csv"
    (tmp_path / FILE).rename(kept)
    for change in (lambda: None, lambda: (tmp_path / FILE).write_text("0612345998\n")):
        change()
        told = site("rebuild", code=4)
        assert "bmn rebuild FILE" in told
        assert "the register was not loaded" in told
        assert reasons(site) == ["seller_optout", "exempt_customer", "register_missing", "register_missing"]
    assert "loaded again" in site("rebuild", str(kept))
    assert reasons(site) == WHOLE


def test_all_files_of_a_load_are_needed_in_any_order(app: Application, client: Any, tmp_path: Path) -> None:
    """Each is known by its digest."""
    paths = [tmp_path / "1.csv", tmp_path / "2.csv"]
    paths[0].write_text("0612345678\n")
    paths[1].write_text("0612345679\n")
    files = [open_register_file(path) for path in paths]
    register_loading(app).import_files(NL_BMNR, files, ImportOptions(as_of=date.today()), lambda *_: None)
    before = app.registers.status(NL_BMNR).current
    client.flushall()
    with pytest.raises(InputRejected, match=r"2.csv is missing: give all 2 files"):
        register_loading(app).rebuild(NL_BMNR, files[:1], reopen_register_file, lambda *_: None)
    register_loading(app).rebuild(NL_BMNR, files[::-1], reopen_register_file, lambda *_: None)
    after = app.registers.status(NL_BMNR).current
    assert before is not None
    assert after is not None
    assert (before.sha256, before.count) == (after.sha256, after.count)


def test_without_a_register_in_the_journal_that_is_said(tmp_path: Path, redis_url: str) -> None:
    """Nothing is guessed."""
    site = Bmn(tmp_path, redis_url)
    assert "the journal knows of none" in site("rebuild", code=1)
    (tmp_path / FILE).write_text(REGISTER)
    assert "the journal knows of no register" in site("rebuild", str(tmp_path / FILE), code=4)


def test_the_lists_of_another_journal_are_taken_over_only_when_asked(site: Bmn, client: Any, tmp_path: Path) -> None:
    """Its opt-outs go on to protect, its customers and its register do not count."""
    (tmp_path / "new").mkdir()
    new = Bmn(tmp_path / "new", site.environment["BMN_REDIS_URL"])
    assert "--take-over" in new("rebuild", code=3)
    assert reasons(site) == WHOLE
    new("rebuild", "--take-over", code=1)
    assert reasons(site) == ["lookup_unavailable"] * 4
    assert reasons(new) == ["seller_optout", *["register_missing"] * 3]
    site("rebuild", "--take-over")
    assert reasons(site) == WHOLE


def test_after_an_eviction_what_was_lost_is_found(tmp_path: Path, own_redis: PrivateRedis) -> None:
    """Lists come back by themselves once Redis evicts no more; the register, of which a part is gone, by a rebuild."""
    with wired(tmp_path, own_redis.url) as app, redis.Redis.from_url(own_redis.url) as client:
        load_register(app, REGISTER)
        app.seller_lists.add_optout("acme", NUMBER, "letter", None)
        assert reason(app, "0612345999") == "registered"
        generation = app.registers.status(NL_BMNR).kept[0].id
        client.config_set("maxmemory-policy", "allkeys-lru")
        with pytest.raises(LookupUnavailable, match="run bmn rebuild"):
            app.outbox.drain()  # as the service does all the time
        assert reason(app, "0612345999") == "lookup_unavailable"
        client.delete(redis_keys.optout_set(NUMBER.prefix, "acme"))
        client.delete(redis_keys.register_set("3161234", generation, Blocked.ALL))
        client.config_set("maxmemory-policy", "noeviction")
        assert reason(app) == "seller_optout"
        assert reason(app, "0612345999") == "register_missing"
        assert rebuilt(app).reloaded is not None
        assert reason(app, "0612345999") == "registered"


def test_an_eviction_that_took_nothing_costs_nothing(tmp_path: Path, own_redis: PrivateRedis) -> None:
    """All of the register is there, so it is in force again."""
    with wired(tmp_path, own_redis.url) as app, redis.Redis.from_url(own_redis.url) as client:
        app.seller_lists.add_customers(
            "acme", "energy-contract", [(OTHER, Sale(sold_on=date(2026, 1, 5), product="x", evidence=None))], "test",
            lambda *_: None,
        )  # fmt: skip
        load_register(app, REGISTER)
        client.config_set("maxmemory-policy", "allkeys-lru")
        with pytest.raises(LookupUnavailable):
            app.outbox.drain()
        client.config_set("maxmemory-policy", "noeviction")
        app.outbox.drain()
        assert [reason(app, "0612345999"), reason(app, OTHER.e164)] == ["registered", "exempt_customer"]


def test_status_tells_where_redis_and_the_journal_differ(
    app: Application, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what to do: a load without a record, a pointer that is gone, a load that the journal does not know."""
    generation = load_register(app, REGISTER).generation.id
    assert app.registers.status(NL_BMNR).problems == ()

    def full(*_: object) -> None:
        raise LookupUnavailable("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(app.journal, "append", full)
        with pytest.raises(LookupUnavailable):
            load_register(app, REGISTER)
    status = app.registers.status(NL_BMNR)
    unrecorded = next(item.id for item in status.kept if item.id != generation)
    (problem,) = status.problems
    assert problem.startswith(f"{unrecorded} is complete in Redis but was never in force")
    assert problem.endswith("import its file again")
    pointer = client.getdel(CURRENT)
    assert f"{generation} was in force by the journal" in app.registers.status(NL_BMNR).problems[1]
    client.set(CURRENT, pointer.replace(generation, unrecorded))
    assert "import the newest file" in app.registers.status(NL_BMNR).problems[-1]


def test_a_load_of_before_there_were_layouts_is_rebuilt(site: Bmn) -> None:
    """Its record knows of no layout, no base and no lines that were left out."""
    with wired(site.folder, site.environment["BMN_REDIS_URL"]) as app:
        (record,) = app.journal.records(f"type = '{EventType.REGISTER_LOADED}'")
    files: Any = record.body["files"]
    old = {name: value for name, value in record.body.items() if name not in ("rejected", "base")}
    old["files"] = [{name: value for name, value in file.items() if name != "reading"} for file in files]
    history = register_history([Record(seq=record.seq, at=record.at, type=record.type, body=old)])
    assert rejected_lines(history) == 0
    (file,) = recorded_files(history.lineage, reopen_register_file)
    assert file.sha256 == record.body["sha256"]


def test_a_load_that_comes_into_force_during_a_rebuild_stays(tmp_path: Path, redis_url: str, client: Any) -> None:
    """The files are read without the lock, which may take minutes."""
    with wired(tmp_path, redis_url) as app:
        load_register(app, REGISTER, as_of=date(2026, 1, 1))
        client.flushall()

        def meanwhile(step: str, done: int, total: int | None) -> None:
            if step == "reading" and not newer:
                path = tmp_path / "newer.csv"
                path.write_text(REGISTER + f"{NUMBER.e164}\n")
                options = ImportOptions(as_of=NL_BMNR.local_date(now_utc()))
                files = [open_register_file(path)]
                newer.append(register_loading(app).import_files(NL_BMNR, files, options, lambda *_: None).generation.id)

        newer: list[str] = []
        with pytest.raises(LookupUnavailable, match="another load came into force meanwhile"):
            register_loading(app).rebuild(NL_BMNR, [], reopen_register_file, meanwhile)
        status = app.registers.status(NL_BMNR)
        assert status.current is not None
        assert ([status.current.id], status.problems) == (newer, ())
        assert reason(app, NUMBER.e164) == "registered"
