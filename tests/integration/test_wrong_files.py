"""Wrong files of every kind, given to every command that reads one: exit code 4, one sentence, and nothing changed."""

from __future__ import annotations

import gzip
import io
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest

from agent.bootstrap import now_utc
from agent.domain.profile import NL_BMNR
from tests.integration.test_cli import Bmn

NUMBERS = "".join(f"06{12345000 + step}\n" for step in range(50))
TODAY = str(NL_BMNR.local_date(now_utc()))


def office() -> bytes:
    """A spreadsheet, as far as anybody looks."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr("xl/workbook.xml", "<workbook/>")
    return packed.getvalue()


WRONG = {
    "binary": (bytes(range(256)) * 20, "not text|no text"),
    "empty": (b"", "is empty|no row|header must be"),
    "truncated": (gzip.compress(NUMBERS.encode())[:-12], "cut off or damaged|is packed"),
    "office": (office(), "Office document: save it as CSV"),
    "utf-16": (NUMBERS.encode("utf-16-le") + b"x", "UTF-16|utf-16-le|header must be"),
    "no-numbers": (b"name,place\nJan,Ede\nPiet,Urk\n", "are wrong|no column|header must|not a list of changes"),
    "unending": (b"1" * 3_000_000, "longer than"),
}

COMMANDS = {
    "import": ("register", "import", "FILE", "--as-of", TODAY),
    "delta": ("register", "delta", "FILE", "--as-of", TODAY, "--base", "BASE"),
    "scrub": (
        *("scrub", "FILE", "--campaign", "energy", "--out", "OUT/clean.csv"),
        *("--removed", "OUT/removed.csv", "--certificate", "OUT/certificate.json"),
    ),
    "optouts": ("optout", "import", "FILE", "--seller", "acme"),
    "customers": ("customer", "import", "FILE", "--seller", "acme", "--product-group", "energy-contract"),
    "answers": ("registrations", "acknowledge", "FILE"),
}


def state(site: Bmn) -> Any:
    """What no rejected file may change."""
    status = site.json("register", "status", code=1)
    lists = [site.json(kind, "list", "--seller", "acme") for kind in ("optout", "customer")]
    return status["in_force"], status["kept"], lists


@pytest.mark.parametrize("command", COMMANDS)
def test_a_wrong_file_changes_nothing(tmp_path: Path, redis_url: str, command: str) -> None:
    """And is told in one sentence that shows no number."""
    site = Bmn(tmp_path, redis_url)
    register, out = tmp_path / "register.csv", tmp_path / "out"
    register.write_text(NUMBERS)
    site("register", "import", str(register), "--as-of", "2020-01-01")
    out.mkdir()
    before = state(site)
    for name, (content, sentence) in {**WRONG, "missing": (None, "cannot be read"), "folder": (None, "")}.items():
        path = tmp_path / f"{name}.csv"
        if content is not None:
            path.write_bytes(content)
        elif name == "folder":
            path.mkdir()
        places = {"FILE": str(path), "BASE": before[0]["generation"]}
        arguments = [places.get(item, item.replace("OUT/", f"{out}/")) for item in COMMANDS[command]]
        told = site(*arguments, code=4)
        first, *problems = told.splitlines()
        assert re.fullmatch(rf"bmn: .*({sentence}).*", first), (name, told)
        assert all(line.startswith("  ") for line in problems), (name, told)
        assert not re.search("[0-9]{6}", told), (name, told)
        assert list(out.iterdir()) == [], name
    assert state(site) == before


def test_a_misread_column_is_told_without_what_it_holds(tmp_path: Path, redis_url: str) -> None:
    """It may be a telephone number."""
    site = Bmn(tmp_path, redis_url)
    told = site.load("1,Jan,0612345678\n2,Piet,0612345679\n", code=4)
    assert "unknown word 'jan,##########'" in told
    assert not re.search("[0-9]{3}", told)
