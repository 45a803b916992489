"""Seller lists as files: imported whole or not at all, exported in full, and no import ends an opt-out."""

from __future__ import annotations

import csv
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.integration.test_cli import SALE, Bmn

OPTOUTS = (
    "number,since,source,note\n0612345678,2026-01-31,letter,ref 12\n06-12345679,,,\n+31612345678,2025-01-01,e-mail,\n"
)


@pytest.fixture
def site(tmp_path: Path, redis_url: str) -> Bmn:
    """A site with a register that holds none of the numbers."""
    site = Bmn(tmp_path, redis_url)
    site.load("0612340000\n")
    return site


def imported(site: Bmn, text: str, *, code: int = 0) -> str:
    """Opt-outs of Acme from a file."""
    path = site.folder / "optouts.csv"
    path.write_text(text)
    return site("optout", "import", str(path), "--seller", "acme", code=code)


def exported(site: Bmn, kind: str, name: str) -> list[dict[str, str]]:
    """What an export wrote."""
    site(kind, "export", "--seller", "acme", "--out", str(site.folder / name))
    with (site.folder / name).open(newline="") as file:
        return list(csv.DictReader(file))


def test_optouts_are_imported_with_date_and_source(site: Bmn) -> None:
    """Once for each number, and in force at once; importing again changes nothing."""
    assert "3 lines read, 2 opt-outs recorded" in imported(site, OPTOUTS)
    assert "seller_optout" in site("screen", "0612345678", "--campaign", "energy", code=1)
    assert "0 opt-outs recorded" in imported(site, OPTOUTS)
    entries = [
        (item["objected_on"], item["source"], item["note"]) for item in site.json("optout", "list", "--seller", "acme")
    ]
    assert entries == [("2026-01-31", "letter", "ref 12"), (None, "file optouts.csv", None)]


def test_a_wrong_line_rejects_the_file(site: Bmn) -> None:
    """Each is named; nothing is recorded."""
    told = imported(
        site,
        "number,since\n0612345678,\n061,\n0612345678,31-01-2026\n0612345678,2999-01-01\n0612345678\n",
        code=4,
    )
    for part in ("4 of 5 lines are wrong", "line 3: not a number", "line 4: since '31-01-2026'", "line 5: since 2999",
                 "line 6: not as many"):  # fmt: skip
        assert part in told
    assert "the header must be number" in imported(site, "phone\n0612345678\n", code=4)
    assert "there is no number" in imported(site, "number\n", code=4)
    assert "printable" in imported(site, f"number,note\n0612345678,{'x' * 501}\n", code=4)
    assert site.json("optout", "list", "--seller", "acme") == []


def test_what_was_exported_can_be_imported(site: Bmn) -> None:
    """By another seller here; the export is recorded, private, and overwrites nothing."""
    imported(site, OPTOUTS)
    first, second = exported(site, "optout", "out.csv")
    assert (first["number"], first["since"], first["source"], first["note"]) == (
        "+31612345678", "2026-01-31", "letter", "ref 12",
    )  # fmt: skip
    assert second["since"].startswith("20")
    assert (site.folder / "out.csv").stat().st_mode & 0o077 == 0
    with closing(sqlite3.connect(site.folder / "journal.db")) as journal:
        (reveals,) = journal.execute("SELECT count(*) FROM records WHERE type = 'number.revealed'").fetchone()
    assert reveals == 1
    site("optout", "import", str(site.folder / "out.csv"), "--seller", "bank")
    assert site.json("optout", "list", "--seller", "bank")[0]["objected_on"] == "2026-01-31"
    out = ("--seller", "acme", "--out", str(site.folder / "out.csv"))
    assert "exists already" in site("optout", "export", *out, code=4)


def test_customers_are_exported_with_their_sale(site: Bmn) -> None:
    """Of every product group."""
    site("customer", "add", "0612345678", *SALE, "--evidence", "order 1")
    (row,) = exported(site, "customer", "customers.csv")
    assert (row["number"], row["product_group"], row["sold_on"]) == ("+31612345678", "energy-contract", "2026-01-05")
    assert (row["product"], row["evidence"], row["source"]) == ("Stroom", "order 1", "command")


def test_a_customer_import_ends_no_optout(site: Bmn) -> None:
    """Neither as a later record nor as a sale after the objection; the import says so."""
    imported(site, OPTOUTS)
    path = site.folder / "customers.csv"
    path.write_text("number,sold_on,product\n0612345678,2026-02-01,Stroom\n0612345600,2026-02-01,Stroom\n")
    where = ("--seller", "acme", "--product-group", "energy-contract")
    assert "opted out of acme, which this does not change: 1 number" in site("customer", "import", str(path), *where)
    assert "seller_optout" in site("screen", "0612345678", "--campaign", "energy", code=1)
    assert "exempt_customer" in site("screen", "0612345600", "--campaign", "energy")
    assert len(site.json("optout", "list", "--seller", "acme")) == 2
