"""A notice whose session breaks: what is on record says how far it can have come, and the session is counted."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from agent import dialplan_names as names
from tests.agi.fake_asterisk import environment
from tests.agi.fault_table import FAULTS, Line, run
from tests.agi.test_screen_script import Site
from tests.waiting import until

LANGUAGE, NOTICE = 1, 2
"""The commands of a line without RTP: the variables, the language, the notice."""


def test_how_far_a_notice_came_is_told_from_where_its_session_broke(
    tmp_path: Path, redis_url: str, prompts: Path, subtests: pytest.Subtests
) -> None:
    """Nothing was played before it was asked for, nor where Asterisk refused it; of the rest nobody knows."""
    site = Site(tmp_path, redis_url, BMN_SOUNDS__PATH=str(prompts), BMN_AGI__READ_TIMEOUT_MS="300")
    cells = (
        ("garbage", LANGUAGE, "not_played", "line_lost", "protocol: a line came that is no answer"),
        ("stall", LANGUAGE, "not_played", "line_lost", "time-out"),
        ("close", LANGUAGE, "not_played", "hung_up", None),
        ("510", NOTICE, "not_played", "line_lost", "protocol: Asterisk refused the command (510)"),
        ("garbage", NOTICE, "partial", "line_lost", "protocol: a line came that is no answer"),
    )
    with site.agent:
        site.load("0611111111\n")
        for serial, (fault, step, result, ended, why) in enumerate(cells):
            with subtests.test(f"{fault} {step}"):
                call = site.screen(f"06123499{serial:02d}", "energy", "agent-7")[names.BMN_CALL]
                aborted = len(site.agent.log("session.aborted"))
                line = Line.connect(site.address, environment(names.SCRIPT_NOTICE, call))
                run(line, next(one for one in FAULTS if one.name == fault), step)
                (played,) = until(partial(site.records, f"type = 'notice.played' AND call = '{call}'"))
                assert (played["result"], played["ended"]) == (result, ended)
                if why is not None:
                    said = until(partial(lines_after, site, aborted))
                    assert [(one["why"], one["script"]) for one in said] == [(why, "notice")]


def lines_after(site: Site, count: int) -> list[Any]:
    """What was logged of sessions that broke off, after so many lines."""
    return site.agent.log("session.aborted")[count:]
