"""``bmn evidence``: one document of all that the journal holds of a number, and its proof."""

from __future__ import annotations

import json
import random
import re
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from agent import bootstrap
from agent.adapters.evidence_files import evidence_draft
from agent.adapters.journal_evidence import JournalSnapshot
from agent.bootstrap import Application, evidence, retention
from agent.domain.choice import Answer, Source
from agent.domain.deadline import Deadline
from agent.domain.errors import InputRejected, JournalUnavailable
from agent.domain.journal_events import EventType
from agent.domain.phone_number import PhoneNumber
from agent.domain.profile import NL_BMNR
from agent.domain.sealed_record import SealedRecord
from agent.domain.seller_list_entries import Sale
from agent.entrypoints.cli import reveal
from agent.evidence import days
from agent.evidence_document import DocumentBroken, as_file, check, digest_of, document_of
from agent.screening import ScreenRequest
from tests.conftest import load_register, wired
from tests.integration.aged_journal import NOW, AgedJournal
from tests.integration.test_cli import Bmn

NUMBER = "0612345678"
E164 = "+31612345678"
OTHER = "+31612349999"
NASTY = "</script><script>alert(1)</script><b>&amp; \u00e9"


@pytest.fixture
def app(tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Application]:
    """A site in which a number went through all that can happen to one."""
    with wired(tmp_path, redis_url) as app:
        old = AgedJournal(app, monkeypatch)
        began = NOW - timedelta(days=3)
        with monkeypatch.context() as earlier:
            earlier.setattr(bootstrap, "now_utc", lambda: began - timedelta(hours=1))
            as_of = began.date() - timedelta(days=1)
            generation = load_register(app, "0612345000\n", as_of=as_of).generation.id
        call = old.call(began, E164, generation=generation, agent=f"{NASTY}\u2028")
        key = old.say(began, E164, call, Source.AGENT, Answer.SELLER_OPTOUT)
        old.undo(began, E164, call, key, Answer.SELLER_OPTOUT)
        old.say(began, E164, call, Source.CONSUMER, Answer.REGISTER)
        old.finish(began, E164, call)
        old.call(began, OTHER, generation=generation)
        app.registrations.export(tmp_path / "batch.csv")
        load_register(app, f"{NUMBER}\n")
        app.outbox.drain()
        yield app


@pytest.fixture
def site(app: Application, tmp_path: Path, redis_url: str) -> Bmn:
    """Its commands."""
    number = PhoneNumber(digits=E164.removeprefix("+"))

    def screen() -> None:
        request = ScreenRequest(number=NUMBER, campaign="energy", agent="piet", source="command")
        app.screening.screen(request, Deadline.after_ms(5_000))

    screen()
    sale = Sale(sold_on=date(2026, 1, 5), product="Stroom", evidence=NASTY)
    app.seller_lists.add_customers("acme", "energy-contract", [(number, sale)], "test", lambda *_: None)
    screen()
    app.seller_lists.add_optout("acme", number, "letter", None)
    screen()
    reveal.record(app, "call log", f"number {E164}", None)
    reveal.record(app, "call log", "all", None)
    return Bmn(tmp_path, redis_url)


def made(site: Bmn, name: str, *options: str) -> Path:
    """A document of the number."""
    path = site.folder / name
    site("evidence", NUMBER, "--out", str(path), *options)
    return path


def content_of(path: Path) -> Any:
    """What a document says."""
    return check(path.read_bytes()).content


def test_a_document_holds(site: Bmn) -> None:
    """Both kinds, alone and with the journal; mode 0600; the journal has each export, and what was exported."""
    for name in ("d.json", "d.html"):
        path = site.folder / name
        told = site.json("evidence", NUMBER, "--out", str(path))
        assert (told["calls"], stat.S_IMODE(path.stat().st_mode)) == (4, 0o600)
        assert site.json("evidence", "verify", str(path))["proven"] is True
        checked = site.json("evidence", "verify", str(path), "--journal")
        assert (checked["proven"], checked["anchor"], checked["root"]) == (True, told["anchor"], told["root"])
        with closing(sqlite3.connect(site.folder / "journal.db")) as connection:
            query = "SELECT type, body FROM records WHERE seq = ?"
            event, body = connection.execute(query, (told["record"],)).fetchone()
        said = json.loads(body)
        assert (event, said["number"], said["count"]) == ("evidence.exported", E164, told["records"])
        assert said["sha256"] == digest_of(content_of(path))
    assert site.json("journal", "verify")["whole"] is True


