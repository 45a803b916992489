"""``bmn explain``: every list that a number is on, what each campaign would get, and where Redis differs."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import redis

from agent.bootstrap import Application, explaining
from agent.choices import KeyPress
from agent.domain.deadline import Deadline
from agent.domain.explanation import Explanation, own_registrations
from agent.domain.journal_events import EventType, Record
from agent.domain.model import Blocked, Reason
from agent.domain.phone_number import PhoneNumber
from agent.domain.seller_list_entries import Sale
from agent.screening import ScreenRequest
from deploy.lab.redis_server import PrivateRedis
from tests.conftest import load_register
from tests.integration.test_cli import SALE, Bmn, site

__all__ = ["site"]

NUMBER = PhoneNumber(digits="31612345678")


def explain(app: Application, *campaigns: str) -> Explanation:
    """Of the number, for these campaigns or all."""
    return explaining(app).explain(NUMBER, campaigns or sorted(app.campaigns), 1_000)


def verdicts(explanation: Explanation) -> dict[str, Reason]:
    """The reason of each campaign."""
    return {item.campaign: item.decision.reason for item in explanation.expected}


def press(app: Application, campaign: str, key: str) -> str:
    """A call in which the agent presses a key; returns its id."""
    request = ScreenRequest(number="0612345678", campaign=campaign, agent="kim", source="fastagi", uniqueid="u")
    screened, _ = app.screening.screen(request, Deadline.after_ms(5_000))
    app.choices.press(KeyPress(call=screened.call_id, key=key, uniqueid="u", connected=True), Deadline.after_ms(5_000))
    return screened.call_id


def test_a_number_on_no_list_is_told_so(app: Application) -> None:
    """With the file that it is not in."""
    load_register(app, "0612349999\n")
    explanation = explain(app)
    (entry,) = explanation.register
    assert entry.blocked == frozenset()
    assert [file.name for file in entry.files] == ["register.csv"]
    assert (explanation.own, explanation.optouts, explanation.customers) == ((), (), ())
    assert verdicts(explanation)["energy"] is Reason.NOT_REGISTERED
    assert (explanation.disagreements, explanation.unavailable) == ((), "")


def test_every_list_is_told_with_where_it_comes_from(app: Application) -> None:
    """Register, own registration, opt-out by hand and customer, as they decide for each campaign."""
    load_register(app, "0612345678,energy\n")
    app.seller_lists.add_optout("bank", NUMBER, "letter", "ref 12")
    sale = Sale(sold_on=date(2026, 1, 5), product="Stroom", evidence="order 7")
    app.seller_lists.add_customers("acme", "energy-contract", [(NUMBER, sale)], "command", lambda *_: None)
    explanation = explain(app)
    assert explanation.register[0].blocked == frozenset({Blocked.ENERGY})
    (optout,) = explanation.optouts
    assert (optout.seller, optout.source, optout.note) == ("bank", "letter", "ref 12")
    (customer,) = explanation.customers
    assert (customer.sale, customer.product_group) == (sale, "energy-contract")
    assert verdicts(explanation) == {
        "energy": Reason.EXEMPT_CUSTOMER,
        "solar": Reason.REGISTERED_SECTOR,
        "lab-campaign": Reason.REGISTERED_SECTOR,
        "charity": Reason.NOT_REGISTERED,
        "loans": Reason.SELLER_OPTOUT,
        "survey": Reason.EXEMPT_RESEARCH,
    }
    assert explanation.disagreements == ()


def test_a_registration_is_told_with_its_call_until_it_is_undone(app: Application) -> None:
    """It blocks as if it were in the register, and says in which call it was made."""
    load_register(app, "0612349999\n")
    call = press(app, "energy", "register_with_charities")
    (own,) = explain(app).own
    assert (own.call, own.campaign, own.blocked) == (call, "energy", frozenset({Blocked.ALL}))
    assert verdicts(explain(app, "charity")) == {"charity": Reason.REGISTERED}
    app.choices.press(KeyPress(call=call, key="undo", uniqueid="u", connected=True), Deadline.after_ms(5_000))
    assert explain(app).own == ()


def test_explaining_records_nothing(app: Application) -> None:
    """It is no screening: nobody may dial because of it."""
    load_register(app, "0612345678\n")
    before = app.journal.head()
    explain(app)
    assert app.journal.head() == before


def test_what_redis_lost_and_what_only_redis_knows_is_told(app: Application, redis_url: str) -> None:
    """With what to do."""
    load_register(app, "0612349999\n")
    app.seller_lists.add_optout("bank", NUMBER, "letter", None)
    press(app, "energy", "register_with_charities")
    with redis.Redis.from_url(redis_url) as client:
        client.srem("bmn:{3161234}:optout:bank", 5678)
        client.srem("bmn:{3161234}:own:nl-bmnr:all", 5678)
        client.sadd("bmn:{3161234}:optout:acme", 5678)
        client.sadd("bmn:{3161234}:own:nl-bmnr:energy", 5678)
        client.sadd("bmn:{3161234}:customer:acme:solar-panels", 5678)
    told = explain(app).disagreements
    assert [sentence.split(":")[0] for sentence in told] == [
        "Redis lost a part of the sets of this number, or has more than it should",
        "own registration (nl-bmnr)",
        "own registration (nl-bmnr, energy)",
        "opt-out of bank",
        "opt-out of acme",
        "customer of acme for solar-panels",
    ]
    assert all("run bmn rebuild" in sentence for sentence in told)


def test_what_waits_in_the_outbox_is_told_as_that(app: Application, redis_url: str) -> None:
    """Redis stands before the record: nothing is lost, and nothing to be done."""
    load_register(app, "0612349999\n")
    with redis.Redis.from_url(redis_url) as client:
        applied = client.get("bmn:applied")
        app.seller_lists.add_optout("bank", NUMBER, "letter", None)
        client.srem("bmn:{3161234}:optout:bank", 5678)
        client.hdel("bmn:roster:lists", "3161234")
        client.hset("bmn:roster:lists", "*", 0)
        client.set("bmn:applied", applied or "")
    (told,) = explain(app).disagreements
    assert told.startswith("opt-out of bank: in the journal since ")
    assert told.endswith("not in Redis: it waits in the outbox")


def test_another_register_than_the_journals_is_told(app: Application, redis_url: str) -> None:
    """The pointer in Redis is gone."""
    load_register(app, "0612349999\n")
    with redis.Redis.from_url(redis_url) as client:
        client.delete("bmn:current:nl-bmnr")
    explanation = explain(app)
    assert "and in Redis none: run bmn rebuild" in explanation.disagreements[0]
    assert explanation.register[0].blocked is None


def test_the_command_tells_what_the_journal_knows_while_redis_is_away(tmp_path: Path, own_redis: PrivateRedis) -> None:
    """Exit code 3; and the verdict is the one that a call would get."""
    site = Bmn(tmp_path, own_redis.url)
    site.load("0612345678\n")
    site("optout", "add", "0612345678", "--seller", "acme", "--note", "ref 12")
    own_redis.stop()
    told = site.json("explain", "0612345678", "--campaign", "energy", code=3)
    assert told["register"][0]["blocked"] is None
    assert told["register"][0]["files"][0]["name"] == "register.csv"
    assert [item["note"] for item in told["optouts"]] == ["ref 12"]
    assert [item["reason"] for item in told["campaigns"]] == ["lookup_unavailable"]
    assert "cannot be used" in told["unavailable"]
    text = site("explain", "0612345678", code=3)
    assert "register nl-bmnr: not known while Redis is away" in text


def test_the_command_prints_for_people_and_for_scripts(site: Bmn) -> None:
    """Masked; a campaign that is not there is a mistake with a hint."""
    site.load("0612345678\n")
    site("customer", "add", "0612345678", *SALE)
    text = site("explain", "0612345678")
    assert "12345678" not in text.split("sha256")[0]
    assert "number +316*****678" in text
    assert "register nl-bmnr: all (generation " in text
    assert "customer of acme for energy-contract: Stroom, sold on 2026-01-05" in text
    told = site.json("explain", "+31612345678", "--campaign", "energy", "--campaign", "loans")
    assert [(item["campaign"], item["verdict"]) for item in told["campaigns"]] == [
        ("energy", "allow"),
        ("loans", "block"),
    ]
    assert told["number"] == "+316*****678"
    assert "did you mean energy?" in site("explain", "0612345678", "--campaign", "enrgy", code=2)
    assert "not a valid complete number" in site("explain", "123456", code=4)


def test_records_of_other_types_are_no_registrations() -> None:
    """An opt-out by hand says nothing of the register."""
    at = datetime(2026, 1, 1, tzinfo=UTC)
    assert own_registrations([Record(seq=1, at=at, type=EventType.OPTOUT_ADDED, body={"seller": "acme"})]) == ()
