"""A Redis that lost a part of the lists: noticed by the next call, never taken for numbers that are on no list."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import redis

from agent.adapters import redis_keys
from agent.bootstrap import Application, bootstrap, explaining
from agent.bootstrap.service import metrics
from agent.config import load_settings
from agent.domain.deadline import Deadline
from agent.domain.journal_events import EventType
from agent.domain.model import Blocked
from agent.domain.phone_number import PhoneNumber
from agent.domain.profile import NL_BMNR
from agent.domain.seller_list_entries import Sale
from tests.conftest import load_register, wired, write_configuration
from tests.integration.test_outbox import an_optout
from tests.integration.test_screening import NUMBER, last_verdict, reason
from tests.integration.test_scrub import record_choice, removed_by_name, scrub

REGISTER = "0612345678,all\n0612345680,energy\n0687654321,all\n"
OTHER = PhoneNumber(digits="31612345679")
FREE = "+31612345999"
SALE = Sale(sold_on=date(2026, 1, 5), product="Stroom", evidence=None)
PATIENT = {"BMN_REDIS__LOOKUP_TIMEOUT_MS": "5000"}
POINTER = redis_keys.current(NL_BMNR.key)


@pytest.fixture
def client(redis_url: str) -> Iterator[Any]:
    """What happens to Redis."""
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        yield client


@pytest.fixture
def app(tmp_path: Path, redis_url: str) -> Iterator[Application]:
    """A site with a register, an opt-out, a customer and a registration, that counts."""
    environment = {"BMN_CONFIG": str(write_configuration(tmp_path)), "BMN_REDIS_URL": redis_url, **PATIENT}
    settings = load_settings(environment)
    with bootstrap(settings, watch=metrics(settings)) as app:
        load_register(app, REGISTER)
        app.seller_lists.add_optout("bank", NUMBER, "letter", None)
        app.seller_lists.add_customers("acme", "energy-contract", [(NUMBER, SALE)], "test", lambda *_: None)
        record_choice(app, OTHER.e164, "register_without_charities")
        assert verdicts(app) == INTACT
        yield app


INTACT = {
    (NUMBER.e164, "solar"): "registered",
    (NUMBER.e164, "loans"): "seller_optout",
    (NUMBER.e164, "energy"): "exempt_customer",
    (OTHER.e164, "energy"): "registered",
    ("+31612345680", "energy"): "registered_sector",
    (FREE, "energy"): "not_registered",
}


def verdicts(app: Application) -> dict[tuple[str, str], str]:
    """Of each number and campaign."""
    return {(number, campaign): reason(app, number, campaign, 9_000) for number, campaign in INTACT}


def losses(app: Application) -> dict[str, float]:
    """What was found, by kind."""
    watch: Any = app.watch
    kinds = ("lists", "register")
    found = {kind: watch.registry.get_sample_value("bmn_redis_losses_total", {"kind": kind}) for kind in kinds}
    return {kind: count for kind, count in found.items() if count}


def key_of(client: Any, part: str) -> str:
    """The set of the numbers' block in the list whose key has ``part``."""
    (key,) = client.keys(f"bmn:{{3161234}}:{part}")
    return str(key)


REGISTER_SETS = ("g:*:all", "g:*:energy")
OUR_SETS = ("optout:bank", "customer:acme:energy-contract", "own:nl-bmnr:all_except_charities")
HARM: dict[str, Callable[[Any, str], object]] = {
    "deleted": lambda client, key: client.delete(key),
    "expired": lambda client, key: client.pexpireat(key, 1),
    "renamed": lambda client, key: client.rename(key, "elsewhere"),
    "one member replaced by two": lambda client, key: (client.spop(key), client.sadd(key, 9_001, 9_002)),
}


@pytest.mark.parametrize("harm", HARM)
@pytest.mark.parametrize("part", REGISTER_SETS)
def test_no_register_is_in_force_of_which_a_set_is_gone(app: Application, client: Any, part: str, harm: str) -> None:
    """From the first call on that asks the set, in every process; what does not need the register goes on."""
    HARM[harm](client, key_of(client, part))
    number = NUMBER.e164 if part.endswith("all") else "+31612345680"
    campaign = "solar" if part.endswith("all") else "energy"
    assert reason(app, number, campaign, 9_000) == "register_missing"
    assert losses(app) == {"register": 1}
    assert not client.exists(POINTER)
    with wired(app.settings.journal.path.parent, app.settings.redis.url, **PATIENT) as another:
        assert reason(another, FREE, within_ms=9_000) == "register_missing"
    assert reason(app, NUMBER.e164, "loans", 9_000) == "seller_optout"
    assert reason(app, FREE, "survey", 9_000) == "exempt_research"


@pytest.mark.parametrize("harm", HARM)
@pytest.mark.parametrize("part", OUR_SETS)
def test_our_own_lists_come_back_from_the_journal(app: Application, client: Any, part: str, harm: str) -> None:
    """Within the very call that misses them, when the journal is small."""
    HARM[harm](client, key_of(client, part))
    for number, campaign in INTACT:
        assert reason(app, number, campaign, 9_000) == INTACT[number, campaign]
    assert losses(app) == {"lists": 1}


