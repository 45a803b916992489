"""``bmn register`` as an operator uses it: check, load, change, and see what was left out."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

from tests.integration.test_cli import Bmn

TODAY = str(date.today())
MANY = "".join(f"06{12345000 + step}\n" for step in range(2_000))


@pytest.fixture
def site(tmp_path: Path, redis_url: str) -> Bmn:
    """A site with an empty Redis."""
    return Bmn(tmp_path, redis_url)


def test_a_file_can_be_checked_first(site: Bmn) -> None:
    """Nothing is loaded; a wrong one ends with 4."""
    assert "sound: 2,000 numbers in 2,000 lines; nothing was loaded" in site.load(MANY, "--verify")
    assert site.json("register", "status", code=1)["in_force"] is None
    assert "1 of 2 lines is wrong" in site.load("0612345678\n06123\n", "--verify", code=4)


def test_what_was_left_out_is_told_and_written(site: Bmn) -> None:
    """At the load, in the file, and by status from then on."""
    rejects = site.folder / "rejects.csv"
    told = site.load(MANY + "06123\n", "--rejects", str(rejects))
    assert "left out 1 line" in told
    assert "register.csv, line 2001: not a number of region NL" in told
    assert rejects.read_text().splitlines() == ["file,line,reason", "register.csv,2001,not a number of region NL"]
    found = site.json("register", "status")
    assert found["rejected"] == 1
    assert found["memory_bytes"][found["in_force"]["generation"]] > 1_000
    assert "left out when it was loaded" in site("register", "status")


def test_changes_are_loaded_on_the_load_in_force(site: Bmn) -> None:
    """By its name; a second time is refused."""
    path = site.folder / "register.csv"
    path.write_text(MANY)
    site("register", "import", str(path), "--as-of", "2020-01-01")
    base = site.json("register", "status", code=1)["in_force"]["generation"]
    changes = site.folder / "changes.csv"
    changes.write_text("+0687654321,energy\n-0612345000\n-0687654399\n-0687654321\n")
    arguments = ("register", "delta", str(changes), "--as-of", TODAY, "--base", base)
    loaded = site.json(*arguments)
    assert (loaded["counts"], loaded["absent"]) == ({"all": 1_999, "energy": 1}, 2)
    assert "these changes build on" in site(*arguments, code=4)
    assert "register delta" in site.load("-0612345678\n", code=4)


def test_a_register_can_come_from_standard_input(site: Bmn) -> None:
    """Packed, too, as from curl."""
    arguments = ["register", "import", "-", "--as-of", TODAY, "--json"]
    code = "import sys; from agent.entrypoints.cli import main; sys.argv[0] = 'bmn'; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], input=MANY, env=site.environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["count"] == 2_000


def test_going_back_to_a_load_past_its_period_is_told(site: Bmn) -> None:
    """From then on every call that needs it is blocked."""
    path = site.folder / "register.csv"
    path.write_text(MANY)
    site("register", "import", str(path), "--as-of", "2020-01-01")
    site.load(MANY + "0687654321\n")
    assert "past its period" in site("register", "rollback")
