"""The command ``bmn`` as a process: what it prints, and with which exit code it ends."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from deploy.lab.agent_service import bmn
from tests.conftest import write_configuration

BMN = str(Path(sys.executable).parent / "bmn")
SALE = ("--seller", "acme", "--product-group", "energy-contract", "--sold-on", "2026-01-05", "--product", "Stroom")


class Bmn:
    """Commands of one site."""

    def __init__(self, folder: Path, redis_url: str) -> None:
        self.folder = folder
        self.environment = {"BMN_CONFIG": str(write_configuration(folder)), "BMN_REDIS_URL": redis_url}

    def __call__(self, *arguments: str, code: int = 0) -> str:
        """Run one that must end with ``code``; returns what it printed, errors included."""
        done = bmn(*arguments, environment=self.environment, check=False)
        assert done.returncode == code, (arguments, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
        return done.stdout + done.stderr

    def json(self, *arguments: str, code: int = 0) -> Any:
        """The same with ``--json``."""
        return json.loads(self(*arguments, "--json", code=code))

    def load(self, text: str = "0612345678\n", *options: str, code: int = 0) -> str:
        """Import a register of today."""
        path = self.folder / "register.csv"
        path.write_text(text)
        return self("register", "import", str(path), "--as-of", str(date.today()), *options, code=code)


@pytest.fixture
def site(tmp_path: Path, redis_url: str) -> Bmn:
    """A site with an empty Redis."""
    return Bmn(tmp_path, redis_url)


def test_screen_says_why_and_ends_with_the_answer(site: Bmn) -> None:
    """0 allowed, 1 blocked; the number to dial only when allowed."""
    site.load()
    assert "block: registered" in site("screen", "06-12345678", "--campaign", "energy", code=1)
    allowed = site.json("screen", "0612349999", "--campaign", "energy")
    assert (allowed["verdict"], allowed["number"], allowed["notice"]) == ("allow", "+31612349999", "required")
    blocked = site.json("screen", "0612345678", "--campaign", "nope", code=1)
    assert (blocked["reason"], blocked["number"]) == ("unknown_campaign", "")


def test_register_commands_tell_what_is_in_force(site: Bmn) -> None:
    """Import, status, rollback, each for people and for scripts."""
    assert "no register is loaded" in site("register", "status", code=1)
    assert "3 numbers" in site.load("0612345678\n0612345679\n0612345680,energy\n".replace(",energy", ""))
    first = site.json("register", "status")
    assert (first["in_force"]["count"], first["stale"], len(first["kept"])) == (3, False, 1)
    site.load("0612345678\n", "--allow-shrink")
    assert "1 number as of" in site("register", "status")
    back = site.json("register", "rollback")
    assert (back["generation"], back["count"]) == (first["in_force"]["generation"], 3)
    assert "oldest load" in site("register", "rollback", code=4)


def test_a_rejected_import_names_the_lines(site: Bmn) -> None:
    """Exit code 4 and at most a screenful."""
    told = site.load("0612345678\n" + "061\n" * 100, code=4)
    assert "100 of 101 lines are wrong, so nothing was loaded" in told
    assert "register.csv, line 2: not a number of region NL" in told
    assert "… and 80 more" in told
    assert len(told.splitlines()) == 22
    assert "cannot be read" in site("register", "import", "/nowhere.txt", "--as-of", "2026-01-01", code=4)


def test_a_stale_load_is_put_in_force_with_a_warning(site: Bmn) -> None:
    """It blocks what needs it, and says so at once."""
    path = site.folder / "old.txt"
    path.write_text("0612345678\n")
    old = str(date.today() - timedelta(days=40))
    assert "past its period" in site("register", "import", str(path), "--as-of", old)
    assert "STALE" in site("register", "status", code=1)
    assert "register_stale" in site("screen", "0612349999", "--campaign", "energy", code=1)


def test_optouts_are_added_listed_and_removed(site: Bmn) -> None:
    """Adding twice changes nothing; removing needs a reason; numbers are masked unless revealed, which is recorded."""
    assert "is opted out now" in site("optout", "add", "0612345678", "--seller", "acme", "--note", "ref 12")
    assert site.json("optout", "add", "+31612345678", "--seller", "acme")["added"] is False
    (entry,) = site.json("optout", "list", "--seller", "acme")
    assert (entry["number"], entry["note"]) == ("+316*****678", "ref 12")
    (entry,) = json.loads(site("optout", "list", "--seller", "acme", "--reveal", "--json"))
    assert entry["number"] == "+31612345678"
    with closing(sqlite3.connect(site.folder / "journal.db")) as journal:
        (reveals,) = journal.execute("SELECT count(*) FROM records WHERE type = 'number.revealed'").fetchone()
    assert reveals == 1
    assert "--reason" in site("optout", "remove", "0612345678", "--seller", "acme", code=2)
    site("optout", "remove", "0612345678", "--seller", "acme", "--reason", "asked for calls")
    site("optout", "remove", "0612345678", "--seller", "acme", "--reason", "again", code=1)
    assert site.json("optout", "list", "--seller", "acme") == []


def test_customers_are_imported_whole_or_not_at_all(site: Bmn) -> None:
    """With the sale as evidence; importing again changes nothing."""
    path = site.folder / "customers.csv"
    header = "number,sold_on,product,evidence\n"
    path.write_text(header + "0612345678,2026-01-05,Stroom,order 1\n0612345679,2026-02-01,Gas,\n")
    where = ("--seller", "acme", "--product-group", "energy-contract")
    assert site.json("customer", "import", str(path), *where) == {
        "seller": "acme",
        "lines": 2,
        "added": 2,
        "opted_out": 0,
    }
    assert site.json("customer", "import", str(path), *where)["added"] == 0
    entries = site.json("customer", "list", "--seller", "acme")
    assert [(item["product"], item["evidence"]) for item in entries] == [("Stroom", "order 1"), ("Gas", None)]
    path.write_text(
        "number,sold_on,product\n0612345680,2026-01-05,Stroom\n061,2026-01-05,x\n0612345681,5-1-2026,x\n"
        "0612345682,2999-01-01,x\n0612345683,2026-01-05,\n0612345684,2026-01-05\n"
    )
    told = site("customer", "import", str(path), *where, code=4)
    for part in ("5 of 6 lines", "line 3: not a number", "line 4: sold_on '5-1-2026'", "line 5: sold_on 2999", "line 6",
                 "line 7: not as many fields"):  # fmt: skip
        assert part in told
    assert len(site.json("customer", "list", "--seller", "acme")) == 2
    path.write_text("phone,date\n0612345678,2026-01-05\n")
    assert "the header must be number,sold_on,product" in site("customer", "import", str(path), *where, code=4)
    path.write_bytes(b"\xff\xfe\x00")
    assert "not text in UTF-8" in site("customer", "import", str(path), *where, code=4)


def test_the_newest_sale_is_the_evidence(site: Bmn) -> None:
    """Whatever the order of lines, files and commands; what is older is neither recorded nor counted."""
    where = ("--seller", "acme", "--product-group", "energy-contract")
    path = site.folder / "customers.csv"

    def imported(*lines: str) -> int:
        path.write_text("number,sold_on,product\n" + "\n".join(lines) + "\n")
        return int(site.json("customer", "import", str(path), *where)["added"])

    def evidence() -> list[tuple[str, str]]:
        return [(item["sold_on"], item["product"]) for item in site.json("customer", "list", "--seller", "acme")]

    newer, older = "0612345678,2026-02-01,Gas", "+31612345678,2026-01-05,Stroom"
    assert [imported(newer, older), imported(newer, older)] == [1, 0]
    assert evidence() == [("2026-02-01", "Gas")]
    assert imported(older) == 0
    assert "already, by this sale or a later one, of acme" in site("customer", "add", "0612345678", *SALE)
    assert evidence() == [("2026-02-01", "Gas")]
    assert imported("0612345678,2026-03-01,Stroom") == 1
    assert evidence() == [("2026-03-01", "Stroom")]


def test_a_product_group_that_no_campaign_has_is_told(site: Bmn) -> None:
    """It may be misspelt, and then exempts nobody; another campaign may come, so it is recorded."""
    path = site.folder / "customers.csv"
    path.write_text("number,sold_on,product\n0612345678,2026-01-05,Stroom\n")
    warning = "no campaign of acme has the product group 'enrgy' (they have energy-contract, solar-panels)"
    told = site("customer", "import", str(path), "--seller", "acme", "--product-group", "enrgy")
    assert warning in told
    assert "1 line read, 1 sale recorded" in told
    assert warning in site("customer", "add", "0612345678", *SALE, "--product-group", "enrgy")
    assert "warning" not in site("customer", "add", "0612345678", *SALE)


def test_a_customer_is_added_and_removed(site: Bmn) -> None:
    """One at a time, with dates that can be."""
    site.load()
    site("customer", "add", "0612345678", *SALE)
    assert "exempt_customer" in site("screen", "0612345678", "--campaign", "energy")
    where = ("--seller", "acme", "--product-group", "energy-contract")
    site("customer", "remove", "0612345678", *where, "--reason", "contract ended")
    assert "registered" in site("screen", "0612345678", "--campaign", "energy", code=1)
    assert "in the future" in site("customer", "add", "0612345678", *SALE, "--sold-on", "2999-01-01", code=2)
    assert "product group" in site("customer", "list", "--seller", "acme", "--product-group", "A B", code=2)


def test_a_key_that_others_can_read_is_told(site: Bmn) -> None:
    """Whoever reads it can forge the journal; every command still works."""
    site.load()
    assert "warning" not in site("optout", "list", "--seller", "acme")
    (site.folder / "journal.db.key").chmod(0o640)
    for command in (["optout", "list", "--seller", "acme"], ["journal", "verify"]):
        assert "warning: others can read the journal's key" in site(*command)


def test_an_error_is_json_too_when_json_was_asked_for(site: Bmn) -> None:
    """So that a script need not parse sentences."""
    path = site.folder / "bad.txt"
    path.write_text("061\n")
    done = bmn(
        *("register", "import", str(path), "--as-of", str(date.today()), "--json"),
        environment=site.environment,
        check=False,
    )
    assert json.loads(done.stdout)["problems"] == ["bad.txt, line 1: not a number of region NL"]


def test_evidence_is_text_that_can_be_read(site: Bmn) -> None:
    """Not empty, no control characters."""
    for note in ("", " ", "\x1b[31mred", "line\nline", "x" * 501):
        assert "printable" in site("optout", "add", "0612345678", "--seller", "acme", "--note", note, code=2)


def test_journal_verify_ends_with_1_for_a_broken_chain(site: Bmn) -> None:
    """And names the first bad record."""
    site.load()
    site("screen", "0612345678", "--campaign", "energy", code=1)
    told = site("journal", "verify")
    assert told.startswith("whole: 2 records, none altered, removed or moved\nhead 2:")
    head = site.json("journal", "verify")["head"]
    assert f"head {head}: " in told
    assert site.json("journal", "verify", "--expect", head)["whole"] is True
    assert "what follows record 2, up to 9, is gone" in site("journal", "verify", "--expect", "9" + head[1:], code=1)
    assert "like 1234:" in site("journal", "verify", "--expect", "9", code=2)
    subprocess.run(
        ["sqlite3", str(site.folder / "journal.db"), "UPDATE records SET body = replace(body, 'block', 'allow')"],
        check=True,
    )
    assert "BROKEN at record 2" in site("journal", "verify", code=1)
    assert site.json("journal", "verify", code=1)["first_bad"] == 2


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (
            ["optout", "add", "0612345678", "--seller", "nobody"],
            2,
            "there is no seller 'nobody' (known: acme, bank, hart)",
        ),
        (["optout", "add", "06123456789", "--seller", "acme"], 4, "'06123456789' is not a valid complete number"),
        (["optout", "add", "+3225551234", "--seller", "acme"], 4, "of a country that the profile has no register for"),
        (["register", "import", "x", "--as-of", "1-11-2026"], 2, "--as-of"),
        (["screen", "0612345678"], 2, "--campaign"),
        (["screen", "\udcff", "--campaign", "energy"], 4, "a text that is not Unicode cannot be recorded"),
        (["nonsense"], 2, "No such command"),
        (["agi", "nonsense"], 2, "nonsense"),
    ],
)
def test_wrong_usage_gets_one_clear_sentence(site: Bmn, arguments: list[str], code: int, message: str) -> None:
    """What, where, and a code of its own; nothing is recorded."""
    assert message in site(*arguments, code=code)


def test_a_wrong_configuration_ends_with_2_and_every_mistake(site: Bmn) -> None:
    """Before anything is touched."""
    (site.folder / "bmn.toml").write_text("[agi]\nworkers = 0\n[reddis]\n")
    told = site("register", "status", code=2)
    assert "2 mistakes" in told
    assert "agi.workers" in told
    assert "reddis: there is no such setting" in told
    assert not (site.folder / "journal.db").exists()


def test_a_service_that_is_away_ends_with_3(site: Bmn) -> None:
    """Redis away; journal away. A choice that reached the journal is kept."""
    site.environment["BMN_REDIS_URL"] = "redis://127.0.0.1:1/0"
    assert "Redis at redis://127.0.0.1:1/0 (redis.url) cannot be used" in site("register", "status", code=3)
    for url in ("redis://me:geheim@127.0.0.1:1/0", "redis://127.0.0.1:1/0?password=geheim", "redis://:g@h@127.0.0.1:1"):
        site.environment["BMN_REDIS_URL"] = url
        told = site("register", "status", code=3)
        assert "Redis at redis://127.0.0.1:1" in told
        assert "geheim" not in told
        assert "h@" not in told
    told = site("optout", "add", "0612345678", "--seller", "acme", code=3)
    assert "it is recorded, and will be in force as soon as Redis is back" in told
    assert "it is recorded, and will be in force" in site("optout", "add", "0612345678", "--seller", "acme", code=3)
    assert len(site.json("optout", "list", "--seller", "acme")) == 1
    site.environment["BMN_JOURNAL"] = str(site.folder / "absent" / "j.db")
    assert "there is no journal" in site("log", code=3)
    assert "there is no journal" in site("journal", "verify", code=3)
    assert "lookup_unavailable" in site("screen", "0612345678", "--campaign", "energy", code=1)


def test_help_teaches(site: Bmn) -> None:
    """Every command has its help, the first one the exit codes."""
    assert "0  done" in site("--help")
    for command in ("agi", "customer", "doctor", "journal", "log", "optout", "rebuild", "register", "screen", "serve"):
        assert "Usage: bmn " + command in site(command, "--help")
