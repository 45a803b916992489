"""How ``bmn serve`` ends when something that it needs for that, or for its records, cannot be had any more."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from tests.agi.test_metrics_page import MeasuredSite
from tests.agi.test_service_life import stopped
from tests.waiting import until

WAIT_S = 30.0

NO_MORE_THREADS = """
import threading
from agent.entrypoints import cli
from agent.entrypoints.service import Service
wind_up, start = Service._wind_up, threading.Thread.start
def refuse(self):
    raise RuntimeError("can't start new thread")
def last(self, *arguments):
    threading.Thread.start = refuse
    return wind_up(self, *arguments)
Service._wind_up = last
cli.main()
"""
WRITER_DIES = """
from agent.adapters.journal_writer import JournalWriter
from agent.entrypoints import cli
take = JournalWriter._next
def fail(self, **named):
    batch = take(self, **named)
    if any(event.type == "call.screened" for entry in batch[0] for event in entry.events):
        raise MemoryError
    return batch
JournalWriter._next = fail
cli.main()
"""


@pytest.fixture
def site(tmp_path: Path, redis_url: str) -> MeasuredSite:
    """A site with a register; its service is not started yet."""
    site = MeasuredSite(tmp_path, redis_url)
    site.load("0612345678\n")
    return site


def test_a_service_that_can_start_no_thread_any_more_ends_with_its_records(site: MeasuredSite) -> None:
    """Whoever stops it may do so because of that."""
    site.agent.program = [sys.executable, "-c", NO_MORE_THREADS, "serve"]
    with site.agent:
        site.agent.send(signal.SIGTERM)
        assert site.agent.ended() == 0
    assert stopped(site) == [(True, "SIGTERM")]


def test_a_service_whose_journal_has_no_writer_any_more_ends_to_be_started(site: MeasuredSite) -> None:
    """It would block every call for ever, alive to whoever looks at it."""
    site.agent.program = [sys.executable, "-c", WRITER_DIES, "serve"]
    with site.agent:
        assert site.screen("0612349999", "energy", "agent-7")["BMN_VERDICT"] == "block"
        assert site.agent.ended(WAIT_S) == 5
    (line,) = until(lambda: site.agent.logged("agent.stopping"))
    assert "writer" in line["why"]
