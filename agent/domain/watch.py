"""What happens in the service, for whoever counts it. ``Watch`` itself counts nothing; ``agent.metrics`` does."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from agent.domain.choice import Source
from agent.domain.condition import Loss
from agent.domain.errors import LookupUnavailable
from agent.domain.model import Reason


class Stage(StrEnum):
    """Where the time of one screening goes."""

    QUEUE = "queue"
    """From the arrival of the request to the beginning of its handler."""
    LOOKUP = "lookup"
    """The facts: one round trip to Redis."""
    DECISION = "decision"
    JOURNAL = "journal"
    """Until the verdict is on disk."""
    ANSWER = "answer"
    """Until Asterisk has confirmed it."""
    TOTAL = "total"
    """From the arrival of the request to Asterisk's confirmation."""


class Abort(StrEnum):
    """Why an AGI session broke off."""

    HANG_UP = "hang-up"
    TIME_OUT = "time-out"
    PROTOCOL = "protocol"


class Watch:
    """Told what happens, on the thread on which it happens. No method takes long or raises."""

    def screened(self, reason: Reason, campaign: str | None, *, delivered: bool) -> None:
        """One verdict; ``campaign`` is None unless it is configured, ``delivered`` says whether Asterisk has it."""

    def timed(self, seconds: Mapping[Stage, float]) -> None:
        """Where the time of one screening went that was decided by the rules."""

    def finished(self, campaign: str, *, offered: bool) -> None:
        """A conversation that called for an offer is over."""

    def dialogue_began(self) -> None:
        """A consumer is about to hear a notice."""

    def dialogue_ended(self) -> None:
        """His notice is over."""

    def notices_played(self, result: StrEnum, ended: StrEnum | None, count: int = 1) -> None:
        """What became of notices that were due."""

    def keys_awaited(self, *, came: bool) -> None:
        """A consumer pressed keys in a notice, or let the time of a question pass without any."""

    def chosen(self, source: Source, answer: str) -> None:
        """One answer is on disk: an ``Answer``, or the key ``undo``."""

    def key_rejected(self, rejection: StrEnum) -> None:
        """One key of an agent was not recorded."""

    def session_began(self, script: str) -> None:
        """An AGI session of a script that exists was handed to its handler."""

    def session_ended(self, script: str) -> None:
        """Its handler is done."""

    def overloaded(self, script: str) -> None:
        """A request waited longer than its deadline, and was not served."""

    def request_failed(self, script: str) -> None:
        """A handler met an error that nobody thought of."""

    def session_aborted(self, why: Abort) -> None:
        """An AGI session broke off."""

    def peer_refused(self) -> None:
        """A connection from outside the allow-list was closed."""

    def worker_stuck(self) -> None:
        """A session takes much longer than it ever may; another thread took its worker's place."""

    def accept_failed(self) -> None:
        """No connection could be taken."""

    def committed(self, records: int, seconds: float) -> None:
        """So many journal records reached the disk in one transaction, which took that long."""

    def commit_failed(self) -> None:
        """A transaction of the journal failed; nothing of it is known to be on disk."""

    def records_lost(self, records: int) -> None:
        """So many records that were promised for later will not reach the journal."""

    def calls_closed(self, calls: int) -> None:
        """So many allowed calls never got an end, and their books were closed without one."""

    def redis_connected(self) -> None:
        """A connection for lookups was opened."""

    def redis_fell_silent(self) -> None:
        """A kept connection said nothing while a fresh one was answered."""

    def redis_lost(self, loss: Loss) -> None:
        """Redis was found to have lost a part of what it should hold."""

    def register_repaired(self, *, done: bool) -> None:
        """An attempt to load a lost register again is over; ``done`` says whether one is in force."""

    def redis_failed(self, error: LookupUnavailable) -> None:
        """Redis could not be asked, or what it answered cannot be used."""
