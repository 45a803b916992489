"""Scrubs on a real Redis and a real journal: each reason, each way to break."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import redis

from agent.adapters import call_file, redis_keys, scrub_files
from agent.adapters.call_file import open_call_file
from agent.adapters.call_file_layout import LayoutOptions
from agent.adapters.draft_file import DraftFile
from agent.adapters.redis_bulk_lists import RedisBulkRun
from agent.adapters.scrub_files import ScrubFiles
from agent.bootstrap import Application, scrubbing
from agent.domain.deadline import Deadline
from agent.domain.errors import InputRejected, JournalUnavailable, LookupUnavailable, RegisterUnusable
from agent.domain.journal_events import Event, EventType
from agent.domain.model import Verdict
from agent.domain.phone_number import PhoneNumber
from agent.domain.profile import NL_BMNR
from agent.domain.seller_list_entries import Sale
from deploy.lab.redis_server import PrivateRedis
from tests.conftest import load_register, wired
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
ROOT = Path(__file__).parents[2]
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


def left_behind(folder: Path) -> list[str]:
    """Outputs and drafts."""
    return sorted(path.name for path in folder.iterdir() if path.name in OUTPUTS or path.name.endswith(".part"))


def scrubs_recorded(app: Application) -> int:
    """How many the journal knows of."""
    return len(list(app.journal.records(f"type = '{EventType.SCRUB_COMPLETED}'")))


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


@pytest.mark.parametrize("age", [None, 29])
def test_without_a_fresh_register_nothing_is_scrubbed(app: Application, tmp_path: Path, age: int | None) -> None:
    """All rows would be removed, for no fault of theirs."""
    if age is not None:
        load_register(app, REGISTERED, as_of=date.today() - timedelta(days=age))
    with pytest.raises(RegisterUnusable, match="no register is loaded" if age is None else "past its period"):
        scrub(app, tmp_path)
    assert left_behind(tmp_path) == []
    assert scrubs_recorded(app) == 0


def during(monkeypatch: pytest.MonkeyPatch, action: Callable[[int], None]) -> None:
    """Do something after each chunk's lookup began, with how many there were before."""
    ask, count = RedisBulkRun._ask, 0

    def interfered(self: RedisBulkRun, *arguments: Any) -> Any:
        nonlocal count
        found = ask(self, *arguments)
        action(count)
        count += 1
        return found

    monkeypatch.setattr(RedisBulkRun, "_ask", interfered)
    monkeypatch.setattr(call_file, "_BLOCK_BYTES", 60)


