"""A site without the service: Asterisk starts a process for each call, through the same dialplan."""

from __future__ import annotations

from pathlib import Path

from deploy.lab import Lab
from tests.e2e.conftest import Site
from tests.e2e.test_screened_call import FREE, REGISTER, REGISTERED, assert_blocked

SCRIPTS = Path(__file__).parents[2] / "deploy" / "agi"


def test_the_classic_script_screens_calls(lab: Lab, site: Site) -> None:
    """With BMN_AGI as the folder of the scripts: one number blocked, one dialled; the service is not there to help."""
    site.load_register(REGISTER)
    site.agent.stop()
    settings = {"BMN_AGI": str(SCRIPTS)} | {f"ENV({name})": value for name, value in site.environment.items()}
    before = len(lab.invites_from_trunk())
    outcome = lab.call(REGISTERED, campaign="energy", agent="-7", settings=settings, hold_s=0.3)
    assert_blocked(outcome, lab.invites_from_trunk()[before:], "registered")
    outcome = lab.call(FREE, campaign="energy", agent="-7", settings=settings, hold_s=0.3)
    assert outcome.answered
    assert lab.invites_from_trunk()[before:] == ["+31612349999"]
    assert [(item["source"], item["agent"]) for item in site.verdicts()] == [("classic_agi", "-7")] * 2
