"""A seller whose key in the configuration is another one than in the journal: nothing that was said to it is void."""

from __future__ import annotations

import random
from datetime import date
from pathlib import Path

import pytest
import redis

from agent.adapters import redis_keys
from agent.adapters.call_file import open_call_file
from agent.adapters.call_file_layout import LayoutOptions
from agent.adapters.journal_objections import JournalObjections
from agent.adapters.journal_views import JournalCalls
from agent.adapters.scrub_files import ScrubFiles
from agent.bootstrap import Application, bootstrap, evidence, explaining, retention, scrubbing
from agent.choices import KeyPress
from agent.config import load_settings
from agent.domain.deadline import Deadline
from agent.domain.errors import ConfigurationError
from agent.domain.journal_events import EventType
from agent.domain.phone_number import PhoneNumber
from agent.domain.profile import NL_BMNR
from agent.domain.seller_list_entries import Sale
from agent.domain.standing import standing
from agent.evidence import days
from tests.conftest import CONFIGURATION, load_register
from tests.integration.aged_journal import NOW, AgedJournal
from tests.integration.test_cli import Bmn
from tests.integration.test_screening import reason, screen
from tests.integration.test_scrub import OUTPUTS, removed_by_name, scrub

NUMBER = PhoneNumber(digits="31612345999")
RENAMED = CONFIGURATION.replace("[sellers.acme]", "[sellers.acme-nl]").replace('seller = "acme"', 'seller = "acme-nl"')
ASSIGNED = RENAMED.replace("[sellers.acme-nl]", '[sellers.acme-nl]\nformerly = ["acme"]')
LEFT_BEHIND = RENAMED + '[sellers.acme]\nname = "Acme Energie"\n'
RETIRED = LEFT_BEHIND + "retired = true\n"
SALE = Sale(sold_on=date(2026, 1, 5), product="Stroom", evidence=None)


class Site:
    """One journal and one Redis, to be opened with one configuration after the other."""

    def __init__(self, folder: Path, redis_url: str) -> None:
        self._folder = folder
        self._environment = {"BMN_REDIS_URL": redis_url, "BMN_REGISTER__GRACE_MINUTES": "0"}

    def open(self, text: str) -> Application:
        """The application as it is wired with this configuration."""
        path = self._folder / "bmn.toml"
        path.write_text(text)
        return bootstrap(load_settings({"BMN_CONFIG": str(path), **self._environment}))


@pytest.fixture
def site(tmp_path: Path, redis_url: str) -> Site:
    """A register without the number, and an objection of the number to Acme."""
    found = Site(tmp_path, redis_url)
    with found.open(CONFIGURATION) as app:
        load_register(app, "0612340000\n")
        app.seller_lists.add_optout("acme", NUMBER, "letter", "ref 12")
        assert reason(app, "0612345999") == "seller_optout"
    return found


def press(app: Application, campaign: str, key: str, number: str = "0612345777") -> str:
    """A call in which the agent presses a key; returns its id."""
    call = screen(app, number, campaign).call_id
    app.choices.press(KeyPress(call=call, key=key, uniqueid="1.1", connected=True), Deadline.after_ms(5_000))
    return call


def test_without_a_word_in_the_configuration_nobody_promotes_anything(site: Site) -> None:
    """Who objected to Acme is not called because it is Acme-nl now; which campaign is its own nobody can tell."""
    with site.open(RENAMED) as app:
        for campaign in ("energy", "solar", "lab-campaign", "charity", "loans"):
            for number in ("0612345999", "0612345777"):
                screened = screen(app, number, campaign)
                assert screened.decision.reason == "objections_unassigned"
                assert screened.number_to_dial == ""
                assert "objections to acme are in force" in screened.failure
        assert reason(app, "0612345777", "survey") == "exempt_research"


def test_who_objected_is_called_for_no_purpose_until_it_is_said_to_whom(site: Site) -> None:
    """No exemption outweighs an objection, and research for Acme-nl may be research for Acme."""
    with site.open(RENAMED) as app:
        assert reason(app, "0612345999", "survey") == "objections_unassigned"
        app.seller_lists.remove_optout("acme", NUMBER, "asked for calls")
        app.seller_lists.add_optout("acme", PhoneNumber(digits="31612345777"), "letter", None)
        assert reason(app, "0612345999", "survey") == "exempt_research"


def test_with_its_former_key_an_objection_holds_for_the_seller_of_today(site: Site) -> None:
    """For every campaign of it, research too, and for no other seller."""
    with site.open(ASSIGNED) as app:
        assert reason(app, "0612345999") == reason(app, "0612345999", "survey") == "seller_optout"
        assert reason(app, "0612345999", "charity") == reason(app, "0612345777") == "not_registered"


