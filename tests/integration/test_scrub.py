"""Scrubs on a real Redis and a real journal: each reason, the files and the certificate, the command."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.adapters import call_file, redis_bulk_lists
from agent.adapters.call_file import open_call_file
from agent.adapters.call_file_layout import LayoutOptions
from agent.adapters.redis_bulk_lists import RedisBulkLists
from agent.adapters.redis_lists import RedisLists
from agent.adapters.scrub_files import ScrubFiles
from agent.bootstrap import Application, scrubbing
from agent.domain.deadline import Deadline
from agent.domain.journal_events import Event, EventType
from agent.domain.model import Verdict
from agent.domain.phone_number import NUMBERING, PhoneNumber
from agent.domain.profile import NL_BMNR
from agent.domain.seller_list_entries import Sale
from tests.conftest import load_register
from tests.integration.test_cli import Bmn
from tests.integration.test_screening import REGISTERED, screen

CALLS = (
    "name;phone\r\n"
    "Jan;0612345678\r\n"
    "Ann;06-12345679\r\n"
    "Bob;+31 6 12345680\r\n"
    "Cor;0612345681\r\n"
    "Dik;0612345999\r\n"
    "Els;0612345777\r\n"
    "Fer;0612345666\r\n"
    "Gé;0031612345999\r\n"
    "Han;061\r\n"
    "Ida;+3225551234\r\n"
    "Jos;112\r\n"
)
OUTPUTS = ("clean.csv", "removed.csv", "cert.json")


def some_lists(app: Application) -> None:
    """A register, an opt-out of Acme (…777, a customer) and another customer (…678, registered)."""
    load_register(app, REGISTERED)
    number = PhoneNumber(digits="31612345777")
    sale = Sale(sold_on=date(2026, 1, 5), product="Stroom", evidence=None)
    customers = [(number, sale), (PhoneNumber(digits="31612345678"), sale)]
    app.seller_lists.add_customers("acme", "energy-contract", customers, "test", lambda *_: None)
    app.seller_lists.add_optout("acme", number, "letter", None)


def scrub(
    app: Application, folder: Path, content: str | bytes = CALLS, campaign: str = "energy", *, force: bool = False
) -> dict[str, Any]:
    """One scrub of ``content``; returns the certificate."""
    path = folder / "calls.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    clean, removed, certificate = (folder / name for name in OUTPUTS)
    outputs = ScrubFiles(path, clean, removed, certificate, force=force)
    calls = open_call_file(path, LayoutOptions(), NL_BMNR)
    return scrubbing(app).scrub(app.campaigns[campaign], calls, outputs, lambda *_: None)


def removed_by_name(folder: Path) -> dict[str, str]:
    """Why each row of ``CALLS`` was removed."""
    rows = [line.split(";") for line in (folder / "removed.csv").read_text().splitlines()[1:]]
    return {row[0]: row[-1] for row in rows}


def test_each_row_has_its_reason(app: Application, tmp_path: Path) -> None:
    """And the two files are the input, parted, with nothing changed."""
    some_lists(app)
    issued = scrub(app, tmp_path)
    assert removed_by_name(tmp_path) == {
        "Ann": "registered",
        "Bob": "registered_sector",
        "Els": "seller_optout",
        "Gé": "duplicate",
        "Han": "invalid_number",
        "Ida": "unsupported_country",
        "Jos": "emergency_number",
    }
    assert (tmp_path / "clean.csv").read_bytes() == (
        b"name;phone\r\nJan;0612345678\r\nCor;0612345681\r\nDik;0612345999\r\nFer;0612345666\r\n"
    )
    assert issued["reasons"]["exempt_customer"] == 1
    assert (issued["formerly"], issued["phonenumbers"]) == (None, NUMBERING)
    assert sum(issued["reasons"].values()) == issued["input"]["rows"] == 11
    assert (tmp_path / "calls.csv").read_bytes() == CALLS.encode()


@pytest.mark.parametrize("campaign", ["energy", "solar", "charity", "loans", "survey", "lab-campaign"])
def test_a_row_is_decided_as_a_call(app: Application, tmp_path: Path, campaign: str) -> None:
    """Row by row the reason of a screening; own registrations and those of other sellers among them."""
    some_lists(app)
    for number, answer in (("+31612345666", "register_with_charities"), ("+31612345601", "register_without_charities")):
        record_choice(app, number, answer)
    numbers = [f"06123456{end:02d}" for end in (*range(66, 69), 1, 77, 78, 79, 80, 81)] + ["0612345777", "0612345999"]
    scrub(app, tmp_path, "".join(f"{number};x\n" for number in numbers), campaign)
    removed = {line.split(";")[0]: line.split(";")[-1] for line in (tmp_path / "removed.csv").read_text().split()}
    clean = {line.split(";")[0] for line in (tmp_path / "clean.csv").read_text().split()}
    for number in numbers:
        decision = screen(app, number, campaign).decision
        assert (number in clean) == (decision.verdict is Verdict.ALLOW)
        assert removed.get(number, decision.reason) == decision.reason


def test_numbers_of_many_sets_are_told_apart(app: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    """What many numbers are told at once is what each of them is told alone, whatever the lengths of their prefixes."""
    monkeypatch.setattr(redis_bulk_lists, "_BATCH_COMMANDS", 3)
    starts = ["800", "8001", "80012", "800123", "9001", "61234", "61235", "20123", "85123"]
    spread = [f"{start}{end:04d}" for start in starts for end in (0, 1, 7, 10, 42, 100, 999, 1000, 1010, 9999)]
    numbers = [f"31{number}" for number in spread]
    campaign, lists = app.campaigns["energy"], ("all", "all_except_charities", "energy", "finance")
    load_register(app, "".join(f"0{number},{lists[place % 4]}\n" for place, number in enumerate(spread) if place % 3))
    app.seller_lists.add_optout("acme", PhoneNumber(digits=numbers[12]), "letter", None)
    record_choice(app, f"+{numbers[33]}", "register_without_charities")
    bulk = RedisBulkLists(app.redis, app.journal.id, app.journal.mark, app.losses).begin(campaign)
    single, state = RedisLists(app.redis, app.journal.id, app.journal.mark, app.losses), app.journal.state()
    asked = [*numbers[40:], *numbers, *numbers[:5]]
    told = [
        bulk.facts(code) for code in bulk.codes(np.array(asked, dtype=np.uint64), state.restriction_watermark).tolist()
    ]
    for number, facts in zip(asked, told, strict=True):
        alone = single.facts(PhoneNumber(digits=number), campaign, state, Deadline.after_ms(3_000))
        assert facts == replace(alone, upto=0, newest_at=None), number
    assert len({(facts.seller_optout, facts.own_registration, facts.register_entry) for facts in told}) == 6


def record_choice(app: Application, number: str, answer: str) -> None:
    """A registration that was taken in a call about loans."""
    body = {
        "call": f"call-{number}",
        "number": number,
        "campaign": "loans",
        "seller": "bank",
        "agent": "a",
        "profile": "nl-bmnr",
        "sector": "finance",
        "source": "agent_key",
        "answer": answer,
    }
    app.journal.append([Event.of(EventType.CHOICE_RECORDED, body)], Deadline.after_ms(3_000))
    app.outbox.drain()


def test_an_objection_counts_also_for_research_without_a_register(app: Application, tmp_path: Path) -> None:
    """The register does not bind it, so none is needed; the certificate names none."""
    app.seller_lists.add_optout("acme", PhoneNumber(digits="31612345777"), "letter", None)
    issued = scrub(app, tmp_path, campaign="survey")
    assert removed_by_name(tmp_path)["Els"] == "seller_optout"
    assert (issued["generation"], issued["as_of"]) == (None, None)
    assert issued["reasons"]["exempt_research"] == 6


def test_spellings_of_one_number_are_one(app: Application, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first stays, also when the others come in later chunks; a blocked one is removed for what blocks it."""
    monkeypatch.setattr(call_file, "_BLOCK_BYTES", 20)
    load_register(app, REGISTERED)
    spellings = ["06-12345999", "+31612345999", "0031612345999", "+31 (0)6 12345999", "0612345678", "06 12345678"]
    issued = scrub(app, tmp_path, "phone\n" + "\n".join(spellings) + "\n")
    assert (tmp_path / "clean.csv").read_text() == "phone\n06-12345999\n"
    assert issued["reasons"] == {"duplicate": 3, "not_registered": 1, "registered": 2}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_the_outputs_have_the_encoding_of_the_input(app: Application, tmp_path: Path, encoding: str) -> None:
    """With its byte order mark."""
    load_register(app, REGISTERED)
    scrub(app, tmp_path, CALLS.encode(encoding))
    assert (tmp_path / "clean.csv").read_bytes().decode(encoding).startswith("name;phone\r\nCor;")
    assert (tmp_path / "removed.csv").read_bytes().decode(encoding).startswith("name;phone;reason\r\nJan;")


