"""One call that an agent's phone placed, and what became of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .ami import AmiMessage
from .audio import Recording, read_recording
from .phones import Phone

if TYPE_CHECKING:
    from .instance import AsteriskInstance


@dataclass(frozen=True, slots=True, kw_only=True)
class CallOutcome:
    """What the agent's phone and the call centre's Asterisk made of one call."""

    dialled: str
    answered: bool
    """Whether the agent's phone ever saw the call answered."""
    sip_status: str
    """The last word of SIP to the agent's phone, as `SIP 603 Decline`."""
    events: tuple[AmiMessage, ...]
    """All events of this call at the call centre, oldest first."""
    variables: Mapping[str, str]
    """The lab's `channel_variables` on the agent's leg at its end."""
    agent_heard_path: Path

    @property
    def sip_code(self) -> int:
        """The SIP response code at the agent's phone; 0 when there was none."""
        words = self.sip_status.split()
        return int(words[1]) if len(words) > 1 and words[1].isdigit() else 0

    @property
    def user_events(self) -> list[AmiMessage]:
        """The UserEvents of the dialplan."""
        return [event for event in self.events if event.get("Event") == "UserEvent"]

    def user_event(self, name: str) -> AmiMessage:
        """The only UserEvent of that name; ValueError when there are more or none."""
        (event,) = [event for event in self.user_events if event.name == name]
        return event

    @property
    def cdrs(self) -> list[AmiMessage]:
        """The CDRs of the agent's leg."""
        return [event for event in self.events if event.name == "Cdr"]

    @property
    def userfield(self) -> str:
        """The userfield of the last CDR."""
        return self.cdrs[-1].get("UserField") if self.cdrs else ""

    def agent_heard(self, timeout_s: float = 5.0) -> Recording:
        """What the agent heard, early media included; LabError when there was no audio."""
        return read_recording(self.agent_heard_path, timeout_s)


def returns_from(context: str) -> Callable[[AmiMessage], bool]:
    """Whether the dialplan has come back from this context, on any leg; to be asked of each event in turn."""
    last: dict[str, str] = {}

    def is_back(event: AmiMessage) -> bool:
        if event.name != "Newexten":
            return False
        before, now = last.get(event["Channel"]), event.get("Context")
        last[event["Channel"]] = now
        return event.get("Application") == "Return" and before == context != now

    return is_back


