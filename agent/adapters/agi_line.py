"""A consumer's line over AGI.

What Asterisk plays it need not send: while the far end has the line on hold (a re-INVITE with ``sendonly`` or
``inactive``) STREAM FILE runs to its end and no RTP packet leaves. So the packets are counted before and after each
prompt, where the channel has RTP and says how many: that is chan_pjsip, the one SIP channel of Asterisk 21 and newer.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from time import monotonic
from typing import Final

from agent.adapters.agi_channel import AgiChannel
from agent.adapters.agi_values import AgiError, AgiHangup, AgiProtocolError, AgiRefused, AgiTimeout, PlayResult
from agent.domain.errors import LineHungUp, LineLost
from agent.domain.ports import WHOLE_WITHIN_MS, Packets, Played, PlayEnd

SAMPLES_PER_MS: Final = 8
"""The consumer's prompts are 8 kHz files only, for ``endpos`` counts at the rate of the file that Asterisk picked."""
_COUNTING: Final = "PJSIP"
"""The channel type, as ``agi_type`` has it. Asking another one costs a warning in Asterisk's log each time."""
_RTP: Final = ("CHANNEL(rtp,hold)", "CHANNEL(rtcp,txcount)", "CHANNEL(rtcp,rxcount)")
"""Asterisk's channels/pjsip/dialplan_functions.c: 1 when the far end has us on hold; packets of the whole call."""
_LOOK_EVERY_MS: Final = 250


@dataclass(frozen=True, slots=True)
class _Rtp:
    on_hold: bool
    sent: int
    received: int


class AgiLine:
    """See ``agent.domain.ports.Line``. ``told`` are the names of the two variables of ``tell``.

    ``channel_type`` is Asterisk's (``agi_type``); ``packet_ms`` is how much sound one RTP packet of the line carries.
    """

    def __init__(self, channel: AgiChannel, told: tuple[str, str], *, channel_type: str, packet_ms: int) -> None:
        self._channel = channel
        self._told = told
        self.broken: AgiError | None = None
        """The first time-out, or answer that was none: the session is of no more use."""
        self._counts = channel_type == _COUNTING
        self._packet_ms = packet_ms

    def speak(self, language: str) -> None:
        """See ``agent.domain.ports.Line``."""
        with self._translated():
            self._channel.set_language(language)

    def play(self, name: str, keys: str, from_ms: int = 0) -> Played:
        """Play ``bmn/<name>``; what Asterisk counted until then is heard, also when the line hung up during it."""
        before = self._rtp()
        if before is not None and before.on_hold:
            return Played(end=PlayEnd.ON_HOLD, heard_ms=0, packets=Packets(sent=0, received=None))
        began, sent = monotonic(), self._channel.commands_sent
        try:
            with self._translated():
                played = self._channel.stream_file(f"bmn/{name}", keys, from_ms * SAMPLES_PER_MS)
        except LineLost as error:
            asked = self._channel.commands_sent > sent and not isinstance(error.__cause__, AgiRefused)
            nothing = None if asked else Packets(sent=0, received=None)
            return Played(end=PlayEnd.LINE_LOST, heard_ms=0, packets=nothing)
        except LineHungUp:
            # A hang-up during the prompt is answered, with a count. Before it, the session ends without an answer at
            # once; later it ends so when Asterisk itself does.
            lost = self._channel.gone and (monotonic() - began) * 1000 > WHOLE_WITHIN_MS
            return Played(end=PlayEnd.LINE_LOST if lost else PlayEnd.HUNG_UP, heard_ms=0)
        up = not played.failed or self._is_up()
        return self._judged(played, from_ms, up, before, self._rtp())

    def wait_for_key(self, timeout_ms: int) -> str | None:
        """See ``agent.domain.ports.Line``."""
        with self._translated():
            return self._channel.wait_for_digit(timeout_ms)

    def is_on_hold(self) -> bool:
        """See ``agent.domain.ports.Line``."""
        rtp = self._rtp()
        return rtp is not None and rtp.on_hold

    def wait_for_resumption(self, timeout_ms: int) -> bool:
        """See ``agent.domain.ports.Line``; the line is looked at a few times a second."""
        until = monotonic() + timeout_ms / 1000
        while self.is_on_hold():
            left_ms = round((until - monotonic()) * 1000)
            if left_ms <= 0:
                return False
            self.wait_for_key(min(_LOOK_EVERY_MS, left_ms))
        return True

    def tell(self, result: str, choice: str) -> None:
        """Set the two variables; a channel that is gone has no more use for them."""
        with contextlib.suppress(LineHungUp), self._translated():
            self._channel.set_variables(dict(zip(self._told, (result, choice), strict=True)))

    def _judged(self, played: PlayResult, from_ms: int, up: bool, before: _Rtp | None, after: _Rtp | None) -> Played:
        stopped_ms = played.endpos_samples // SAMPLES_PER_MS
        played_ms = max(0, stopped_ms - from_ms)
        packets = _between(before, after)
        sent_ms = played_ms if packets is None else min(played_ms, packets.sent * self._packet_ms)
        if not up:
            end = PlayEnd.HUNG_UP
        elif played.failed:
            end = PlayEnd.NO_SOUND
        elif played.digit is not None:
            end = PlayEnd.KEY
        elif played_ms - sent_ms <= WHOLE_WITHIN_MS and (sent_ms or not played_ms):
            end = PlayEnd.COMPLETE
        else:
            end = PlayEnd.ON_HOLD if after is not None and after.on_hold else PlayEnd.UNSENT
        return Played(
            end=end,
            heard_ms=sent_ms,
            unsent_ms=played_ms - sent_ms,
            stopped_ms=stopped_ms,
            digit=played.digit,
            packets=packets,
        )

    def _rtp(self) -> _Rtp | None:
        """What RTP counts now; None where nothing does."""
        if not self._counts:
            return None
        try:
            with self._translated():
                values = self._channel.read_functions(*_RTP)
        except LineHungUp:
            return None
        if not values or not all(value.isdecimal() for value in values):
            return None
        on_hold, sent, received = map(int, values)
        return _Rtp(on_hold == 1, sent, received)

    def _is_up(self) -> bool:
        """Asterisk answers -1 for a missing file and for a hang-up alike; a hung-up line takes no more keys."""
        try:
            self.wait_for_key(1)
        except LineHungUp:
            return False
        return True

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        """Asterisk's errors, in the words of the domain."""
        try:
            yield
        except AgiHangup as error:
            raise LineHungUp("the consumer hung up") from error
        except (AgiTimeout, AgiProtocolError) as error:
            self.broken = self.broken or error
            raise LineLost(str(error)) from error


def _between(before: _Rtp | None, after: _Rtp | None) -> Packets | None:
    """The packets of the time between; None when that cannot be told, for a count that has begun from 0 tells nothing.

    The far end counts from 0 whenever it begins a stream of its own, as phones do after a hold.
    """
    if before is None or after is None or after.sent < before.sent:
        return None
    received = after.received - before.received
    return Packets(sent=after.sent - before.sent, received=received if received >= 0 else None)
