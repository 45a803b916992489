"""However a channel comes into the dialplan, a number is dialled only after a screening of its own.

AMI can send a channel to any extension, with all that an earlier call left on it; and a text (SIP MESSAGE) runs
through a dialplan as a call does.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from agent.domain.profile import NL_BMNR
from deploy.lab import Lab
from deploy.lab.calls import Call
from deploy.lab.lab import INCLUDED_PHONE
from tests.e2e.conftest import Site
from tests.e2e.dialplan import Place, places
from tests.e2e.test_screened_call import FREE, REGISTER
from tests.waiting import until

TEXTED = (FREE, "112", "0112", "911", "#31#112", "+112")


def objecting(index: int) -> str:
    """A number that may be called, whose consumer objects during the call."""
    return f"0612{340_000 + index}"


def talk_and_object(lab: Lab, site: Site, count: int) -> list[Call]:
    """As many conversations, with consumers who have objected to the seller meanwhile."""
    site.load_register(REGISTER)
    numbers = [objecting(index) for index in range(count)]
    calls = [lab.place(number, campaign="energy", agent="agent-7", hold_s=None) for number in numbers]
    for call in calls:
        call.wait_until_answered(15)
    objections = site.folder / "objections.csv"
    objections.write_text("\n".join(("number", *numbers, "")))
    site.bmn("optout", "import", str(objections), "--seller", "acme")
    return calls


def hang_up_consumers(lab: Lab, mark: int) -> None:
    """All who have answered since the mark at the network, and have not hung up."""
    events = lab.network.ami.events(mark)
    answered = {event["Channel"] for event in events if event.name == "LabConsumerAnswered"}
    for channel in answered - {event["Channel"] for event in events if event.name == "Hangup"}:
        lab.network.ami.action("Hangup", Channel=channel, Cause="16")


def leg_of(lab: Lab, call: Call) -> str:
    """The channel of the agent's leg."""
    events = lab.pbx.ami.events(call.mark)
    return next(
        event["Channel"] for event in events if event.name == "Newchannel" and event.get("CallerIDName") == call.id
    )


def has_come_to(lab: Lab, channel: str, place: Place, mark: int) -> bool:
    """Whether a channel has begun what stands there."""
    steps = [event for event in lab.pbx.ami.events(mark) if event.name == "Newexten" and event["Channel"] == channel]
    return str(place) in [f"{step['Context']},{step['Extension']},{step['Priority']}" for step in steps]


def at_rest(lab: Lab, mark: int) -> set[str]:
    """The uniqueids of channels that have ended since the mark, or are connected to somebody; their names, too."""
    ends = [event for event in lab.pbx.ami.events(mark) if event.name in ("Hangup", "DialEnd")]
    return {event.get(name) for event in ends for name in ("Uniqueid", "Channel")}


def test_no_extension_dials_with_what_an_earlier_call_left_behind(lab: Lab, site: Site) -> None:
    """Each (context, extension, 1) of ours, by AMI Redirect of a leg whose consumer has objected meanwhile."""
    entries = [place for place in places(lab) if place.priority == 1]
    assert len(entries) > 20
    far, calls = lab.network.ami.mark(), talk_and_object(lab, site, len(entries))
    legs = [leg_of(lab, call) for call in calls]
    before, mark = len(lab.invites_from_trunk()), lab.pbx.ami.mark()
    for index, (entry, leg) in enumerate(zip(entries, legs, strict=True)):
        place = entry.entered_with(objecting(index))
        lab.pbx.ami.action("Redirect", Channel=leg, Context=place.context, Exten=place.extension, Priority="1")
        until(lambda place=place, leg=leg: has_come_to(lab, leg, place, mark))
    hang_up_consumers(lab, far)
    until(lambda: set(legs) <= at_rest(lab, mark), timeout_s=60)
    assert set(lab.invites_from_trunk()[before:]) == NL_BMNR.emergency_numbers
    assert [one["verdict"] for one in site.verdicts()].count("allow") == len(calls), "of before the objections"
    hang_up_consumers(lab, far)
    for call in calls:
        call.outcome()


def left_behind(lab: Lab, channel: str) -> dict[str, str]:
    """The variables of ours on a channel."""
    shown = lab.pbx.command(f"core show channel {channel}")
    return dict(line.split("=", 1) for line in shown.splitlines() if line.startswith("BMN_"))


def test_no_step_dials_with_what_an_earlier_call_left_behind(lab: Lab, site: Site) -> None:
    """Each priority of each extension of ours, by AMI Originate of a channel with all variables of such a leg."""
    (call,) = talk_and_object(lab, site, 1)
    number, variables = objecting(0), left_behind(lab, leg_of(lab, call))
    assert (variables["BMN_VERDICT"], variables["BMN_NUMBER"]) == ("allow", "+31" + number[1:])
    before, mark = len(lab.invites_from_trunk()), lab.pbx.ami.mark()
    started = [place.entered_with(number) for place in places(lab)]
    for place in started:
        lab.pbx.ami.action(
            "Originate",
            *(("Variable", f"{name}={value}") for name, value in variables.items()),
            Channel="Local/s@lab-hold/n",
            ChannelId=str(place),
            Context=place.context,
            Exten=place.extension,
            Priority=str(place.priority),
            Async="true",
        )
    until(lambda: {str(place) for place in started} <= at_rest(lab, mark), timeout_s=90)
    assert set(lab.invites_from_trunk()[before:]) <= NL_BMNR.emergency_numbers
    assert [one["verdict"] for one in site.verdicts()].count("allow") == 1, "of before the objection"
    call.hang_up()
    call.consumer_hangs_up()
    call.outcome()


@contextlib.contextmanager
def default_campaign(lab: Lab) -> Iterator[None]:
    """A campaign for what names none."""
    lab.pbx.ami.action("Setvar", Variable="BMN_CAMPAIGN", Value="energy")
    try:
        yield
    finally:
        lab.pbx.ami.action("Setvar", Variable="BMN_CAMPAIGN", Value="")


def test_a_text_message_dials_nobody(lab: Lab, site: Site) -> None:
    """Neither a consumer nor an emergency centre, and the service is not asked."""
    site.load_register(REGISTER)
    before, mark = len(lab.invites_from_trunk()), lab.pbx.ami.mark()

    def refused() -> int:
        steps = [event for event in lab.pbx.ami.events(mark) if event.name == "Newexten"]
        return [(step["Context"], step["Extension"], step["Application"]) for step in steps].count(
            ("bmn-channel", "Message", "Hangup")
        )

    with default_campaign(lab):
        for caller in ("agent", INCLUDED_PHONE):
            for number in TEXTED:
                lab.send_text(number, caller=caller)
        until(lambda: refused() == 2 * len(TEXTED))
    assert lab.invites_from_trunk()[before:] == []
    assert site.verdicts() == []


def test_a_text_message_is_screened_as_no_number(lab: Lab, site: Site) -> None:
    """For a site that asks bmn-screen and dials by itself."""
    site.load_register(REGISTER)
    mark = lab.pbx.ami.mark()
    with default_campaign(lab):
        lab.send_text("self" + FREE)
        screened = lab.pbx.ami.wait_for(lambda event: event.name == "LabScreened", since=mark, what="the verdict")
    assert (screened["Verdict"], screened["Cleared"]) == ("block", "")
    assert site.verdicts() == []