class Call:
    """A call that goes on: act on it, then ask for its outcome."""

    def __init__(
        self,
        call: str,
        dialled: str,
        *,
        pbx: AsteriskInstance,
        network: AsteriskInstance,
        pbx_address: str,
        pbx_mark: int,
        network_mark: int,
    ) -> None:
        """Made by `Lab.place`; `call` is also the phone's channel id and caller name."""
        self.id = call
        self.dialled = dialled
        self._pbx = pbx
        self._network = network
        self._pbx_address = pbx_address
        self._pbx_mark = pbx_mark
        self.mark = pbx_mark
        """Where the events of this call at the call centre begin."""
        self._network_mark = network_mark

    def wait_until_answered(self, timeout_s: float = 5.0) -> None:
        """Return when the agent's phone sees the call answered; AmiError when it is not."""
        self._network.ami.wait_for(
            lambda event: event.name == "LabPhoneAnswered" and event.get("Call") == self.id,
            timeout_s,
            since=self._network_mark,
            what=f"the answer to {self.id}",
        )

    def wait_for_user_event(self, name: str, timeout_s: float = 5.0, *, nth: int = 1) -> AmiMessage:
        """The nth UserEvent of that name in this call at the call centre, now or soon."""
        return self._wait_here(lambda event: event.name == name, f"{name} no. {nth}", timeout_s, nth)

    def wait_for_application(self, name: str, arguments: str, timeout_s: float = 5.0) -> AmiMessage:
        """Return when the dialplan has begun this application with these arguments in this call, now or soon."""
        return self._wait_here(
            lambda event: event.get("Application") == name and event.get("AppData") == arguments,
            f"{name}({arguments})",
            timeout_s,
        )

    def agi_commands(self) -> str:
        """Every AGI command of this call so far, one a line."""
        events = self._pbx.ami.events(self._pbx_mark)
        return "\n".join(
            event.get("Command")
            for event in events
            if event.name == "AGIExecStart" and event.get("Linkedid") == self._pbx_channel()
        )

    def wait_for_return(self, context: str, timeout_s: float = 5.0, *, nth: int = 1) -> None:
        """Return when the dialplan has returned from this context for the nth time in this call, now or soon.

        What the context itself called, and came back from, does not count.
        """
        self._wait_here(returns_from(context), f"Return no. {nth} from {context}", timeout_s, nth)

    def wait_for_prompt(self, name: str, timeout_s: float = 10.0) -> AmiMessage:
        """Return when the agent software has asked for a prompt that begins with `name`, now or soon."""
        return self.wait_for_agi(f"STREAM FILE bmn/{name}", timeout_s)

    def wait_for_agi(self, command: str, timeout_s: float = 10.0, *, nth: int = 1) -> AmiMessage:
        """The nth AGI command of the agent software that begins so in this call, now or soon."""
        return self._wait_here(
            lambda event: event.name == "AGIExecStart" and event.get("Command").startswith(command),
            f"{command} no. {nth}",
            timeout_s,
            nth,
        )

    def _wait_here(self, wanted: Callable[[AmiMessage], bool], what: str, timeout_s: float, nth: int = 1) -> AmiMessage:
        """The nth event of this call at the call centre for which `wanted` holds."""
        seen = 0

        def is_nth(event: AmiMessage) -> bool:
            nonlocal seen
            seen += wanted(event) and event.get("Linkedid") == self._pbx_channel()
            return seen == nth

        return self._pbx.ami.wait_for(is_nth, timeout_s, since=self._pbx_mark, what=f"{what} of {self.id}")

    def agent(self) -> Phone:
        """The agent's phone, once it has sent its INVITE."""
        return self._phone(self._phone_channel())

    def consumer(self, number: str | None = None) -> Phone:
        """The phone of this number, consumer or colleague, that has answered since this call was placed, now or soon.

        Without a number the first one.
        """
        return self._phone(self._consumer_channel(number))

    def ringing(self, number: str) -> Phone:
        """The phone of this number that has begun to ring since this call was placed, now or soon."""
        event = self._network.ami.wait_for(
            lambda event: event.name == "LabConsumerRings" and event.get("Number") == number,
            since=self._network_mark,
            what=f"the ringing of {number} in {self.id}",
        )
        return self._phone(event["Channel"])

    def _phone(self, channel: str) -> Phone:
        return Phone(self._network, channel, pbx_address=self._pbx_address, since=self._network_mark)

    def consumer_presses(self, keys: str, *, key_s: float = 0.1) -> None:
        """The consumer presses keys on the phone, each for that long; returns when they are on their way."""
        self.consumer().presses(keys, key_s=key_s)

    def consumer_holds(self) -> None:
        """The consumer puts the caller on hold (a re-INVITE with ``sendonly``); returns when the call centre has it."""
        self._redirect_consumer("consumer-holds", "Hold")

    def consumer_resumes(self) -> None:
        """The consumer comes back from hold; returns when the call centre has it."""
        self._redirect_consumer("consumer-resumes", "Unhold")

    def consumer_hangs_up(self) -> None:
        """The consumer hangs up."""
        self.consumer().hangs_up()

    def wait_until_consumer_is_free(self, timeout_s: float = 20.0) -> None:
        """Return when the consumer's phone is on the hook again, after the notice too."""
        self.consumer().wait_until_free(timeout_s)

    def agent_presses(self, keys: str) -> None:
        """The agent presses keys on the phone; returns when they are on their way."""
        self.agent().presses(keys)

    def hang_up(self) -> None:
        """The agent hangs up."""
        self.agent().hangs_up()

    def outcome(self, timeout_s: float = 30.0) -> CallOutcome:
        """Wait until the call is over on both sides and its CDR is written."""
        ended = self._network.ami.wait_for(
            lambda event: event.name == "LabPhoneEnded" and event.get("Call") == self.id,
            timeout_s,
            since=self._network_mark,
            what=f"the end of {self.id} at the agent's phone",
        )
        channel = self._pbx_channel()
        variables: dict[str, str] = {}
        # A 404 comes before there is a channel at the call centre, so before any CDR.
        if channel or " 404 " not in ended.get("Sip"):
            cdr = self._pbx.ami.wait_for(
                lambda event: event.name == "Cdr" and event.get("UniqueID") == self._pbx_channel(),
                timeout_s,
                since=self._pbx_mark,
                what=f"the CDR of {self.id}",
            )
            channel = cdr["UniqueID"]
            hangup = self._pbx.ami.wait_for(
                lambda event: event.name == "Hangup" and event.get("Uniqueid") == channel,
                timeout_s,
                since=self._pbx_mark,
                what=f"the end of {self.id} at the call centre",
            )
            variables = hangup.channel_variables
        return CallOutcome(
            dialled=self.dialled,
            answered=any(
                event.name == "LabPhoneAnswered" and event.get("Call") == self.id
                for event in self._network.ami.events(self._network_mark)
            ),
            sip_status=ended.get("Sip"),
            events=tuple(
                event
                for event in self._pbx.ami.events(self._pbx_mark)
                if channel and channel in (event.get("Linkedid"), event.get("UniqueID"))
            ),
            variables=variables,
            agent_heard_path=self._network.recordings / f"agent-{self.id}.wav",
        )

    def _redirect_consumer(self, context: str, event_name: str) -> None:
        mark = self._pbx.ami.mark()
        self._network.ami.action("Redirect", Channel=self._consumer_channel(), Context=context, Exten="s", Priority="1")
        self._pbx.ami.wait_for(
            lambda event: event.name == event_name and event.get("Linkedid") == self._pbx_channel(),
            since=mark,
            what=f"{event_name} of {self.id}",
        )

    def _phone_channel(self) -> str:
        event = self._network.ami.wait_for(
            lambda event: (
                event.name == "Newchannel"
                and event.get("Linkedid") == self.id
                and event.get("Channel").startswith("PJSIP/agent-phone-")
            ),
            since=self._network_mark,
            what=f"the phone's channel of {self.id}",
        )
        return event["Channel"]

    def _consumer_channel(self, number: str | None = None) -> str:
        """The consumer's channel at the network: it answered since this call was placed."""
        event = self._network.ami.wait_for(
            lambda event: event.name == "LabConsumerAnswered" and number in (None, event.get("Number")),
            since=self._network_mark,
            what=f"the answer of {number or 'a consumer'} in {self.id}",
        )
        return event["Channel"]

    def _pbx_channel(self) -> str:
        """The id of the agent's leg at the call centre; empty while there is none."""
        for event in self._pbx.ami.events(self._pbx_mark):
            if event.name == "Newchannel" and event.get("CallerIDName") == self.id:
                return event["Uniqueid"]
        return ""