def test_a_table_that_no_campaign_names_is_not_enough(site: Site) -> None:
    """Campaigns were moved to the new key, and the old table was left where it was."""
    with site.open(LEFT_BEHIND) as app:
        assert reason(app, "0612345777") == "objections_unassigned"
    with site.open(RETIRED) as app:
        assert reason(app, "0612345777") == reason(app, "0612345999") == "not_registered"


def test_keys_that_differ_in_a_dash_are_different_sellers(site: Site) -> None:
    """As they are different lists."""
    with site.open(CONFIGURATION) as app:
        app.seller_lists.add_optout("hart", NUMBER, "letter", None)
    other = CONFIGURATION.replace("sellers.hart", "sellers.hart-").replace('"hart"', '"hart-"')
    with site.open(other) as app:
        assert reason(app, "0612345777", "charity") == "objections_unassigned"


def test_what_was_said_in_a_call_counts_as_what_came_in_a_letter(site: Site) -> None:
    """And a key that was undone does not."""
    with site.open(CONFIGURATION) as app:
        app.seller_lists.remove_optout("acme", NUMBER, "asked for calls")
        press(app, "energy", "seller_optout")
    with site.open(RENAMED) as app:
        assert reason(app, "0612345999") == "objections_unassigned"
    with site.open(CONFIGURATION) as app:
        app.seller_lists.remove_optout("acme", PhoneNumber(digits="31612345777"), "asked for calls")
        call = press(app, "energy", "seller_optout", "0612345666")
        undo = KeyPress(call=call, key="undo", uniqueid="1.1", connected=True)
        app.choices.press(undo, Deadline.after_ms(5_000))
    with site.open(RENAMED) as app:
        assert reason(app, "0612345999") == "not_registered"


def test_an_objection_that_another_configuration_records_counts_at_once(site: Site) -> None:
    """Two configurations on one journal: neither may call past what the other was told, nor after it was taken back."""
    with site.open(CONFIGURATION) as before:
        before.seller_lists.remove_optout("acme", NUMBER, "asked for calls")
    with site.open(RENAMED) as app:
        assert reason(app, "0612345777") == "not_registered"
        with site.open(CONFIGURATION) as other:
            assert press(other, "energy", "seller_optout")
            assert reason(app, "0612345666") == "objections_unassigned"
            other.seller_lists.remove_optout("acme", PhoneNumber(digits="31612345777"), "asked for calls")
        assert reason(app, "0612345666") == "not_registered"


def test_an_objection_is_entered_listed_and_taken_back_under_all_keys(site: Site) -> None:
    """Once is enough to enter it and to take it back; both are on record under the key that they were made with."""
    with site.open(ASSIGNED) as app:
        lists = app.seller_lists
        assert lists.add_optout("acme-nl", NUMBER, "letter", None) is False
        assert lists.opted_out("acme-nl", [NUMBER]) == 1
        call = press(app, "energy", "seller_optout")
        assert [(item.seller, item.note) for item in lists.optouts("acme-nl")] == [
            ("acme", "ref 12"),
            ("acme-nl", f"call {call}"),
        ]
        assert lists.add_optout("acme", PhoneNumber(digits="31612345777"), "letter", None)
        assert lists.remove_optout("acme-nl", NUMBER, "asked for calls")
        assert reason(app, "0612345999") == "not_registered"
        assert lists.remove_optout("acme-nl", NUMBER, "again") is False
        records = app.journal.records(f"type IN ('{EventType.OPTOUT_ADDED}', '{EventType.OPTOUT_REMOVED}')")
        assert [(record.type, record.body["seller"]) for record in records] == [
            (EventType.OPTOUT_ADDED, "acme"),
            (EventType.OPTOUT_ADDED, "acme-nl"),
            (EventType.OPTOUT_REMOVED, "acme"),
        ]
    with site.open(CONFIGURATION) as app:
        assert list(app.seller_lists.optouts("acme")) == []


def test_a_number_that_objected_under_two_keys_is_listed_once_and_taken_back_under_both(site: Site) -> None:
    """What is left under one of them would go on to block, and nobody would see why."""
    with site.open(RENAMED) as app:
        app.seller_lists.add_optout("acme-nl", NUMBER, "letter", None)
    with site.open(ASSIGNED) as app:
        assert [item.seller for item in app.seller_lists.optouts("acme-nl")] == ["acme"]
        assert app.seller_lists.remove_optout("acme-nl", NUMBER, "asked for calls")
        assert list(app.seller_lists.optouts("acme-nl")) == []
        assert reason(app, "0612345999") == "not_registered"


