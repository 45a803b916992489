"""However a channel comes into the dialplan, a number is dialled only after a screening of its own.

AMI can send a channel to any extension, with all that an earlier call left on it; and a text (SIP MESSAGE) runs
through a dialplan as a call does.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping

from agent.domain.profile import NL_BMNR
from deploy.lab import AmiMessage, Lab
from deploy.lab.calls import Call
from deploy.lab.lab import INCLUDED_PHONE
from tests.e2e.conftest import Site
from tests.e2e.dialplan import steps
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


def leg_of(lab: Lab, call: Call) -> AmiMessage:
    """How the agent's leg began: its Channel and Uniqueid."""
    events = lab.pbx.ami.events(call.mark)
    return next(event for event in events if event.name == "Newchannel" and event.get("CallerIDName") == call.id)


def come_to(lab: Lab, mark: int) -> dict[str, list[tuple[str, str, str]]]:
    """The places that each channel has come to since the mark, by its uniqueid."""
    places: dict[str, list[tuple[str, str, str]]] = {}
    for event in lab.pbx.ami.events(mark):
        if event.name == "Newexten":
            place = event["Context"], event["Extension"], event["Priority"]
            places.setdefault(event["Uniqueid"], []).append(place)
    return places


def send(lab: Lab, channel: str, place: tuple[str, str, str]) -> None:
    """By AMI Redirect."""
    context, extension, priority = place
    lab.pbx.ami.action("Redirect", Channel=channel, Context=context, Exten=extension, Priority=priority)


def begin(lab: Lab, uniqueid: str, variables: Mapping[str, str], place: tuple[str, str, str]) -> None:
    """A channel of its own that comes to a place, with these variables: by AMI Originate."""
    context, extension, priority = place
    lab.pbx.ami.action(
        "Originate",
        *(("Variable", f"{name}={value}") for name, value in variables.items()),
        Channel="Local/talk@lab-hold/n",
        ChannelId=uniqueid,
        Context=context,
        Exten=extension,
        Priority=priority,
        Async="true",
    )


def at_rest(lab: Lab, mark: int) -> set[str]:
    """The uniqueids of channels that have ended since the mark, or are connected to somebody."""
    return {event.get("Uniqueid") for event in lab.pbx.ami.events(mark) if event.name in ("Hangup", "DialEnd")}


def test_no_extension_dials_with_what_an_earlier_call_left_behind(lab: Lab, site: Site) -> None:
    """Each (context, extension, 1) of ours, by AMI Redirect of a leg whose consumer has objected meanwhile."""
    entries = [step for step in steps(lab) if step.priority == 1]
    assert len(entries) > 10
    far, calls = lab.network.ami.mark(), talk_and_object(lab, site, len(entries))
    legs = [leg_of(lab, call) for call in calls]
    before, mark = len(lab.invites_from_trunk()), lab.pbx.ami.mark()
    went = {
        leg["Uniqueid"]: entry.place(objecting(index))
        for index, (entry, leg) in enumerate(zip(entries, legs, strict=True))
    }
    for leg in legs:
        send(lab, leg["Channel"], went[leg["Uniqueid"]])
    until(lambda: all(place in come_to(lab, mark).get(uniqueid, []) for uniqueid, place in went.items()))
    hang_up_consumers(lab, far)
    until(lambda: went.keys() <= at_rest(lab, mark), timeout_s=60)
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
    number, variables = objecting(0), left_behind(lab, leg_of(lab, call)["Channel"])
    assert (variables["BMN_VERDICT"], variables["BMN_NUMBER"]) == ("allow", "+31" + number[1:])
    before, mark = len(lab.invites_from_trunk()), lab.pbx.ami.mark()
    begun = {f"step-{index}": step.place(number) for index, step in enumerate(steps(lab))}
    for uniqueid, place in begun.items():
        begin(lab, uniqueid, variables, place)
    until(lambda: begun.keys() <= at_rest(lab, mark), timeout_s=90)
    reached = come_to(lab, mark)
    assert [place for uniqueid, place in begun.items() if place not in reached[uniqueid]] == []
    assert set(lab.invites_from_trunk()[before:]) <= NL_BMNR.emergency_numbers
    assert [one["verdict"] for one in site.verdicts()].count("allow") == 1, "of before the objection"
    call.hang_up()
    call.consumer_hangs_up()
    call.outcome()


def test_a_verdict_is_good_for_one_dial_and_for_seconds(lab: Lab, site: Site) -> None:
    """A channel that AMI sends past priority 1 dials while its verdict is fresh; not again, and not a minute later."""
    site.load_register(REGISTER)
    number, far, mark = "+31612349999", lab.network.ami.mark(), lab.pbx.ami.mark()
    before, dial = len(lab.invites_from_trunk()), ("bmn-verdict", "allow", "2")
    for uniqueid, age_s in (("stale", 60), ("fresh", 0)):
        at = f"{time.time() - age_s:.0f}"
        begin(lab, uniqueid, {"BMN_CLEARED": number, "BMN_CLEARED_AT": at, "BMN_NUMBER": number}, dial)
    until(lambda: {"stale", "fresh"} <= at_rest(lab, mark))
    assert lab.invites_from_trunk()[before:] == [number]
    mark = lab.pbx.ami.mark()
    send(lab, "fresh", dial)
    until(lambda: "fresh" in at_rest(lab, mark))
    assert ("bmn-blocked", "s", "1") in come_to(lab, mark)["fresh"]
    assert lab.invites_from_trunk()[before:] == [number]
    hang_up_consumers(lab, far)


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
        return sum(places.count(("bmn-channel", "Message", "2")) for places in come_to(lab, mark).values())

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
