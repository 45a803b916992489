"""An allowed peer that opens many sessions and does not go through with them: no call of others waits for it."""

from __future__ import annotations

import socket
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.agi.open_connections import spare_descriptors
from tests.agi.test_screen_script import Site
from tests.bench.screening_beside_slow_peers import HALF, WHOLE, slow_peers
from tests.waiting import until

PER_SECOND = 150
CALLS = 60


@pytest.mark.parametrize("text", [HALF, WHOLE], ids=["half a request", "a whole one whose answer is not confirmed"])
def test_sessions_that_go_no_further_starve_no_call(tmp_path: Path, redis_url: str, text: str) -> None:
    """150 a second, each open for two seconds: every call is decided by the rules, none is overdue."""
    site = Site(tmp_path, redis_url)
    site.load("0612345678\n")
    with site.agent, slow_peers(site.address, text, PER_SECOND):
        until(lambda: site.agent.logged("session.aborted"), 20)
        with ThreadPoolExecutor(2) as lines:
            verdicts = lines.map(lambda _: site.screen("0612349999", "energy", "agent-7"), range(CALLS))
            assert Counter(verdict["BMN_REASON"] for verdict in verdicts) == {"not_registered": CALLS}


def test_half_requests_that_take_every_descriptor_starve_no_call(tmp_path: Path, redis_url: str) -> None:
    """There are fewer than connections that may be incomplete: the oldest go, and the rules decide about the call."""
    site = Site(tmp_path, redis_url)
    site.load("0612345678\n")
    site.agent.program = ["sh", "-c", f"ulimit -n 100 && exec {' '.join(site.agent.program)}"]
    with site.agent, ExitStack() as opened:
        for _ in range(400):
            half = opened.enter_context(socket.create_connection(site.address))
            half.sendall(b"agi_network: yes\n")
        assert site.screen("0612349999", "energy", "agent-7")["BMN_REASON"] == "not_registered"


def test_half_requests_make_room_for_a_call_when_no_descriptor_is_left(tmp_path: Path, redis_url: str) -> None:
    """Whoever has taken the others: it is answered, if not by the rules, within its time."""
    site = Site(tmp_path, redis_url)
    site.load("0612345678\n")
    with site.agent, ExitStack() as opened:
        site.screen("0612349999", "energy", "agent-7")
        spare_descriptors(site.agent.pid, 20)
        for _ in range(400):
            half = opened.enter_context(socket.create_connection(site.address))
            half.sendall(b"agi_network: yes\n")
        assert site.screen("0612349999", "energy", "agent-7")["BMN_REASON"] in ("not_registered", "lookup_unavailable")
        until(lambda: site.agent.logged("accept.failed"))
