"""Real calls through a real Asterisk, seen in a real browser as they are blocked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from playwright.sync_api import expect

from deploy.lab import Lab
from tests.browser.conftest import REGISTERED, Desk, Site, keep_picture, running_site

_WATCH = """() => {
    window.seen = {};
    const note = () => { for (const row of document.querySelectorAll("#calls tr")) {
        if (!(row.dataset.seq in window.seen))
            window.seen[row.dataset.seq] = [Date.now(), row.querySelector("time").dateTime];
    } };
    note();
    new MutationObserver(note).observe(document.querySelector("#calls"), {childList: true});
}"""


@pytest.fixture
def site(tmp_path: Path, agi_port: int, prompts: Path) -> Iterator[Site]:
    """A site whose agent the lab's dialplan asks."""
    yield from running_site(tmp_path, f"127.0.0.1:{agi_port}", BMN_SOUNDS__PATH=str(prompts))


def test_a_blocked_call_is_seen_as_it_happens(lab: Lab, site: Site, open_desk: Callable[..., Desk]) -> None:
    """From the agent's phone to the browser's page, without a reload; the time in between is printed."""
    site.load_register(f"number,blocked\n{REGISTERED},all\n")
    desk = open_desk("vera")
    expect(desk.page.locator("#state-text")).to_have_text("Live")
    desk.page.evaluate(_WATCH)
    for attempt in range(1, 6):
        outcome = lab.call(REGISTERED, campaign="energy", agent=f"phone-{attempt}", hold_s=0.3)
        assert outcome.sip_code == 403
        expect(desk.page.locator("#calls tr")).to_have_count(attempt)
        expect(desk.page.locator("#calls tr").first).to_contain_text(f"phone-{attempt}")
    assert "blocked +316*****678 on the register energy phone-5" in desk.rows()[0]
    keep_picture(desk.page, "real-calls")
    seen = desk.page.evaluate("window.seen")
    took_ms = sorted(
        shown_ms - datetime.fromisoformat(recorded).astimezone(UTC).timestamp() * 1000
        for shown_ms, recorded in seen.values()
    )
    assert len(took_ms) == 5
    # For a person who looks: `pytest -s`, or the report of a failure.
    print(f"from the verdict's record to the page: {', '.join(f'{one:.0f}' for one in took_ms)} ms")  # noqa: T201
    assert took_ms[-1] > 0, "both clocks are this machine's"