def test_it_tells_what_the_journal_has_and_nothing_of_others(site: Bmn) -> None:
    """Record by record as the file has them; in force as screening sees it; what nobody knows."""
    content = content_of(made(site, "d.json"))
    dossier = content["dossier"]
    assert [(one["verdict"], one["reason"], one["registered"], one["window"]) for one in dossier["attempts"]] == [
        ("allow", "not_registered", "not_listed", "inside"),
        ("block", "registered", "own_registration", "inside"),
        ("allow", "exempt_customer", "not_asked", "inside"),
        ("block", "seller_optout", "not_asked", "inside"),
    ]
    first, _, exempt, _ = dossier["attempts"]
    assert [(one["answer"], one["undone_by"] is None) for one in first["choices"]] == [
        ("seller_optout", False),
        ("register", True),
    ]
    assert [one["type"] for one in first["registrar"]] == ["registration.exported"]
    assert exempt["customers"][0]["evidence"] == NASTY
    assert [one["type"] for one in dossier["entries"]] == ["customer.added", "optout.added", "number.revealed"]
    assert dossier["in_force"]["registrations"] == [["nl-bmnr", "all"]]
    assert {"reveals", "from_command", "before_journal", "redis"} <= {one["kind"] for one in dossier["unknown"]}
    assert OTHER not in json.dumps(content)
    with closing(sqlite3.connect(site.folder / "journal.db")) as connection:
        for record in content["records"]:
            query = "SELECT at, type, body, hex(salt), hex(digest), hex(link) FROM records WHERE seq = ?"
            row = connection.execute(query, (record["seq"],)).fetchone()
            shown = (record["at_us"], record["type"], record["body"])
            assert row == (*shown, *(record[name].upper() for name in ("salt", "digest", "link")))


@pytest.mark.parametrize("name", ["d.json", "d.html"])
def test_one_byte_changed_anywhere_is_found(site: Bmn, name: str) -> None:
    """Whichever, and whatever it becomes; one that is missing, one too many; in all a thousand are tried."""
    whole = made(site, name).read_bytes()
    check(whole)
    chance = random.Random(name)
    for _ in range(1_000):
        place = chance.randrange(len(whole))
        other = bytes([chance.choice([byte for byte in range(256) if byte != whole[place]])])
        kind = chance.randrange(4)
        changed = whole[:place] + (other + whole[place + 1 :], whole[place + 1 :], other + whole[place:])[min(kind, 2)]
        if changed == whole:
            continue
        with pytest.raises(DocumentBroken):
            check(changed)


def test_digits_that_were_exchanged_in_a_document_that_was_sealed_again_are_found(site: Bmn) -> None:
    """Somebody who knows the format puts right what he can: record and export still say what was exported."""
    document = json.loads(made(site, "d.json").read_text())
    content = document["content"]
    export = check(as_file(document)).export

    def forged(change: Any) -> bytes:
        copy = json.loads(json.dumps(content))
        change(copy)
        return as_file(document_of(copy, export))

    def lie(copy: Any) -> None:
        copy["dossier"]["attempts"][0]["reason"] = "exempt_service"

    def alter(copy: Any) -> None:
        copy["records"][0]["body"] = copy["records"][0]["body"].replace("acme", "evil").replace("csv", "txt")

    def move(copy: Any) -> None:
        copy["records"][0]["at_us"] += 1

    def drop(copy: Any) -> None:
        gone = copy["records"].pop(1)
        copy["dossier"]["records"].remove(gone["seq"])

    first = content["records"][0]["seq"]
    for change, problem in (
        (lie, "the content was altered"),
        (alter, f"record {first} was altered: its body"),
        (move, f"record {first} was altered or put in"),
        (drop, "the content was altered"),
    ):
        with pytest.raises(DocumentBroken, match=problem):
            check(forged(change))


@pytest.mark.parametrize("name", ["digest", "link", "salt", "seq"])
def test_a_change_of_the_record_of_the_export_is_found(site: Bmn, name: str) -> None:
    """Its link, too, which nothing but the seal and the journal holds."""
    document = json.loads(made(site, "d.json").read_text())
    value = document["export"][name]
    document["export"][name] = value + 1 if isinstance(value, int) else value.translate(str.maketrans("01", "10"))
    with pytest.raises(DocumentBroken, match="the export itself, was altered"):
        check(as_file(document))