def test_one_number_that_is_gone_is_missed_by_a_call_for_any_number_of_its_set(app: Application, client: Any) -> None:
    """Its set has another size than the roster says."""
    app.seller_lists.add_optout("bank", OTHER, "letter", None)
    client.srem(key_of(client, "optout:bank"), NUMBER.suffix)
    assert reason(app, FREE, "loans", 9_000) == "not_registered"
    assert losses(app) == {"lists": 1}
    assert reason(app, NUMBER.e164, "loans", 9_000) == "seller_optout"


@pytest.mark.parametrize(
    "harm",
    [
        lambda client, roster: client.delete(roster),
        lambda client, roster: client.hdel(roster, "*"),
        lambda client, roster: client.hdel(roster, "3161234"),
        lambda client, roster: client.hset(roster, "3161234", "|"),
        lambda client, roster: client.hset(roster, "*", "nonsense"),
    ],
)
@pytest.mark.parametrize("of", ["lists", "register"])
def test_a_roster_that_is_gone_is_missed_as_well(
    app: Application, client: Any, of: str, harm: Callable[[Any, str], object]
) -> None:
    """Else it would say of a set that was deleted with it that there never was one."""
    generation = json.loads(client.get(POINTER))["id"]
    roster = redis_keys.LISTS_ROSTER if of == "lists" else redis_keys.register_roster(generation)
    harm(client, roster)
    client.delete(key_of(client, "optout:bank" if of == "lists" else "g:*:all"))
    assert reason(app, NUMBER.e164, "loans", 9_000) == "seller_optout"
    assert reason(app, NUMBER.e164, "solar", 9_000) == ("registered" if of == "lists" else "register_missing")
    assert losses(app) == {of: 1}


def test_an_objection_that_makes_a_lost_set_anew_does_not_hide_the_loss(app: Application, client: Any) -> None:
    """It is applied before any call has asked: the set exists again, with one number."""
    client.delete(key_of(client, "optout:bank"))
    app.seller_lists.add_optout("bank", OTHER, "letter", None)
    assert losses(app) == {"lists": 1}
    assert reason(app, NUMBER.e164, "loans", 9_000) == "seller_optout"


def test_a_number_that_nobody_exempted_is_not_exempt(app: Application, client: Any) -> None:
    """Somebody put it among the customers by hand."""
    client.sadd(redis_keys.customer_set("3161234", "acme", "solar-panels"), NUMBER.suffix)
    assert reason(app, NUMBER.e164, "solar", 9_000) == "registered"
    assert losses(app) == {"lists": 1}


@pytest.mark.parametrize("part", ["g:*:all", "optout:bank"])
def test_a_scrub_misses_them_as_well(app: Application, client: Any, tmp_path: Path, part: str) -> None:
    """Nobody stays in the file who would have been removed."""
    client.delete(key_of(client, part))
    rows = f"name;phone\nJan;{NUMBER.e164}\nPiet;{FREE}\n"
    if part == "g:*:all":
        with pytest.raises(Exception, match=r"another load|no register"):
            scrub(app, tmp_path, rows, "solar")
        assert not (tmp_path / "clean.csv").exists()
    else:
        scrub(app, tmp_path, rows, "loans")
        assert removed_by_name(tmp_path) == {"Jan": "seller_optout"}


def test_an_explanation_says_that_something_is_missing(app: Application, client: Any) -> None:
    """And what."""
    client.delete(key_of(client, "optout:bank"))
    told = explaining(app).explain(NUMBER, ["loans"], 9_000).disagreements
    assert told[0].startswith("Redis lost a part of the sets of this number")
    assert told[1].startswith("opt-out of bank: in the journal since ")


def test_the_lists_of_another_journal_are_not_touched(app: Application, client: Any, tmp_path: Path) -> None:
    """They are refused, whatever they lack."""
    (tmp_path / "second").mkdir()
    client.delete(key_of(client, "optout:bank"))
    mark = client.get(redis_keys.APPLIED)
    with wired(tmp_path / "second", app.settings.redis.url, **PATIENT) as second:
        assert reason(second, NUMBER.e164, "loans", 9_000) == "lookup_unavailable"
    assert client.get(redis_keys.APPLIED) == mark
    assert client.exists(POINTER)


# --- changes under way, and an older version


