"""What each AGI script may leave behind, whatever happened in its session: at Asterisk, and in the journal."""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent import dialplan_names as names
from agent.domain.model import DeliveryFailure
from tests.agi.fault_table import ENVIRONMENT, Session


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One fault at one step of one script, and what became of it."""

    step: int
    uniqueid: str
    call: str
    session: Session


Records = dict[tuple[str, str], list[dict[str, Any]]]
"""The bodies of the journal's records by type and call, and by type and channel."""


def read_journal(path: Path) -> Records:
    """All of it."""
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT type, body FROM records ORDER BY seq").fetchall()
    journal: Records = defaultdict(list)
    for kind, text in rows:
        body = json.loads(text)
        for key in {body.get("call"), body.get("uniqueid")}:
            journal[kind, key].append(body)
    return journal


def screened(journal: Records, cell: Cell) -> None:
    """A dialled number was allowed in this session, and the journal knows which verdicts Asterisk got."""
    line = cell.session.line
    verdicts = journal["call.screened", cell.uniqueid]
    assert len(verdicts) <= 1
    assert verdicts or cell.step == ENVIRONMENT
    held, confirmed = line.fake.variables.get(names.BMN_CALL), line.confirmed.get(names.BMN_CALL)
    if line.dials:
        assert [(one["verdict"], one["call"], one["number"]) for one in verdicts] == [("allow", held, line.dials)]
    for verdict in verdicts:
        undelivered = [DeliveryFailure(one["why"]) for one in journal["verdict.undelivered", verdict["call"]]]
        if verdict["reason"] == "undelivered":
            assert (held, undelivered) == (None, [])
        elif not undelivered:
            assert (confirmed, line.dead) == (verdict["call"], False)
        else:
            (why,) = undelivered
            assert why.may_have_arrived or held != verdict["call"] or (why is DeliveryFailure.HUNG_UP and line.dead)
    assert not held or held in [one["call"] for one in verdicts]


def pressed(journal: Records, cell: Cell) -> None:
    """``recorded`` is said of what is on disk only, once."""
    choices = journal["choice.recorded", cell.call]
    assert len(choices) <= 1
    assert choices or cell.session.line.fake.variables.get(names.BMN_KEY_RESULT) != "recorded"


def conducted(journal: Records, cell: Cell) -> None:
    """One record of the notice, which says what the dialplan was told; and every choice that it was told of."""
    told = cell.session.line.fake.variables
    played = journal["notice.played", cell.call]
    assert len(played) <= 1
    assert played or cell.step == ENVIRONMENT
    if not any(command.startswith("STREAM FILE bmn/notice-") for command in cell.session.commands):
        assert {one["result"] for one in played} <= {"not_played"}
    if told.get(names.BMN_NOTICE_RESULT, "not_played") != "not_played":
        assert [one["result"] for one in played] == [told[names.BMN_NOTICE_RESULT]]
    if told.get(names.BMN_CHOICE, "none") != "none":
        assert journal["choice.recorded", cell.call]


def finished(journal: Records, cell: Cell) -> None:
    """Once at most."""
    ends = journal["call.finished", cell.call]
    assert len(ends) <= 1
    assert ends or cell.step == ENVIRONMENT


def left(journal: Records, cell: Cell) -> None:
    """That the notice was not played, once."""
    played = journal["notice.played", cell.call]
    assert [one["result"] for one in played] in ([], ["not_played"])
    assert played or cell.step == ENVIRONMENT


def healthy(journal: Records, cell: Cell) -> None:
    """One of two words, or none."""
    assert cell.session.line.fake.variables.get(names.BMN_HEALTH, "ok") in ("ok", "degraded")


RULES: dict[str, Callable[[Records, Cell], None]] = {
    names.SCRIPT_SCREEN: screened,
    names.SCRIPT_NOTICE: conducted,
    names.SCRIPT_KEY: pressed,
    names.SCRIPT_FINISH: finished,
    names.SCRIPT_LEFT: left,
    names.SCRIPT_HEALTH: healthy,
}