TAMPERING = {
    "UPDATE records SET body = replace(body, 'allow', 'alloy') WHERE seq = {seq}": "the body of record {seq} was",
    "UPDATE records SET body = NULL, salt = NULL WHERE seq = {seq}": "the body of record {seq} was",
    "UPDATE records SET at = at + 1 WHERE seq = {seq}": "record {seq} is another one",
    "UPDATE records SET digest = randomblob(32) WHERE number = '+31612349999'": "bmn journal verify names it",
    "UPDATE records SET body = replace(body, 'root', 'boot') WHERE type = 'evidence.exported'": "the body of record",
    "DELETE FROM records WHERE number = '+31612349999'": "does not link to the one before it",
    "DELETE FROM records WHERE seq = {seq}": "record {seq} is not in the journal any more",
    "UPDATE records SET link = randomblob(32) WHERE seq = {seq} - 1": "record {seq} does not link",
}


def test_one_byte_changed_in_the_journal_is_found(site: Bmn) -> None:
    """In a record that is shown, in the export itself, and in one of somebody else; the document alone still holds."""
    path, journal = made(site, "d.html"), site.folder / "journal.db"
    seq = next(one["seq"] for one in content_of(path)["records"] if one["type"] == "call.screened")
    with closing(sqlite3.connect(journal, isolation_level=None)) as connection:
        for sql, problem in TAMPERING.items():
            connection.execute("BEGIN")
            connection.execute(
                "CREATE TEMP TABLE before AS SELECT seq, at, type, salt, body, digest, link FROM records"
            )
            connection.execute("COMMIT")
            connection.execute(sql.format(seq=seq))
            assert problem.format(seq=seq) in site("evidence", "verify", str(path), "--journal", code=1), sql
            connection.execute(
                "INSERT OR REPLACE INTO records (seq, at, type, salt, body, digest, link) SELECT * FROM before"
            )
            connection.execute("DROP TABLE before")
    assert site.json("evidence", "verify", str(path), "--journal")["proven"] is True


def test_a_journal_that_was_set_back_or_is_another_one_is_found(site: Bmn, tmp_path: Path, redis_url: str) -> None:
    """It ends before the export."""
    journal = site.folder / "journal.db"
    with closing(sqlite3.connect(journal)) as connection, closing(sqlite3.connect(tmp_path / "copy.db")) as copy:
        connection.backup(copy)
    path = made(site, "d.json")
    journal.with_name("journal.db-wal").unlink(missing_ok=True)
    journal.with_name("journal.db-shm").unlink(missing_ok=True)
    journal.write_bytes((tmp_path / "copy.db").read_bytes())
    assert "it was set back or cut off" in site("evidence", "verify", str(path), "--journal", code=1)
    (tmp_path / "new").mkdir()
    new = Bmn(tmp_path / "new", redis_url)
    new("log", code=3)
    new("screen", NUMBER, "--campaign", "energy", code=1)
    assert "of another journal" in new("evidence", "verify", str(path), "--journal", code=1)