def test_changes_under_way_are_no_losses(app: Application, tmp_path: Path) -> None:
    """Objections come and go in the sets that are asked, and registers replace each other; two processes apply."""
    stop, wrong = threading.Event(), list[tuple[str, str]]()

    def ask_all() -> None:
        while not stop.is_set():
            for number, campaign in ((NUMBER.e164, "solar"), (NUMBER.e164, "loans"), (FREE, "energy")):
                asked = PhoneNumber(digits=number.lstrip("+"))
                decision, _ = app.screening.would_be(asked, app.campaigns[campaign], Deadline.after_ms(9_000))
                if decision.reason != INTACT[number, campaign]:
                    wrong.append((number, decision.reason))

    with ThreadPoolExecutor(3) as asking, ExitStack() as ending:
        askers = [asking.submit(ask_all) for _ in range(3)]
        ending.callback(stop.set)
        another = ending.enter_context(wired(tmp_path, app.settings.redis.url, **PATIENT))
        for step in range(60):
            number = PhoneNumber(digits=f"3161234{6000 + step % 7:04d}")
            site = (app, another)[step % 2]
            site.seller_lists.add_optout("bank", number, "letter", None)
            site.seller_lists.add_customers("acme", "solar-panels", [(number, SALE)], "test", lambda *_: None)
            if step % 3:
                site.seller_lists.remove_optout("bank", number, "test")
                site.seller_lists.remove_customer("acme", "solar-panels", number, "test")
            if step % 10 == 0:
                load_register(app, REGISTER)
    assert [asker.exception() for asker in askers] == [None] * 3
    assert (wrong, losses(app)) == ([], {})


def of_an_older_version(client: Any) -> None:
    """What was written before there were rosters."""
    client.delete(*client.keys("bmn:roster:*"))
    client.set(redis_keys.DOUBTS, 1)

    def without_roster(text: str) -> str:
        return json.dumps({name: value for name, value in json.loads(text).items() if name != "rostered"})

    client.set(POINTER, without_roster(client.get(POINTER)))
    for generation, text in client.hgetall(redis_keys.generations(NL_BMNR.key)).items():
        client.hset(redis_keys.generations(NL_BMNR.key), generation, without_roster(text))


def test_what_an_older_version_wrote_is_counted_once_and_goes_on(app: Application, client: Any) -> None:
    """By the first call or drain: nothing has to be imported again, and the load before can be gone back to."""
    before = json.loads(client.get(POINTER))["id"]
    load_register(app, "0612345679\n")
    app.registers.rollback(NL_BMNR)
    of_an_older_version(client)
    assert verdicts(app) == INTACT
    assert losses(app) == {"lists": 1}
    current = app.registers.status(NL_BMNR).current
    assert current is not None
    assert current.id == before
    client.delete(key_of(client, f"g:{before}:all"))
    assert reason(app, NUMBER.e164, "solar", 9_000) == "register_missing"


def test_what_an_older_version_had_lost_is_found_when_it_is_counted(app: Application, client: Any) -> None:
    """It would have been allowed for ever."""
    client.delete(key_of(client, "g:*:all"), key_of(client, "optout:bank"))
    of_an_older_version(client)
    assert reason(app, NUMBER.e164, "loans", 9_000) == "seller_optout"
    assert reason(app, NUMBER.e164, "solar", 9_000) == "register_missing"


def test_an_objection_waits_for_nothing_when_the_lists_are_of_an_older_version(app: Application, client: Any) -> None:
    """It is in force when its command ends."""
    of_an_older_version(client)
    app.journal.append([an_optout(OTHER)], Deadline.after_ms(5_000))
    app.outbox.drain()
    assert reason(app, OTHER.e164, "solar", 9_000) == "seller_optout"
    assert client.hget(redis_keys.LISTS_ROSTER, "3161234") == (
        "|customer:acme:energy-contract=1|optout:acme=1|optout:bank=1|own:nl-bmnr:all_except_charities=1|"
    )


def test_a_rebuild_begins_the_roster_with_what_only_redis_knows(app: Application, client: Any, tmp_path: Path) -> None:
    """Opt-outs of a journal that was lost go on to protect, and are missed when they are gone."""
    app.outbox.replay(lambda *_: None, take_over=False)
    assert verdicts(app) == INTACT
    (tmp_path / "second").mkdir()
    with wired(tmp_path / "second", app.settings.redis.url, **PATIENT) as second:
        second.outbox.replay(lambda *_: None, take_over=True)
        assert reason(second, NUMBER.e164, "loans", 9_000) == "seller_optout"
        assert last_verdict(second)["reason"] == "seller_optout"
        client.delete(key_of(client, "optout:bank"))
        assert reason(second, NUMBER.e164, "loans", 9_000) == "register_missing"
        assert not list(second.journal.records(f"type = '{EventType.OPTOUT_ADDED}'"))


def test_a_load_says_what_each_of_its_sets_has(app: Application, client: Any) -> None:
    """The same, whether it was written whole or as a list of changes."""
    generation = json.loads(client.get(POINTER))["id"]
    roster = client.hgetall(redis_keys.register_roster(generation))
    assert roster == {"*": "2", "3161234": "|all=1|energy=1|", "3168765": "|all=1|"}
    assert json.loads(client.get(POINTER))["rostered"] == 2
    assert client.scard(redis_keys.register_set("3161234", generation, Blocked.ENERGY)) == 1
