"""Threads of ``bmn serve`` that work beside the calls: they outlive what they meet, and keep nobody from the end."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.agi.test_metrics_page import MeasuredSite
from tests.agi.test_service_life import stopped
from tests.waiting import until

WAIT_S = 20.0

NASTY = """
from agent.entrypoints import cli, service
from agent.list_audit import ListAudit
class Nasty(Exception):
    def __str__(self):
        raise RuntimeError("not even its text can be had")
step, failures = ListAudit.step, iter(range(2))
def fail(self):
    if next(failures, None) is not None:
        raise Nasty
    open({out!r}, "w").close()
    return step(self)
ListAudit.step = fail
cli.main()
"""


def test_what_looks_at_the_lists_outlives_what_its_own_handlers_raise(tmp_path: Path, redis_url: str) -> None:
    """An error whose text is an error ended the thread, and nobody noticed any more what Redis lost."""
    out = tmp_path / "goes on"
    site = MeasuredSite(tmp_path, redis_url)
    site.agent.program = [sys.executable, "-c", NASTY.format(out=str(out)), "serve"]
    with site.agent:
        until(out.exists, WAIT_S)
        assert site.agent.log("thread.failed")


HANGING = """
from threading import Event
from agent.entrypoints import cli, time_limits
from agent.{module} import {name}
time_limits.JOIN_S, time_limits.LAST_RESORT_S = 0.2, {last_resort_s}
def hang(self, *arguments):
    open({out!r}, "w").close()
    Event().wait()
{name}.{method} = hang
cli.main()
"""


@pytest.mark.parametrize(
    ("module", "name", "method", "thread"),
    [("outbox", "Outbox", "drain", "outbox"), ("list_audit", "ListAudit", "step", "list-keeper")],
)
def test_what_hangs_beside_the_calls_does_not_keep_a_service_from_its_records(
    tmp_path: Path, redis_url: str, module: str, name: str, method: str, thread: str
) -> None:
    """It is waited for a little; then the end is recorded without it, and the log says so."""
    site = MeasuredSite(tmp_path, redis_url)
    out = tmp_path / "hangs"
    code = HANGING.format(module=module, name=name, method=method, last_resort_s=60, out=str(out))
    site.agent.program = [sys.executable, "-c", code, "serve"]
    with site.agent:
        until(out.exists, WAIT_S)
        assert site.agent.stop() == 0
    assert stopped(site) == [(True, "SIGTERM")]
    assert [(line["thread"], line["why"]) for line in site.agent.log("thread.failed")] == [(thread, "it did not end")]


def test_a_service_that_hangs_after_its_records_ends_all_the_same(tmp_path: Path, redis_url: str) -> None:
    """In bounded time, with the exit code of one that was not clean, and a line that says so."""
    site = MeasuredSite(tmp_path, redis_url, BMN_AGI__SHUTDOWN_GRACE_MS="100")
    code = HANGING.format(
        module="state_metrics", name="StateCollector", method="close", last_resort_s=0.5, out="/dev/null"
    )
    site.agent.program = [sys.executable, "-c", code, "serve"]
    with site.agent:
        assert site.agent.stop() == 1
    assert stopped(site) == [(True, "SIGTERM")]
    assert "it hung after its end was recorded" in site.agent.log("agent.stopped")[-1]["failure"]
