"""The end of a call that was reported while it could not even be looked up: it is kept, and recorded when it can be."""

from __future__ import annotations

import resource
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agi.fake_asterisk import FakeAsterisk
from tests.agi.open_connections import spare_descriptors
from tests.agi.test_choice_scripts import a_call
from tests.agi.test_promised_records import end, ends
from tests.agi.test_screen_script import Site
from tests.waiting import until

NO_THREAD = """
from agent.entrypoints import cli, worker_pool
def refuse(self, work):
    raise RuntimeError("can't start new thread")
worker_pool.WorkerPool.run_beside = refuse
cli.main()
"""


@pytest.fixture
def site(tmp_path: Path, redis_url: str) -> Iterator[Site]:
    """A site with a register that holds none of our numbers; its service is not started yet."""
    site = Site(tmp_path, redis_url)
    site.load("0611111111\n")
    yield site
    site.agent.kill()


def test_an_end_survives_that_no_descriptor_is_left_to_read_the_journal(site: Site) -> None:
    """There was one for the connection, and none for the journal; what was reported is recorded afterwards."""
    with site.agent:
        call_id = a_call(site)
        before = spare_descriptors(site.agent.pid, 1)
        end(site, call_id)
        (line,) = until(lambda: site.agent.logged("call.finished"))
        assert "unable to open" in line["failure"]
        assert ends(site) == []
        resource.prlimit(site.agent.pid, resource.RLIMIT_NOFILE, before)
        until(lambda: ends(site))
        until(lambda: site.records("type = 'notice.played'"))
    assert [(one["call"], one["ended_by"]) for one in ends(site)] == [(call_id, "consumer")]


def test_a_service_that_stops_records_an_end_that_could_not_be_looked_up(site: Site) -> None:
    """As with all that it has accepted."""
    with site.agent:
        call_id = a_call(site)
        before = spare_descriptors(site.agent.pid, 1)
        end(site, call_id)
        until(lambda: site.agent.logged("call.finished"))
        site.agent.send(signal.SIGTERM)
        until(lambda: site.agent.logged("agent.stopping"))
        resource.prlimit(site.agent.pid, resource.RLIMIT_NOFILE, before)
        assert site.agent.ended() == 0
    assert [one["call"] for one in ends(site)] == [call_id]


def test_an_end_survives_that_no_thread_can_be_had(site: Site) -> None:
    """Or that too many dialogues are open: no session of its own is needed to accept it."""
    site.agent.program = [sys.executable, "-c", NO_THREAD, "serve"]
    with site.agent:
        call_id, other = a_call(site), a_call(site, "0612348888")
        end(site, call_id)
        until(lambda: ends(site))
        with FakeAsterisk.call(site.address, "finish", other, "ANSWER", "31", "16", "2", "") as asterisk:
            asterisk.expect_end()
        with FakeAsterisk.call(site.address, "left", other, "consumer", "1795465754.8") as asterisk:
            asterisk.expect_end()
        until(lambda: len(site.records("type = 'notice.played'")) == 2)
        assert site.agent.stop() == 0
    assert [one["call"] for one in ends(site)] == [call_id, other]
    played = site.records("type = 'notice.played'")
    assert [(one["call"], one["ended"]) for one in played] == [(call_id, "consumer_left"), (other, "consumer_left")]
