"""`bmn log` as a process: what it finds, how it is printed, and how it follows."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import signal
import subprocess
from datetime import date
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from agent.bootstrap import bootstrap
from agent.config import load_settings
from agent.domain.deadline import Deadline
from agent.domain.model import DeliveryFailure
from agent.entrypoints import cli
from agent.entrypoints.cli import log_views
from agent.screening import ScreenRequest
from deploy.lab.agent_service import bmn
from tests.integration.test_cli import BMN, Bmn, site

__all__ = ["site"]


def test_the_log_is_filtered_and_printed_in_each_form(site: Bmn) -> None:
    """Masked unless revealed."""
    site.load()
    site("screen", "0612345678", "--campaign", "energy", "--agent", "kim", code=1)
    site("screen", "0612349999", "--campaign", "energy", "--agent", "lou")
    site("screen", "0612349999", "--campaign", "charity", "--agent", "lou")
    assert len(site("log", "--json").splitlines()) == 3
    (line,) = site("log", "--json", "--verdict", "block").splitlines()
    assert json.loads(line)["number"] == "+316*****678"
    assert len(site("log", "--json", "--agent", "lou", "--campaign", "charity").splitlines()) == 1
    assert site("log", "--json", "--reason", "register_stale") == ""
    assert len(site("log", "--json", "--limit", "2", "--since", "1h").splitlines()) == 2
    assert site("log", "--json", "--since", "2999-01-01") == ""
    rows = list(csv.DictReader(io.StringIO(site("log", "--csv", "--reveal"))))
    assert [row["number"] for row in rows] == ["+31612345678", "+31612349999", "+31612349999"]
    table = site("log")
    assert "12345678" not in table
    assert [line.split()[3] for line in table.splitlines()[1:]] == ["block", "allow", "allow"]
    assert "give a time like" in site("log", "--since", "yesterday", code=2)


def test_the_log_takes_times_as_people_write_them(site: Bmn) -> None:
    """Today, ago with and without a minus, and an end."""
    site("screen", "0612345678", "--campaign", "energy", code=1)
    for since in ("today", "-2h", "2h", str(date.today())):
        assert len(site("log", "--json", "--since", since).splitlines()) == 1
    assert site("log", "--json", "--until", "1h") == ""
    assert site("log", "--json", "--since", "2h", "--until", "1h") == ""
    assert len(site("log", "--json", "--until", "2999-01-01").splitlines()) == 1
    assert "--until does not go with it" in site("log", "--follow", "--until", "today", code=2)


def test_a_word_that_is_misspelt_gets_a_hint(site: Bmn) -> None:
    """Reasons, verdicts and types are words of a list; a campaign that nothing is recorded of may be one, too."""
    site("screen", "0612345678", "--campaign", "energy", code=1)
    assert "did you mean registered" in site("log", "--reason", "registred", code=2)
    assert "did you mean block?" in site("log", "--verdict", "blocked", code=2)
    assert "there is allow, block" in site("log", "--verdict", "x", code=2)
    assert "did you mean call.finished?" in site("log", "--type", "call.finish", code=2)
    assert "no campaign 'enrgy' is configured: did you mean energy?" in site("log", "--campaign", "enrgy")
    assert "nothing matches\n" in site("log", "--campaign", "energy", "--verdict", "allow")


def test_records_of_every_type_are_shown_and_none_with_a_number_in_full(site: Bmn) -> None:
    """Also where a number stands in a text that somebody typed."""
    site.load()
    site("optout", "add", "0612345678", "--seller", "acme", "--note", "also 0612349999")
    site("log", "--number", "0612345678", "--reveal")
    rows = [json.loads(line) for line in site("log", "--json", "--type", "all").splitlines()]
    assert [row["type"] for row in rows] == ["register.loaded", "optout.added", "number.revealed"]
    assert rows[1]["details"]["note"] == "also 061****999"
    assert rows[2]["details"]["filter"].startswith("number +316*****678")
    (line,) = site("log", "--json", "--type", "optout.added", "--type", "optout.removed").splitlines()
    assert json.loads(line) == rows[1]
    assert "optout.added" in site("log", "--type", "all")
    text = site("log", "--type", "all") + site("log", "--type", "all", "--csv")
    assert "12345678" not in text
    assert "12349999" not in text
    assert "leave --type out" in site("log", "--type", "all", "--verdict", "block", code=2)


def test_the_log_masks_numbers_in_names_and_in_every_spelling(site: Bmn) -> None:
    """A campaign or an agent may be one by mistake; a file may be called after one."""
    site.load()
    site("optout", "add", "0612345678", "--seller", "acme", "--note", "called 06 12 34 99 99 and 06-12345678")
    site("screen", "0612345678", "--campaign", "0687654321", "--agent", "0611112222", code=1)
    site("evidence", "0612345678", "--out", str(site.folder / "0612345678.html"))
    for form in ((), ("--csv",), ("--json",)):
        for types in ((), ("--type", "all")):
            text = site("log", *types, *form)
            assert "068****321" in text
            assert "061****222" in text
            for number in ("0687654321", "0611112222", "34 99 99", "12345678"):
                assert number not in text, (form, types)
    full = site("log", "--type", "all", "--reveal")
    assert "06 12 34 99 99" in full
    assert "0687654321" in full


def test_the_csv_of_the_log_has_nothing_that_a_spreadsheet_would_run(site: Bmn) -> None:
    """Neither what was dialled nor a campaign; a number stays one."""
    for dialled in ("0612345678", "=1+1*HYPER"):
        site("screen", dialled, "--campaign", "@energy", code=1)
    for options, number in (((), "+316*****678"), (("--reveal",), "+31612345678")):
        rows = list(csv.DictReader(io.StringIO(site("log", "--csv", *options))))
        assert rows[0]["number"] == number
        assert rows[1]["number"].startswith("'=1+")
        assert {row["campaign"] for row in rows} == {"'@energy"}


def test_a_reader_that_goes_away_is_no_error(site: Bmn) -> None:
    """As with head."""
    for _ in range(3):
        site("screen", "0612345678", "--campaign", "energy", code=1)
    piped = f"{BMN} log --csv | head -n 1"
    done = subprocess.run(
        ["bash", "-c", piped], env={**os.environ, **site.environment}, capture_output=True, text=True, check=True
    )
    assert (done.stdout[:3], done.stderr) == ("at,", "")


def test_the_log_has_colours_on_a_terminal_only(site: Bmn) -> None:
    """And none there either when NO_COLOR is set."""
    site("screen", "0612345678", "--campaign", "energy", code=1)
    assert "\x1b[31m" not in site("log")
    for no_color, coloured in (("", True), ("1", False)):
        terminal, end = pty.openpty()
        done = subprocess.run([BMN, "log"], env={**os.environ, **site.environment, "NO_COLOR": no_color}, stdout=end)
        assert done.returncode == 0
        os.close(end)
        assert (b"\x1b[31m" in os.read(terminal, 10_000)) is coloured
        os.close(terminal)


def test_following_goes_on_with_a_journal_that_takes_the_place_of_this_one(site: Bmn, tmp_path: Path) -> None:
    """Rotated, or restored from elsewhere: its records are shown from the first."""
    site("screen", "0612345678", "--campaign", "energy", "--agent", "before", code=1)
    other = tmp_path / "other"
    other.mkdir()
    follower = subprocess.Popen(
        [BMN, "log", "--follow", "--json"],
        env={**os.environ, **site.environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert follower.stdout is not None
    assert json.loads(follower.stdout.readline())["agent"] == "before"
    environment = {**site.environment, "BMN_JOURNAL": str(other / "journal.db")}
    bmn("screen", "0612345678", "--campaign", "energy", "--agent", "after", environment=environment, check=False)
    for name in ("journal.db-wal", "journal.db-shm"):
        (site.folder / name).unlink(missing_ok=True)
    (other / "journal.db.key").rename(site.folder / "journal.db.key")
    (other / "journal.db").rename(site.folder / "journal.db")
    assert json.loads(follower.stdout.readline())["agent"] == "after"
    follower.send_signal(signal.SIGINT)
    assert "replaced" in follower.communicate()[1]
    assert follower.returncode == 0


def test_what_was_dialled_is_shown_safely_and_never_endless(site: Bmn) -> None:
    """It may come from anywhere: no terminal obeys it, and no row is a page."""
    site("screen", "\x1b[31m" + "1" * 5_000, "--campaign", "\x1b[2Jenergy", code=1)
    table = site("log")
    assert "\x1b" not in table
    assert max(map(len, table.splitlines())) < 300


def test_one_number_and_one_call_can_be_looked_up(site: Bmn) -> None:
    """In any spelling of the number; by the call id that stands in the CDR; with what decided."""
    site.load()
    site("screen", "0612345678", "--campaign", "energy", code=1)
    site("screen", "0612349999", "--campaign", "energy")
    (line,) = site("log", "--json", "--number", "+31 6 12345678").splitlines()
    found = json.loads(line)
    assert (found["rule"], found["source"], found["notice"]) == ("register_entry_blocks", "command", "none")
    assert found["generation"] == site.json("register", "status")["in_force"]["generation"]
    assert site("log", "--json", "--call", found["call"]) == line + "\n"
    assert site("log", "--json", "--seller", "hart") == ""
    assert "exclude each other" in site("log", "--json", "--csv", code=2)


def test_following_the_log_shows_calls_as_they_happen(site: Bmn) -> None:
    """Until interrupted, which is no failure."""
    site.load()
    site("screen", "0612345678", "--campaign", "energy", "--agent", "before", code=1)
    follower = subprocess.Popen(
        [BMN, "log", "--follow", "--json"],
        env={**os.environ, **site.environment},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert follower.stdout is not None
    assert json.loads(follower.stdout.readline())["agent"] == "before"
    site("screen", "0612349999", "--campaign", "energy", "--agent", "after")
    assert json.loads(follower.stdout.readline())["agent"] == "after"
    follower.send_signal(signal.SIGINT)
    assert follower.communicate()[0] == ""
    assert follower.returncode == 0


def test_whoever_interrupts_while_a_line_is_shown_has_not_failed_either(
    site: Bmn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At whatever moment of following it comes."""
    site("screen", "0612345678", "--campaign", "energy", code=1)
    for name, value in site.environment.items():
        monkeypatch.setenv(name, value)
    show, shown = log_views.show_json, list[object]()

    def interrupted(*arguments: Any) -> None:
        shown.append(arguments)
        if len(shown) == 2:
            raise KeyboardInterrupt
        show(*arguments)

    monkeypatch.setattr(log_views, "show_json", interrupted)
    monkeypatch.setattr(import_module("agent.entrypoints.cli.log")._Log, "following", lambda log: log.records(1))
    done = CliRunner().invoke(cli.bmn, ["log", "--follow", "--json"])
    assert (done.exit_code, len(shown)) == (0, 2)


