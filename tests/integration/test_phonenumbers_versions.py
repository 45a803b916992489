"""Another version of phonenumbers reads numbers otherwise: what was left out then, what is on record, who says so.

The other version is this one with a pattern and a version number changed, in processes of its own.
"""

from __future__ import annotations

import socket
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from agent import bootstrap
from agent.adapters.register_files import FileOptions, open_register_file
from agent.bootstrap import Application, register_loading
from agent.domain.journal_events import EventType
from agent.domain.phone_number import NUMBERING
from agent.domain.profile import NL_BMNR
from agent.register_deltas import DeltaOptions
from agent.register_loading import ImportOptions
from deploy.lab.agent_service import AgentService
from tests.integration.test_cli import Bmn

OTHER_VERSION = """
import phonenumbers

phonenumbers.__version__ = "8.0.0"
mobile = phonenumbers.PhoneMetadata.metadata_for_region("NL").mobile
known = mobile.national_number_pattern
object.__setattr__(mobile, "national_number_pattern", known.replace("6[1-58]", "6[1-48]"))
assert mobile.national_number_pattern != known
"""
"""Mobile numbers that begin with 065 are none in it. Python runs this as it starts."""
NUMBER = "0651234567"
E164 = "+31651234567"
LEFT_OUT = f"1 line was left out when it was read with phonenumbers 8.0.0, and {NUMBERING} may read them"


class Site(Bmn):
    """Commands of one site, with this version of phonenumbers or the other one."""

    def __init__(self, folder: Path, redis_url: str) -> None:
        super().__init__(folder, redis_url)
        self.environment |= {"BMN_REGISTER__MAX_REJECTED_PERCENT": "50", "BMN_AGI_LISTEN": "127.0.0.1:1"}
        (folder / "other").mkdir()
        (folder / "other" / "sitecustomize.py").write_text(OTHER_VERSION)
        self._other = {"PYTHONPATH": str(folder / "other")}

    def with_other(self) -> None:
        """From now on with the other version."""
        self.environment |= self._other

    def with_this(self) -> None:
        """From now on with this version."""
        self.environment.pop("PYTHONPATH", None)

    def found_by_doctor(self, check: str) -> list[dict[str, Any]]:
        """What is not well."""
        found = self.json("doctor", code=1)
        return [item for item in found if item["check"] == check and item["state"] != "ok"]


@pytest.fixture
def site(tmp_path: Path, redis_url: str) -> Site:
    """A site."""
    return Site(tmp_path, redis_url)


def test_a_line_that_the_version_of_the_import_could_not_read_is_asked_for_again(site: Site) -> None:
    """Blocked as invalid by the version that left it out, and allowed by the one that can read it.

    Doctor and status say so, and the same file is not the same load.
    """
    site.with_other()
    site.load(f"0612345678\n{NUMBER}\n")
    assert "invalid_number" in site("screen", NUMBER, "--campaign", "energy", code=1)
    assert site.json("register", "status")["problems"] == []
    site.with_this()
    assert "not_registered" in site("screen", NUMBER, "--campaign", "energy")
    status = site.json("register", "status")
    assert (status["read_with"], status["phonenumbers"]) == (["8.0.0"], NUMBERING)
    assert status["problems"] == [f"{LEFT_OUT}: import the file again"]
    assert f"warning: {LEFT_OUT}" in site("register", "status")
    (finding,) = site.found_by_doctor("register")
    assert finding["state"] == "warning"
    assert LEFT_OUT in finding["what"]
    assert "bmn register import" in finding["todo"]
    assert "in force: " in site.load(f"0612345678\n{NUMBER}\n")
    assert "registered" in site("screen", NUMBER, "--campaign", "energy", code=1)
    status = site.json("register", "status")
    assert (status["read_with"], status["problems"]) == ([NUMBERING], [])
    assert site.found_by_doctor("register") == []
    assert "in force already" in site.load(f"0612345678\n{NUMBER}\n")


