"""The telephones of the lab: agents', colleagues' and consumers', each a channel of the network in one call."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING
from urllib.parse import quote

from .errors import LabError

if TYPE_CHECKING:
    from .instance import AsteriskInstance

_BETWEEN_KEYS_S = 0.1
"""Asterisk takes two tones for one when there is no pause of 45 ms between them (AST_MIN_DTMF_GAP)."""
_FIRST_ANSWER_S = 10.0


class Phone:
    """A telephone in a call: what the person who holds it does."""

    def __init__(self, network: AsteriskInstance, channel: str, *, pbx_address: str, since: int) -> None:
        """`channel` at the network is its line to the call centre, which is at `pbx_address`.

        `since` is a mark of the network's events before this call.
        """
        self._network = network
        self._pbx_address = pbx_address
        self._since = since
        self.channel = channel

    def presses(self, keys: str, *, key_s: float = 0.1) -> None:
        """Press keys, each for that long; returns when they are on their way."""
        for place, key in enumerate(keys):
            if place:
                time.sleep(_BETWEEN_KEYS_S)
            duration_ms = f"{key_s * 1000:.0f}"
            self._network.ami.action("PlayDTMF", Channel=self.channel, Digit=key, Duration=duration_ms)

    def picks_up(self) -> None:
        """Answer: it has rung until now."""
        self._network.ami.action("Redirect", Channel=self.channel, Context="consumer-answer", Exten="s", Priority="1")

    def declines(self) -> None:
        """Answer that it is busy: a SIP 486. It has rung until now."""
        self._network.ami.action("Hangup", Channel=self.channel, Cause="17")

    def hangs_up(self) -> None:
        """Hang up: a SIP BYE."""
        self._network.ami.action("Hangup", Channel=self.channel, Cause="16")

    def wait_until_free(self, timeout_s: float = 20.0) -> None:
        """Return when it is on the hook again."""
        self._network.ami.wait_for(
            lambda event: event.name == "Hangup" and event.get("Channel") == self.channel,
            timeout_s,
            since=self._since,
            what=f"the end of {self.channel}",
        )

    def refers(self, target: str) -> None:
        """Pass whoever it talks to on to `target` at the call centre: a SIP REFER."""
        self._refers(f"<sip:{target}@{self._pbx_address}>")

    def refers_to(self, other: Phone) -> None:
        """Connect whoever it talks to with the one on the `other` line, answered or ringing: a REFER with Replaces."""
        self._refers(f"<sip:other-line@{self._pbx_address}?Replaces={quote(other.dialog, safe='')}>")

    @property
    def dialog(self) -> str:
        """Its dialog as the call centre knows it, for a Replaces header; as soon as it hears that it rings there."""
        far_tag = self._far_tag()
        call_id, near_tag = self._ask("call-id"), self._ask("local_tag")
        return f"{call_id};to-tag={far_tag};from-tag={near_tag}"

    def _far_tag(self) -> str:
        """The call centre's tag, which its first answer brings."""
        deadline = time.monotonic() + _FIRST_ANSWER_S
        while not (tag := self._ask("remote_tag")):
            if time.monotonic() > deadline:
                raise LabError(f"no answer of the call centre to {self.channel} within {_FIRST_ANSWER_S:g} s")
            time.sleep(0.02)
        return tag

    def _ask(self, name: str) -> str:
        return self._network.ami.action("Getvar", Channel=self.channel, Variable=f"CHANNEL(pjsip,{name})")["Value"]

    def _refers(self, refer_to: str) -> None:
        ami = self._network.ami
        ami.action("Setvar", Channel=self.channel, Variable="LAB_REFER_TO", Value=refer_to)
        ami.action("Redirect", Channel=self.channel, Context="phone-refers", Exten="s", Priority="1")