def test_the_certificate_is_what_the_journal_has(app: Application, tmp_path: Path) -> None:
    """Hashes and rows of all files, the register, and where it stands."""
    loaded = load_register(app, REGISTERED).generation
    issued = scrub(app, tmp_path)
    assert json.loads((tmp_path / "cert.json").read_text()) == issued
    record = app.journal.record(issued["record"])
    assert record is not None
    assert issued.items() >= record.body.items()
    for part, name in (("input", "calls.csv"), ("clean", "clean.csv"), ("removed", "removed.csv")):
        content = (tmp_path / name).read_bytes()
        rows = content.count(b"\n") - 1
        assert issued[part] == {"name": name, "sha256": sha256(content).hexdigest(), "rows": rows}
    assert (issued["generation"], issued["register_sha256"]) == (loaded.id, loaded.sha256)
    assert issued["valid_until"] == NL_BMNR.valid_until(loaded).isoformat()
    assert all((tmp_path / name).stat().st_mode & 0o077 == 0 for name in OUTPUTS)


# --- the command


@pytest.fixture
def site(tmp_path: Path, redis_url: str) -> Bmn:
    """A site with an empty Redis and a call file."""
    (tmp_path / "calls.csv").write_text(CALLS)
    return Bmn(tmp_path, redis_url)


