"""A site without our prompts: the agent still hears that something is wrong."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from deploy.lab import Lab
from tests.e2e.conftest import Site
from tests.e2e.test_screened_call import REGISTER, REGISTERED, assert_blocked, dial


@contextlib.contextmanager
def without_prompts(lab: Lab) -> Iterator[None]:
    """Hide our prompts from the call centre's Asterisk."""
    links = list((lab.pbx.directory / "data/sounds").glob("*/bmn"))
    assert links
    for link in links:
        link.rename(link.with_name("hidden"))
    try:
        yield
    finally:
        for link in links:
            link.with_name("hidden").rename(link)


def test_without_any_prompt_the_agent_hears_a_tone(lab: Lab, site: Site) -> None:
    """Congestion tone for two seconds as early media, never an answer; then the call ends as ever."""
    site.load_register(REGISTER)
    with without_prompts(lab):
        outcome, invites = dial(lab, REGISTERED)
    assert_blocked(outcome, invites, "registered")
    heard = outcome.agent_heard()
    assert heard.tone_share(425) > 0.8
    assert heard.seconds < 3
