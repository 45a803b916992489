"""A consumer's line over AGI."""

from __future__ import annotations

import contextlib
from typing import Final

from agent.adapters.agi_channel import AgiChannel
from agent.adapters.agi_values import AgiHangup
from agent.domain.errors import LineHungUp
from agent.domain.ports import Played, PlayEnd

SAMPLES_PER_MS: Final = 8
"""The consumer's prompts are 8 kHz files only, for ``endpos`` counts at the rate of the file that Asterisk picked."""


class AgiLine:
    """See ``agent.domain.ports.Line``. ``told`` are the names of the two variables of ``tell``."""

    def __init__(self, channel: AgiChannel, told: tuple[str, str]) -> None:
        self._channel = channel
        self._told = told

    def speak(self, language: str) -> None:
        """See ``agent.domain.ports.Line``."""
        try:
            self._channel.set_language(language)
        except AgiHangup as error:
            raise LineHungUp("the consumer hung up") from error

    def play(self, name: str, keys: str) -> Played:
        """Play ``bmn/<name>``; what Asterisk counted until then is heard, also when the line hung up during it."""
        try:
            played = self._channel.stream_file(f"bmn/{name}", keys)
        except AgiHangup:
            return Played(end=PlayEnd.HUNG_UP, heard_ms=0)
        heard_ms = played.endpos_samples // SAMPLES_PER_MS
        if played.digit is not None:
            return Played(end=PlayEnd.KEY, heard_ms=heard_ms, digit=played.digit)
        if not played.failed:
            return Played(end=PlayEnd.COMPLETE, heard_ms=heard_ms)
        return Played(end=PlayEnd.NO_SOUND if self._is_up() else PlayEnd.HUNG_UP, heard_ms=heard_ms)

    def wait_for_key(self, timeout_ms: int) -> str | None:
        """See ``agent.domain.ports.Line``."""
        try:
            return self._channel.wait_for_digit(timeout_ms)
        except AgiHangup as error:
            raise LineHungUp("the consumer hung up") from error

    def tell(self, result: str, choice: str) -> None:
        """Set the two variables; a channel that is gone has no more use for them."""
        with contextlib.suppress(AgiHangup):
            self._channel.set_variables(dict(zip(self._told, (result, choice), strict=True)))

    def _is_up(self) -> bool:
        """Asterisk answers -1 for a missing file and for a hang-up alike; a hung-up line takes no more keys."""
        try:
            self._channel.wait_for_digit(1)
        except AgiHangup:
            return False
        return True