def test_a_verdict_that_was_not_confirmed_is_marked_beside_it(site: Bmn) -> None:
    """In each form; and whoever follows, and has seen the verdict, sees that it was not confirmed."""
    site.load()
    asked = ScreenRequest(number="0612349999", campaign="energy", agent="kim", source="fastagi")
    with bootstrap(load_settings({**os.environ, **site.environment})) as app:
        screened, _ = app.screening.screen(asked, Deadline.after_ms(5_000))
        with subprocess.Popen(
            [BMN, "log", "--follow", "--json"],
            env={**os.environ, **site.environment},
            stdout=subprocess.PIPE,
            text=True,
        ) as follower:
            assert follower.stdout is not None
            seen = [json.loads(follower.stdout.readline())]
            app.screening.undelivered(asked, screened, DeliveryFailure.TIMED_OUT)
            seen.append(json.loads(follower.stdout.readline()))
            follower.send_signal(signal.SIGINT)
    assert [(one["verdict"], one["reason"], one["undelivered"]) for one in seen] == [
        ("allow", "not_registered", None),
        ("allow", None, "timed_out"),
    ]
    assert {one["call"] for one in seen} == {screened.call_id}
    (line,) = site("log", "--json").splitlines()
    assert json.loads(line)["undelivered"] == "timed_out"
    (row,) = csv.DictReader(io.StringIO(site("log", "--csv")))
    assert (row["reason"], row["undelivered"]) == ("not_registered", "timed_out")
    assert "not confirmed by Asterisk: timed_out" in site("log")
    assert "not confirmed by Asterisk: timed_out" in site("log", "--since", "1h")
    assert "verdict.undelivered" in site("log", "--type", "all", "--call", screened.call_id)
