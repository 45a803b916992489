"""A journal of many years, made in a moment: every record at the time that a test wants."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest

from agent.bootstrap import Application
from agent.domain.choice import Answer, Source
from agent.domain.deadline import Deadline
from agent.domain.journal_events import Event, EventType, JsonValue

NOW: Final = datetime.now(UTC)
AGENT_ANSWERS: Final = (
    *(Answer.REGISTER_WITH_CHARITIES, Answer.REGISTER_WITHOUT_CHARITIES),
    *(Answer.SELLER_OPTOUT, Answer.OFFERED, Answer.DECLINED),
)
CONSUMER_ANSWERS: Final = (
    *(Answer.REGISTER, Answer.SELLER_OPTOUT, Answer.REGISTER_AND_SELLER_OPTOUT),
    *(Answer.THIS_SECTOR, Answer.EVERYTHING, Answer.NOT_CHARITIES, Answer.CHARITIES_TOO),
)


class AgedJournal:
    """Appends events at any time."""

    def __init__(self, app: Application, monkeypatch: pytest.MonkeyPatch) -> None:
        self.app = app
        self._monkeypatch = monkeypatch
        self._calls = 0

    @contextmanager
    def at(self, moment: datetime) -> Iterator[None]:
        """The journal's clock stands at ``moment``."""
        with self._monkeypatch.context() as patch:
            patch.setattr("agent.adapters.journal_writer.time.time_ns", lambda: int(moment.timestamp() * 1e9))
            yield

    def append(self, moment: datetime, event_type: EventType, **body: JsonValue) -> int:
        """One record; fields that are not given are null."""
        with self.at(moment):
            (seq,) = self.app.journal.append([Event.of(event_type, body)], Deadline.after_ms(5_000))
        return seq

    def call(self, moment: datetime, number: str, **body: JsonValue) -> str:
        """A call that was allowed; returns its id."""
        self._calls += 1
        call = f"call-{self._calls}"
        about: dict[str, JsonValue] = {"call": call, "number": number, "campaign": "energy", "seller": "acme"}
        about |= {"agent": "anna", "uniqueid": f"u{self._calls}", "profile": "nl-bmnr"}
        said: dict[str, JsonValue] = {"verdict": "allow", "reason": "not_registered", "rule": "otherwise_allowed"}
        self.append(
            moment,
            EventType.CALL_SCREENED,
            **{**about, **said, "dialled": number, "notice": "required", "source": "fastagi", **body},
        )
        return call

    def finish(self, moment: datetime, number: str, call: str, **body: JsonValue) -> None:
        """Its end."""
        about: dict[str, JsonValue] = {"call": call, "number": number, "campaign": "energy", "seller": "acme"}
        about |= {"agent": "anna", "uniqueid": call, "dialstatus": "ANSWER", "rang": True, "answered": True}
        about |= {"answered_s": 31, "cause": 16, "ended_by": "agent", "offered": True, "voicemail": False}
        self.append(moment, EventType.CALL_FINISHED, **{**about, "notice": "heard", "choice": "none", **body})

    def say(self, moment: datetime, number: str, call: str, source: Source, answer: Answer) -> int:
        """An answer in a call."""
        about = {"call": call, "number": number, "campaign": "energy", "seller": "acme", "agent": "anna"}
        rest = {"uniqueid": call, "profile": "nl-bmnr", "sector": "energy", "source": source, "answer": answer}
        return self.append(moment, EventType.CHOICE_RECORDED, **about, **rest)

    def undo(self, moment: datetime, number: str, call: str, seq: int, answer: Answer) -> None:
        """The agent takes a key back."""
        about = {"call": call, "number": number, "campaign": "energy", "seller": "acme", "agent": "anna"}
        rest = {"uniqueid": call, "profile": "nl-bmnr", "sector": "energy", "source": Source.AGENT}
        self.append(moment, EventType.CHOICE_UNDONE, **about, **rest, undoes=seq, answer=answer)

    def live_through(self, numbers: list[str], years: int, steps: int, chance: random.Random) -> None:
        """Random lives of ``numbers``: calls, keys, objections and customers, put down and taken back."""
        moments = sorted(NOW - timedelta(days=chance.uniform(0.01, 365.0 * years)) for _ in range(steps))
        for moment in moments:
            number, seller = chance.choice(numbers), chance.choice(("acme", "bank"))
            list_entry = {"seller": seller, "number": number, "by": "tests"}
            match chance.randrange(9):
                case 0:
                    self.append(moment, EventType.OPTOUT_ADDED, **list_entry, source="letter")
                case 1 | 2:
                    self.append(moment, EventType.OPTOUT_REMOVED, **list_entry, reason="asked")
                case 3:
                    sale = {"product_group": "energy-contract", "sold_on": "2014-01-05", "product": "Stroom"}
                    self.append(moment, EventType.CUSTOMER_ADDED, **list_entry, **sale, source="test")
                case 4:
                    group = {"product_group": "energy-contract", "reason": "left"}
                    self.append(moment, EventType.CUSTOMER_REMOVED, **list_entry, **group)
                case _:
                    self._live_call(moment, number, chance)

    def _live_call(self, moment: datetime, number: str, chance: random.Random) -> None:
        call = self.call(moment, number)
        keys: list[tuple[int, Answer]] = []
        for place in range(chance.randrange(4)):
            here = moment + timedelta(seconds=10 * (place + 1))
            if keys and chance.random() < 0.5:
                self.undo(here, number, call, *keys.pop())
            elif chance.random() < 0.5:
                answer = chance.choice(AGENT_ANSWERS)
                keys.append((self.say(here, number, call, Source.AGENT, answer), answer))
            else:
                self.say(here, number, call, Source.CONSUMER, chance.choice(CONSUMER_ANSWERS))
        self.finish(moment + timedelta(seconds=60), number, call)
        if chance.random() < 0.3:
            told = {"batch": "b1", "action": "register", "scope": "everything", "charities": "yes"}
            about = {"call": call, "number": number, "campaign": "energy", "seller": "acme", "profile": "nl-bmnr"}
            self.append(moment + timedelta(hours=1), EventType.REGISTRATION_EXPORTED, **about, **told)