def test_a_rebuild_reads_such_a_load_again_and_no_other(site: Site) -> None:
    """When Redis has all of it, it is read again only for lines that were left out."""
    site.with_other()
    site.load("0612345678\n")
    site.with_this()
    assert site.json("rebuild")["reloaded"] is False
    site.with_other()
    site.load(f"0612345678\n{NUMBER}\n0612345679\n")
    site.with_this()
    rebuilt = site.json("rebuild")
    assert (rebuilt["reloaded"], rebuilt["problems"]) == (True, [])
    assert "registered" in site("screen", NUMBER, "--campaign", "energy", code=1)
    assert site.json("rebuild")["reloaded"] is False


def test_what_is_on_record_is_found_when_the_number_is_valid_no_more(site: Site) -> None:
    """An objection goes on to be listed, explained and proved, and can be taken back; the number is blocked anyway."""
    site.load("0612345678\n")
    site("optout", "add", NUMBER, "--seller", "acme")
    site.with_other()
    (entry,) = site.json("optout", "list", "--seller", "acme")
    assert entry["number"] == "+316*****567"
    assert "invalid_number" in site("screen", NUMBER, "--campaign", "energy", code=1)
    told = site.json("explain", NUMBER, "--campaign", "energy")
    assert [item["seller"] for item in told["optouts"]] == ["acme"]
    assert [item["reason"] for item in told["campaigns"]] == ["invalid_number"]
    assert site("log", "--number", NUMBER, "--type", "optout.added")
    site("evidence", NUMBER, "--out", str(site.folder / "dossier.json"))
    assert E164 in (site.folder / "dossier.json").read_text()
    assert "not a valid complete number" in site("explain", "0651234568", code=4)
    assert "not a valid complete number" in site("optout", "add", NUMBER, "--seller", "bank", code=4)
    site("optout", "remove", NUMBER, "--seller", "acme", "--reason", "asked for calls")
    assert site.json("optout", "list", "--seller", "acme") == []


def test_a_service_that_reads_with_another_version_than_the_commands_is_to_be_restarted(site: Site) -> None:
    """It goes on with what it was started with, whatever was installed since."""
    site.load("0612345678\n")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        site.environment["BMN_AGI_LISTEN"] = f"127.0.0.1:{probe.getsockname()[1]}"
    site.with_other()
    with AgentService(site.folder, site.environment) as service:
        site.with_this()
        told = [item["what"] for item in site.found_by_doctor("service")]
        assert told == [f"reads numbers with phonenumbers 8.0.0, and the commands with {NUMBERING}"]
        service.stop()
        service.environment.pop("PYTHONPATH")
        service.start()
        assert site.found_by_doctor("service") == []


def test_changes_on_a_load_that_another_version_read_are_of_both(
    app: Application, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What was left out of the whole load is left out of what is made of it."""
    whole, changes = tmp_path / "whole.csv", tmp_path / "changes.csv"
    whole.write_text("0612345678\n" * 2_000 + "061\n")
    changes.write_text("+0612345679\n")
    options = ImportOptions(as_of=date(2026, 1, 1))
    with monkeypatch.context() as earlier:
        earlier.setattr(bootstrap, "NUMBERING", "8.0.0")
        register_loading(app).import_files(NL_BMNR, [open_register_file(whole)], options, lambda *_: None)
        base = app.registers.status(NL_BMNR).current
    assert base is not None
    file = open_register_file(changes, FileOptions(changes=True))
    register_loading(app).apply_delta(
        NL_BMNR, file, DeltaOptions(as_of=date(2026, 1, 2), base=base.id), lambda *_: None
    )
    status = app.registers.status(NL_BMNR)
    assert (status.read_with, status.problems) == (("8.0.0", NUMBERING), (f"{LEFT_OUT}: import the file again",))
    loads = list(app.journal.records(f"type = '{EventType.REGISTER_LOADED}'"))
    assert [record.body["left_out"] for record in loads] == [{"not a number of region NL": 1}, {}]