def test_a_record_that_was_left_out_is_found_with_the_journal(
    app: Application, site: Bmn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A document of an agent that lied holds by itself; the journal knows better."""
    about = JournalSnapshot.about
    path = site.folder / "lie.json"

    def all_but_one(self: JournalSnapshot, number: str, upto: int) -> list[SealedRecord]:
        return [one for one in about(self, number, upto) if one.type != EventType.OPTOUT_ADDED]

    with monkeypatch.context() as lie, evidence_draft(path, force=False) as draft:
        lie.setattr(JournalSnapshot, "about", all_but_one)
        period = days(NL_BMNR, None, None, NOW + timedelta(hours=1))
        number = PhoneNumber(digits=E164.removeprefix("+"))
        evidence(app).export(number, NL_BMNR, period, "nl", draft, lambda *_: None)
    assert site.json("evidence", "verify", str(path))["proven"] is True
    assert "(optout.added) is of this number and period, and was left out" in site(
        "evidence", "verify", str(path), "--journal", code=1
    )


def test_what_happens_after_an_export_does_not_break_it(
    app: Application, site: Bmn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """New calls, another export, and a purge: of what is gone the digests still match, and that is said."""
    path = made(site, "d.json")
    site("screen", NUMBER, "--campaign", "energy", code=1)
    made(site, "later.html")
    monkeypatch.setenv("BMN_RETENTION__CALLS_DAYS", "366")
    use_case = retention(app)
    use_case._clock = lambda: NOW + timedelta(days=2_000)
    assert use_case.purge(lambda *_: None, dry_run=False, trust_clock=True).count > 5
    told = site.json("evidence", "verify", str(path), "--journal")
    assert (told["proven"], told["purged"] > 5) == (True, True)
    assert "lost the body to retention since" in site("evidence", "verify", str(path), "--journal")
    left = content_of(made(site, "after.json"))["dossier"]
    assert (left["attempts"], left["in_force"]["registrations"]) == ([], [["nl-bmnr", "all"]])
    assert "purged" in {one["kind"] for one in left["unknown"]}


def test_only_the_days_that_were_asked_for(site: Bmn) -> None:
    """Amsterdam days; a day that is none is a usage error."""
    today = str(date.today() + timedelta(days=1))
    before = content_of(made(site, "old.json", "--to", str(date.today() - timedelta(days=2))))["dossier"]
    assert [one["reason"] for one in before["attempts"]] == ["not_registered"]
    later = content_of(made(site, "new.json", "--from", str(date.today() - timedelta(days=1)), "--to", today))
    assert [one["reason"] for one in later["dossier"]["attempts"]] == ["registered", "exempt_customer", "seller_optout"]
    assert {one["type"] for one in later["dossier"]["entries"] if one["before"]} >= {"choice.recorded"}
    out = str(site.folder / "x.json")
    assert "ends before it begins" in site(
        "evidence", NUMBER, "--out", out, "--from", "2026-03-02", "--to", "2026-03-01", code=2
    )
    assert "--from" in site("evidence", NUMBER, "--out", out, "--from", "1-3-2026", code=2)


def test_a_file_that_is_there_or_is_no_document_is_refused(site: Bmn, tmp_path: Path) -> None:
    """Exit code 4, and nothing is journalled; with --force it is replaced."""
    path = made(site, "d.json")
    before = site.json("journal", "verify")["records"]
    assert "add --force" in site("evidence", NUMBER, "--out", str(path), code=4)
    assert "end in .html or .json" in site("evidence", NUMBER, "--out", str(tmp_path / "d.pdf"), code=4)
    assert "not a valid complete number" in site("evidence", "061", "--out", str(tmp_path / "x.json"), code=4)
    for name in ("bmn.toml", "journal.db", "nowhere.json"):
        site("evidence", "verify", str(tmp_path / name), code=4)
    assert site.json("journal", "verify")["records"] == before
    made(site, "d.json", "--force")
    path.write_bytes(path.read_bytes().replace(b"acme", b"evil"))
    told = site("evidence", "verify", str(path), code=1)
    assert re.search(r"BROKEN: .*record \d+ was altered", told)


def test_verifying_alone_needs_no_configuration(site: Bmn) -> None:
    """Nor a journal: a supervisor has neither."""
    path = made(site, "d.html")
    site.environment = {"BMN_CONFIG": "/nowhere"}
    assert "unchanged" in site("evidence", "verify", str(path))
    assert "no configuration file" in site("evidence", "verify", str(path), "--journal", code=2)


def test_there_is_no_file_that_the_journal_does_not_have(
    app: Application, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record comes first; when it cannot be kept nothing is left behind."""
    path = tmp_path / "d.html"

    def full(*_: object) -> None:
        assert not path.exists()
        raise JournalUnavailable("disk full")

    monkeypatch.setattr(app.journal, "append", full)
    number, period = PhoneNumber(digits=E164.removeprefix("+")), days(NL_BMNR, None, None, NOW)
    with pytest.raises(JournalUnavailable, match="disk full"), evidence_draft(path, force=False) as draft:
        evidence(app).export(number, NL_BMNR, period, "nl", draft, lambda *_: None)
    assert [file.name for file in tmp_path.iterdir() if "d.html" in file.name] == []
    with pytest.raises(InputRejected), evidence_draft(tmp_path / "d.txt", force=False):
        pass