def command(site: Bmn, *more: str, code: int = 0) -> str:
    """``bmn scrub`` to the usual names."""
    clean, removed, certificate = (str(site.folder / name) for name in OUTPUTS)
    outputs = ("--out", clean, "--removed", removed, "--certificate", certificate)
    return site("scrub", str(site.folder / "calls.csv"), "--campaign", "energy", *outputs, *more, code=code)


def test_the_command_tells_what_it_did_and_what_it_refuses(site: Bmn) -> None:
    """With the exit codes of the table."""
    assert "no register is loaded" in command(site, code=3)
    site.load(REGISTERED)
    told = command(site)
    assert "11 rows, numbers read from column 2 (phone)" in told
    assert "record 2 of the journal, valid until" in told
    assert "exists already" in command(site, code=4)
    assert json.loads(command(site, "--force", "--json"))["reasons"]["registered"] == 2
    assert "there is no column fax" in command(site, "--force", "--column", "fax", code=4)
    assert "no row of calls.csv has a number" in command(site, "--force", "--column", "name", code=4)
    assert "there is no campaign 'nope'" in command(site, "--campaign", "nope", code=2)
    assert "a scrub needs" in site("scrub", "x.csv", code=2)


def test_a_certificate_is_checked(site: Bmn) -> None:
    """As it is, after one byte was changed in the file or in itself, and without the file."""
    site.load(REGISTERED)
    command(site)
    clean, certificate = site.folder / "clean.csv", site.folder / "cert.json"
    told = site("scrub", "--check", str(certificate), str(clean))
    assert [line[:2] for line in told.splitlines()] == ["ok", "ok", "ok"]
    assert len(site("scrub", "--check", str(certificate)).splitlines()) == 2
    content = bytearray(clean.read_bytes())
    content[-3] ^= 1
    clean.write_bytes(content)
    assert "is not the clean file, or was altered" in site("scrub", "--check", str(certificate), str(clean), code=1)
    certificate.write_text(certificate.read_text().replace('"rows": 11', '"rows": 12'))
    found = site.json("scrub", "--check", str(certificate), code=1)
    assert (found["holds"], [item["holds"] for item in found["findings"]]) == (False, [False, True])
    assert "input" in found["findings"][0]["text"]
    for nothing in ("{}", "[" * 200_000):
        certificate.write_text(nothing)
        assert "no certificate" in site("scrub", "--check", str(certificate), code=4)