def test_a_customer_of_the_former_key_is_a_customer_of_the_same_company(site: Site) -> None:
    """With the evidence of then, for the same product group; ended under the new key, it ends."""
    number = PhoneNumber(digits="31612340000")
    with site.open(CONFIGURATION) as app:
        app.seller_lists.add_customers("acme", "energy-contract", [(number, SALE)], "test", lambda *_: None)
        app.seller_lists.remove_optout("acme", NUMBER, "asked for calls")
    with site.open(RENAMED) as app:
        assert reason(app, "0612340000") == "registered"
    with site.open(ASSIGNED) as app:
        lists = app.seller_lists
        assert reason(app, "0612340000") == "exempt_customer"
        assert reason(app, "0612340000", "solar") == reason(app, "0612340000", "loans") == "registered"
        assert lists.add_customers("acme-nl", "energy-contract", [(number, SALE)], "test", lambda *_: None) == 0
        assert [(item.seller, item.sale) for item in lists.customers("acme-nl", None)] == [("acme", SALE)]
        assert lists.remove_customer("acme-nl", "energy-contract", number, "contract ended")
        assert reason(app, "0612340000") == "registered"


def test_a_call_file_is_scrubbed_by_all_keys_of_a_seller(site: Site, tmp_path: Path) -> None:
    """Up to ten former ones, each with lists of its own; the certificate names them."""
    with site.open(CONFIGURATION) as app:
        app.seller_lists.add_customers(
            "acme", "energy-contract", [(PhoneNumber(digits="31612340000"), SALE)], "test", lambda *_: None
        )
    many = [*(f"old-{place}" for place in range(9)), "acme"]
    with site.open(RENAMED.replace("[sellers.acme-nl]", f"[sellers.acme-nl]\nformerly = {many}")) as app:
        issued = scrub(app, tmp_path, "name;phone\nAnn;0612345999\nBob;0612345666\nCor;0612340000\n")
        assert removed_by_name(tmp_path) == {"Ann": "seller_optout"}
        assert issued["reasons"] == {"exempt_customer": 1, "not_registered": 1, "seller_optout": 1}
        assert (issued["seller"], issued["formerly"]) == ("acme-nl", many)
        assert reason(app, "0612340000") == "exempt_customer"
        assert reason(app, "0612345999") == "seller_optout"


def test_no_call_file_is_scrubbed_while_an_objection_is_nobodys(site: Site, tmp_path: Path) -> None:
    """Neither that of another seller; nor for research, which may not call who objected."""
    with site.open(RENAMED) as app:
        for campaign in ("energy", "charity", "survey"):
            with pytest.raises(ConfigurationError, match="nothing was scrubbed: objections to acme are in force"):
                scrub(app, tmp_path, campaign=campaign)
            assert not any((tmp_path / name).exists() for name in OUTPUTS)


def test_an_objection_that_becomes_nobodys_during_a_scrub_stops_it(site: Site, tmp_path: Path) -> None:
    """Another configuration records it while the file is read; nothing is written then."""
    with site.open(CONFIGURATION) as before:
        before.seller_lists.remove_optout("acme", NUMBER, "asked for calls")
    path = tmp_path / "calls.csv"
    path.write_text("name;phone\nAnn;0612345999\n")
    with site.open(RENAMED) as app, site.open(CONFIGURATION) as other:

        def objects(step: str, done: int, total: int | None) -> None:
            other.seller_lists.add_optout("acme", NUMBER, "letter", None)

        outputs = ScrubFiles(path, *(tmp_path / name for name in OUTPUTS), force=False)
        calls = open_call_file(path, LayoutOptions(), NL_BMNR)
        with pytest.raises(ConfigurationError, match="nothing was scrubbed"):
            scrubbing(app).scrub(app.campaigns["energy"], calls, outputs, objects)
        assert not any((tmp_path / name).exists() for name in OUTPUTS)


