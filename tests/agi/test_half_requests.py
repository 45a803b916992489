"""An allowed peer that opens many sessions and does not go through with them: no call of others waits for it."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

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