def test_a_register_that_is_replaced_meanwhile_starts_the_scrub_again(
    app: Application, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All rows rest on the new one, also those that had been written already."""
    load_register(app, REGISTERED)
    loaded = []

    def replace(count: int) -> None:
        if count == 2:
            loaded.append(load_register(app, "0612345999\n").generation.id)

    during(monkeypatch, replace)
    issued = scrub(app, tmp_path)
    assert issued["generation"] == loaded[0]
    assert (issued["reasons"]["registered"], issued["input"]["rows"]) == (2, 11)
    assert (tmp_path / "clean.csv").read_text().splitlines()[1:] == [
        "Jan;0612345678", "Ann;06-12345679", "Bob;+31 6 12345680", "Cor;0612345681", "Els;0612345777", "Fer;0612345666",
    ]  # fmt: skip


def test_a_register_that_is_replaced_again_and_again_ends_the_scrub(
    app: Application, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three times."""
    load_register(app, REGISTERED)

    def replace(count: int) -> None:
        load_register(app, REGISTERED)

    during(monkeypatch, replace)
    with pytest.raises(LookupUnavailable, match="replaced 3 times"):
        scrub(app, tmp_path)
    assert left_behind(tmp_path) == []


def test_an_objection_is_seen_by_the_next_chunk(
    app: Application, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Although its set was known not to exist a moment before."""
    load_register(app, REGISTERED)

    def object_to(count: int) -> None:
        if count == 0:
            app.seller_lists.add_optout("acme", PhoneNumber(digits="31612345666"), "letter", None)

    during(monkeypatch, object_to)
    scrub(app, tmp_path)
    assert removed_by_name(tmp_path)["Fer"] == "seller_optout"


def test_lists_that_lag_are_brought_forward_first(app: Application, tmp_path: Path, redis_url: str) -> None:
    """Redis forgot an objection and its mark; and lists of another journal are refused."""
    some_lists(app)
    with redis.Redis.from_url(redis_url) as client:
        client.delete(redis_keys.optout_set("3161234", "acme"))
        client.set(redis_keys.APPLIED, f"{app.journal.id}:0:")
        scrub(app, tmp_path)
        assert removed_by_name(tmp_path)["Els"] == "seller_optout"
        client.set(redis_keys.APPLIED, "other:0:")
    with pytest.raises(LookupUnavailable, match="another journal"):
        scrub(app, tmp_path, force=True)


def test_outputs_are_not_overwritten(app: Application, tmp_path: Path) -> None:
    """Unless by --force, and then never the input; no name twice."""
    load_register(app, REGISTERED)
    scrub(app, tmp_path)
    before = (tmp_path / "clean.csv").read_bytes()
    with pytest.raises(InputRejected, match="exists already"):
        scrub(app, tmp_path, "0612345999\n")
    assert (tmp_path / "clean.csv").read_bytes() == before
    scrub(app, tmp_path, "0612345999\n", force=True)
    assert (tmp_path / "clean.csv").read_bytes() == b"0612345999\n"
    calls, linked = tmp_path / "calls.csv", tmp_path / "linked.csv"
    linked.hardlink_to(calls)
    for clean, removed in ((calls, tmp_path / "r.csv"), (linked, tmp_path / "r.csv"), (tmp_path / "r.csv", linked)):
        outputs = ScrubFiles(calls, clean, removed, tmp_path / "c.json", force=True)
        with pytest.raises(InputRejected, match="the call file itself"), outputs.drafts():
            pass
    (tmp_path / ".r.csv.part").hardlink_to(calls)
    with pytest.raises(InputRejected, match="the call file itself"):
        ScrubFiles(calls, tmp_path / "r.csv", tmp_path / "s.csv", tmp_path / "c.json", force=True).drafts().__enter__()
    same = ScrubFiles(calls, tmp_path / "r.csv", tmp_path / "x" / ".." / "r.csv", tmp_path / "c.json", force=True)
    with pytest.raises(InputRejected, match="a name each"), same.drafts():
        pass


def test_two_scrubs_do_not_write_one_file(app: Application, tmp_path: Path) -> None:
    """The second is refused while the first is at it; a draft of somebody who was killed is taken over."""
    load_register(app, REGISTERED)
    (tmp_path / ".clean.csv.part").write_text("left behind by a scrub that was killed, and longer than what is to come")
    outputs = ScrubFiles(tmp_path / "in.csv", *(tmp_path / name for name in OUTPUTS), force=False)
    with outputs.drafts(), pytest.raises(InputRejected, match="another command is writing"):
        scrub(app, tmp_path)
    scrub(app, tmp_path, "0612345999\n")
    assert (tmp_path / "clean.csv").read_bytes() == b"0612345999\n"
    assert left_behind(tmp_path) == sorted(OUTPUTS)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("phone\n\n\n", "there is no row"),
        ("phone\nJan\nAnn\n", "no row of calls.csv has a number in that column"),
        ('phone\n0612345999\n"0612345678\n', "never closed"),
    ],
)
def test_a_file_without_numbers_is_refused(app: Application, tmp_path: Path, content: str, told: str) -> None:
    """Nothing is written and nothing recorded."""
    load_register(app, REGISTERED)
    with pytest.raises(InputRejected, match=told):
        scrub(app, tmp_path, content)
    assert left_behind(tmp_path) == []
    assert scrubs_recorded(app) == 0


class Killed(BaseException):
    """Stands for the end of the process: nothing may handle it."""


def test_an_interruption_anywhere_leaves_nothing_half(
    app: Application, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each write, sync, record and name: either nothing is there, or whole files and the certificate last."""
    load_register(app, REGISTERED)
    steps = 0

    def stop_at(step: int, patch: pytest.MonkeyPatch, owner: Any, name: str) -> None:
        real = getattr(owner, name)

        def counted(*arguments: Any, **options: Any) -> Any:
            nonlocal steps
            steps += 1
            if steps == step:
                raise Killed
            return real(*arguments, **options)

        patch.setattr(owner, name, counted)

    points: Sequence[tuple[Any, str]] = (
        (DraftFile, "write"), (DraftFile, "sealed"), (DraftFile, "publish"),
        (type(app.journal), "append"), (RedisBulkRun, "codes"), (scrub_files, "sync_folder"),
    )  # fmt: skip
    step, killed = 0, True
    while killed:
        step, steps, killed, before = step + 1, 0, False, scrubs_recorded(app)
        folder = tmp_path / str(step)
        folder.mkdir()
        with monkeypatch.context() as patch:
            for owner, name in points:
                stop_at(step, patch, owner, name)
            try:
                scrub(app, folder)
            except Killed:
                killed = True
        there = left_behind(folder)
        assert there in ([], sorted(OUTPUTS))
        assert not there or scrubs_recorded(app) == before + 1
    assert step > 8


def test_a_journal_that_cannot_be_written_leaves_nothing(
    app: Application, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No record, no files."""
    load_register(app, REGISTERED)

    def full(*_: object) -> None:
        raise JournalUnavailable("disk full")

    monkeypatch.setattr(app.journal, "append", full)
    with pytest.raises(JournalUnavailable):
        scrub(app, tmp_path)
    assert left_behind(tmp_path) == []


KILLED = """
import os, signal, sys
from pathlib import Path
from agent.adapters.draft_file import DraftFile
from tests.conftest import wired
from tests.integration.test_scrub import scrub

publish, folder, named = DraftFile.publish, Path(sys.argv[1]), int(sys.argv[3])

def kill(self, *, force):
    global named
    if named == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    named -= 1
    publish(self, force=force)

DraftFile.publish = kill
with wired(folder, sys.argv[2]) as app:
    scrub(app, folder)
"""


@pytest.mark.parametrize("named", [0, 1, 2])
def test_a_scrub_that_is_killed_can_be_made_again(app: Application, tmp_path: Path, named: int) -> None:
    """By SIGKILL after the record: the journal tells of it, whole files may be there, but no certificate."""
    load_register(app, REGISTERED)
    arguments = [sys.executable, "-c", KILLED, str(tmp_path), app.settings.redis.url, str(named)]
    assert subprocess.run(arguments, cwd=ROOT).returncode == -signal.SIGKILL
    assert scrubs_recorded(app) == 1
    drafts = [f".{name}.part" for name in OUTPUTS]
    assert left_behind(tmp_path) == sorted([*drafts, *OUTPUTS[:named]])
    scrub(app, tmp_path, force=named > 0)
    assert left_behind(tmp_path) == sorted(OUTPUTS)


def test_a_redis_that_stops_leaves_nothing(
    own_redis: PrivateRedis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In mid-run."""
    with wired(tmp_path, own_redis.url) as app:
        load_register(app, REGISTERED)
        during(monkeypatch, lambda _: own_redis.stop())
        with pytest.raises(LookupUnavailable):
            scrub(app, tmp_path)
    assert left_behind(tmp_path) == []


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
    certificate.write_text("{}")
    assert "no certificate" in site("scrub", "--check", str(certificate), code=4)
