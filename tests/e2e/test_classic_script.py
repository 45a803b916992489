"""A site without the service: Asterisk starts a process for each call, through the same dialplan."""

from __future__ import annotations

from pathlib import Path

from deploy.lab import Lab
from tests.e2e.conftest import Site
from tests.e2e.test_screened_call import FREE, REGISTER, REGISTERED, assert_blocked
from tests.waiting import until

SCRIPTS = Path(__file__).parents[2] / "deploy" / "agi"


def test_the_classic_script_screens_calls(lab: Lab, site: Site) -> None:
    """With BMN_AGI as the folder of the scripts: one number blocked, one dialled; the service is not there to help."""
    site.load_register(REGISTER)
    site.agent.stop()
    settings = classic(site, deadline_ms=9_000) | {"BMN_SCREEN_TIMEOUT": "10"}  # the machine may be busy
    before = len(lab.invites_from_trunk())
    outcome = lab.call(REGISTERED, campaign="energy", agent="-7", settings=settings, hold_s=0.3)
    assert_blocked(outcome, lab.invites_from_trunk()[before:], "registered")
    outcome = lab.call(FREE, campaign="energy", agent="-7", settings=settings, hold_s=0.3)
    assert outcome.answered
    assert lab.invites_from_trunk()[before:] == ["+31612349999"]
    assert [(item["source"], item["agent"]) for item in site.verdicts()] == [("classic_agi", "-7")] * 2


def test_sixteen_classic_calls_at_once_leave_as_many_allows_as_were_dialled(lab: Lab, site: Site) -> None:
    """More than two processors start in time: those that are too late are blocked, and on record as that."""
    site.load_register(REGISTER)
    site.agent.stop()
    settings = classic(site, deadline_ms=2_000)
    before = len(lab.invites_from_trunk())
    numbers = [f"06123488{serial:02d}" for serial in range(16)]
    calls = [lab.place(number, campaign="energy", agent="-7", settings=settings, hold_s=0.3) for number in numbers]
    for call in calls:
        call.outcome(timeout_s=120)
    until(lambda: len({one["call"] for one in site.records("call.screened")}) == len(numbers), timeout_s=60)
    dialled = sorted(lab.invites_from_trunk()[before:])
    until(lambda: handed_out(site) == dialled, timeout_s=60)
    assert set(dialled) <= {f"+31{number[1:]}" for number in numbers}


def classic(site: Site, deadline_ms: int) -> dict[str, str]:
    """What is set on the channel, and in the environment of the whole Asterisk, for the scripts of this site."""
    environment = {**site.environment, "BMN_AGI__CLASSIC_DEADLINE_MS": str(deadline_ms)}
    return {"BMN_AGI": str(SCRIPTS)} | {f"ENV({name})": value for name, value in environment.items()}


def handed_out(site: Site) -> list[str]:
    """The numbers that were allowed, and of which nothing says that Asterisk did not get it."""
    lost = {one["call"] for one in site.records("verdict.undelivered")}
    allowed = [one for one in site.records("call.screened") if one["verdict"] == "allow"]
    return sorted(one["number"] for one in allowed if one["call"] not in lost)
