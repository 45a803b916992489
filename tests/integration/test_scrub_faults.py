"""Scrubs that are refused, disturbed, interrupted or killed: whole files or none, and the journal knows first."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis

from agent.adapters import call_file, redis_keys, scrub_files
from agent.adapters.draft_file import DraftFile
from agent.adapters.redis_bulk_lists import RedisBulkRun
from agent.adapters.scrub_files import ScrubFiles
from agent.bootstrap import Application
from agent.domain.errors import InputRejected, JournalUnavailable, LookupUnavailable, RegisterUnusable
from agent.domain.journal_events import EventType
from agent.domain.phone_number import PhoneNumber
from agent.domain.profile import NL_BMNR
from deploy.lab.redis_server import PrivateRedis
from tests.conftest import load_register, wired
from tests.integration.test_screening import REGISTERED
from tests.integration.test_scrub import OUTPUTS, removed_by_name, scrub, some_lists

ROOT = Path(__file__).parents[2]


def left_behind(folder: Path) -> list[str]:
    """Outputs and drafts."""
    return sorted(path.name for path in folder.iterdir() if path.name in OUTPUTS or path.name.endswith(".part"))


def scrubs_recorded(app: Application) -> int:
    """How many the journal knows of."""
    return len(list(app.journal.records(f"type = '{EventType.SCRUB_COMPLETED}'")))


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


def test_a_load_that_was_left_after_the_last_row_is_not_certified(
    app: Application, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rolled back from while the files go to the disk: a scrub rests on what is in force when it is recorded."""
    good = load_register(app, REGISTERED).generation.id
    load_register(app, "0612345999\n")
    sealed = DraftFile.sealed
    left: list[object] = []

    def roll_back(self: DraftFile) -> Any:
        if not left:
            left.append(app.registers.rollback(NL_BMNR))
        return sealed(self)

    monkeypatch.setattr(DraftFile, "sealed", roll_back)
    issued = scrub(app, tmp_path)
    assert issued["generation"] == good
    assert issued["reasons"]["registered"] > 0
    assert scrubs_recorded(app) == 1


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


def test_a_redis_that_forgets_within_a_chunk_is_not_believed(
    app: Application, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A replica that lagged took over, or it came back empty: opt-outs may have been missed, so it is asked again."""
    app.seller_lists.add_optout("acme", PhoneNumber(digits="31612345777"), "letter", None)
    ask, asked = RedisBulkRun._ask, 0

    def forgetful(self: Any, *arguments: Any) -> Any:
        nonlocal asked
        asked += 1
        if asked > 1:
            return ask(self, *arguments)
        with app.redis.commands() as client:
            client.flushall()
        return ask(self, *arguments)

    monkeypatch.setattr(RedisBulkRun, "_ask", forgetful)
    scrub(app, tmp_path, "phone\n0612345777\n0612345678\n", campaign="survey")
    assert (tmp_path / "clean.csv").read_text() == "phone\n0612345678\n"
    assert asked > 1