def test_explain_says_under_which_key_an_objection_is_on_record(site: Site) -> None:
    """And what each campaign would get, with or without the former key; Redis and the journal agree."""
    with site.open(ASSIGNED) as app:
        told = explaining(app).explain(NUMBER, ["energy", "charity"], 2_000)
        assert [item.seller for item in told.optouts] == ["acme"]
        assert [str(item.decision.reason) for item in told.expected] == ["seller_optout", "not_registered"]
        assert told.disagreements == ()
        other = PhoneNumber(digits="31612345888")
        with redis.Redis.from_url(app.settings.redis.url) as client:
            client.sadd(redis_keys.optout_set(other.prefix, "acme"), other.suffix)
            client.sadd(redis_keys.customer_set(other.prefix, "acme", "solar-panels"), other.suffix)
        told = explaining(app).explain(other, ["energy"], 2_000)
        assert [sentence.partition(":")[0] for sentence in told.disagreements] == [
            "Redis lost a part of the sets of this number, or has more than it should",
            "opt-out of acme",
            "customer of acme for solar-panels",
        ]
    with site.open(RENAMED) as app:
        told = explaining(app).explain(NUMBER, ["energy"], 2_000)
        assert [item.decision.reason for item in told.expected] == ["objections_unassigned"]
        assert "objections to acme" in told.expected[0].failure
        assert told.disagreements == ()


def test_the_evidence_says_by_which_former_key_somebody_was_a_customer(site: Site) -> None:
    """Years later the configuration of then is gone: the record of the call has to say it."""
    with site.open(CONFIGURATION) as app:
        app.seller_lists.remove_optout("acme", NUMBER, "asked for calls")
        app.seller_lists.add_customers("acme", "energy-contract", [(NUMBER, SALE)], "test", lambda *_: None)
    with site.open(ASSIGNED) as app:
        assert reason(app, "0612345999") == "exempt_customer"
    with site.open(RENAMED) as app:
        asked = days(NL_BMNR, None, None, NOW.replace(year=NOW.year + 1))
        (*_, attempt) = evidence(app).dossier(NUMBER, NL_BMNR, asked).attempts
        assert (attempt.seller, attempt.formerly) == ("acme-nl", ("acme",))
        assert [item.seller for item in attempt.customers] == ["acme"]


def test_commands_take_a_former_key_for_the_seller_of_today(tmp_path: Path, redis_url: str) -> None:
    """A script that nobody changed goes on to protect; a key that was never one is refused."""
    site = Bmn(tmp_path, redis_url)
    site.load()
    site("optout", "add", "0612345999", "--seller", "acme")
    (tmp_path / "bmn.toml").write_text(RENAMED)
    assert "there is no seller 'acme'" in site("optout", "add", "0612345777", "--seller", "acme", code=2)
    told = site("screen", "0612345666", "--campaign", "energy", code=1)
    assert "objections_unassigned" in told
    assert "opt-out of acme (not in the configuration)" in site("explain", "0612345999")
    (tmp_path / "bmn.toml").write_text(ASSIGNED)
    assert "is opted out now of acme-nl" in site("optout", "add", "0612345777", "--seller", "acme")
    assert [item["seller"] for item in site.json("optout", "list", "--seller", "acme-nl")] == ["acme", "acme-nl"]
    told = site.json("explain", "0612345999", "--campaign", "energy")
    assert [(item["seller"], item["seller_now"]) for item in told["optouts"]] == [("acme", "acme-nl")]
    assert "opt-out of acme (now acme-nl)" in site("explain", "0612345999")
    assert "nothing matches\n" in site("log", "--seller", "acme")
    out = tmp_path / "optouts.csv"
    site("optout", "export", "--seller", "acme-nl", "--out", str(out))
    assert len(out.read_text().splitlines()) == 3
    site("optout", "remove", "0612345999", "--seller", "acme", "--reason", "asked for calls")
    assert "not_registered" in site("screen", "0612345999", "--campaign", "energy")


@pytest.mark.parametrize("seed", range(3))
def test_objections_in_force_are_found_as_reading_the_whole_journal_finds_them(
    tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Whatever was put down, undone and taken back, before a purge and after it."""
    chance = random.Random(seed)
    with Site(tmp_path, redis_url).open(CONFIGURATION) as app:
        numbers = [f"+3161234500{place}" for place in range(3)]
        AgedJournal(app, monkeypatch).live_through(numbers, 9, 90, chance)
        calls = JournalCalls(app.journal)
        objections = JournalObjections(app.journal, calls)
        for _ in range(2):
            head = app.journal.head().seq
            for seller in ("acme", "bank", "nobody"):
                folded = [standing(calls.choices_of(number, head)).optouts.get(seller) for number in numbers]
                newest = [record.seq for record in folded if record is not None]
                for after in (0, head // 2, *(seq + step for seq in newest for step in (-1, 0)), head):
                    assert objections.any_in_force(seller, after) is any(seq > after for seq in newest)
            retention(app).purge(lambda *_: None, dry_run=False, trust_clock=True)
