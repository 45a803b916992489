"""The agent is killed between a key and its confirmation, in real calls, at random moments.

``BMN_KILLS=200 ./tests/run tests/e2e/test_kill.py -s`` is the full measure and prints its figures; a few run always.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable

import pytest
import redis

from deploy.lab import Lab
from deploy.lab.ami import AmiError
from deploy.lab.calls import Call
from tests.e2e.conftest import Site
from tests.e2e.test_notice import EMPTY, REACTION_S
from tests.waiting import until

KILLS = int(os.environ.get("BMN_KILLS", "5"))
SPREAD_S = 0.03
"""Within so long after a key was received it is on disk and confirmed."""


def press_as_agent(lab: Lab, call: Call) -> Callable[[], bool]:
    """Press ``*73``; returns what tells whether it was confirmed. The agent software is being asked when this ends."""
    mark = lab.pbx.ami.mark()
    call.agent_presses("*73")
    lab.pbx.ami.wait_for(lambda event: "/key," in event.get("AppData"), since=mark, what="the question")
    return lambda: call.wait_for_user_event("BmnChoice")["Result"] == "recorded"


def press_as_consumer(lab: Lab, call: Call) -> Callable[[], bool]:
    """The agent hangs up, the consumer presses 1 in the menu; as above."""
    call.hang_up()
    call.wait_for_prompt("menu-acme")
    time.sleep(REACTION_S)
    mark = lab.pbx.ami.mark()
    call.consumer_presses("1")
    lab.pbx.ami.wait_for(lambda event: event.name == "DTMFEnd", since=mark, what="the key")

    def confirmed() -> bool:
        call.wait_until_consumer_is_free()
        return "STREAM FILE bmn/chosen-seller-optout-acme" in call.agi_commands()

    return confirmed


@pytest.mark.parametrize("press", [press_as_agent, press_as_consumer])
def test_what_was_confirmed_survives_a_kill(
    lab: Lab, site: Site, press: Callable[[Lab, Call], Callable[[], bool]]
) -> None:
    """Every confirmed choice is in the journal once and, after the restart, in Redis; none is there twice."""
    site.load_register(EMPTY)
    dice = random.Random(20261124)
    confirmed: set[str] = set()
    numbers = [f"+31612{serial:06d}" for serial in range(340_100, 340_100 + KILLS)]
    for number in numbers:
        call = lab.place(number, campaign="energy", agent="agent-7", hold_s=None)
        call.wait_until_answered()
        time.sleep(REACTION_S)
        tell = press(lab, call)
        time.sleep(dice.random() * SPREAD_S)
        os.kill(site.agent.pid, signal.SIGKILL)
        if tell():
            confirmed.add(number)
        site.agent.kill()
        for hang_up in (call.hang_up, call.consumer_hangs_up):
            try:
                hang_up()
            except AmiError:  # it was hung up when the agent software died
                continue
        call.outcome()
        site.agent.start()
    recorded = [one["number"] for one in site.records("choice.recorded") if one["answer"] == "seller_optout"]
    assert len(recorded) == len(set(recorded)), "a choice was recorded twice"
    assert confirmed <= set(recorded) <= set(numbers)
    with redis.Redis.from_url(site.redis.url) as client:
        keys = {number: f"bmn:{{{number[1:-4]}}}:optout:acme" for number in numbers}

        def listed() -> set[str]:
            return {number for number, key in keys.items() if client.sismember(key, number[-4:].lstrip("0") or "0")}

        until(lambda: listed() == set(recorded))
    print(f"{press.__name__}: {KILLS} kills, {len(confirmed)} confirmed, {len(recorded)} recorded")  # noqa: T201
