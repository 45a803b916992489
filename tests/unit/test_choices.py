"""What answers add up to: of one call, and of one number over all its calls."""

from __future__ import annotations

from datetime import timedelta

import pytest

from agent.domain.call_story import CallStory, NoticeResult
from agent.domain.choice import Answer, Charities, Scope, Source, Wish
from agent.domain.journal_events import EventType, JsonValue, Record
from agent.domain.model import Blocked, Sector
from agent.domain.standing import standing
from tests.unit.builders import NOW

NUMBER = "+31612345678"


class Records:
    """Records of one number, numbered as they come."""

    def __init__(self) -> None:
        self.all: list[Record] = []

    def add(self, kind: EventType, **body: JsonValue) -> int:
        """Any record; returns its sequence number."""
        seq = len(self.all) + 1
        self.all.append(Record(seq=seq, at=NOW + timedelta(seconds=seq), type=kind, body={"number": NUMBER, **body}))
        return seq

    def screened(self, call: str = "c1", **changes: JsonValue) -> int:
        """A call that was allowed, unless ``changes`` says otherwise."""
        body: dict[str, JsonValue] = {
            "call": call,
            "campaign": "energy",
            "seller": "acme",
            "agent": "7",
            "profile": "nl-bmnr",
            "verdict": "allow",
            "notice": "required",
            "uniqueid": "1.1",
        }
        return self.add(EventType.CALL_SCREENED, **{**body, **changes})

    def chose(
        self, answer: Answer, source: Source, call: str = "c1", seller: str = "acme", sector: str = "energy"
    ) -> int:
        """An answer."""
        return self.add(
            EventType.CHOICE_RECORDED,
            call=call,
            seller=seller,
            profile="nl-bmnr",
            sector=sector,
            source=source,
            answer=answer,
        )

    def undone(self, seq: int, call: str = "c1") -> int:
        """A key taken back."""
        body: dict[str, JsonValue] = {"call": call, "seller": "acme", "profile": "nl-bmnr", "undoes": seq}
        return self.add(EventType.CHOICE_UNDONE, **body)

    def listed(self, kind: EventType, seller: str = "acme") -> int:
        """An opt-out by the command line, added or removed."""
        return self.add(kind, seller=seller)

    def in_force(self) -> tuple[set[str], set[Blocked]]:
        """Sellers objected to, and what registrations block."""
        stands = standing(self.all)
        return (
            {seller for seller, holds in stands.optouts.items() if holds is not None},
            {blocked for (_, blocked), holds in stands.registrations.items() if holds},
        )


AGENT, CONSUMER = Source.AGENT, Source.CONSUMER
A = Answer
SECTOR_AND_CHARITIES = {Blocked.ENERGY, Blocked.CHARITIES}

BLOCKS = [
    ([A.REGISTER], {Blocked.ALL}),
    ([A.REGISTER, A.EVERYTHING], {Blocked.ALL}),
    ([A.REGISTER, A.EVERYTHING, A.CHARITIES_TOO], {Blocked.ALL}),
    ([A.REGISTER, A.EVERYTHING, A.NOT_CHARITIES], {Blocked.ALL_EXCEPT_CHARITIES}),
    ([A.REGISTER, A.EVERYTHING, A.NOT_ANSWERED], {Blocked.ALL}),
    ([A.REGISTER, A.EVERYTHING, A.HUNG_UP], {Blocked.ALL}),
    ([A.REGISTER, A.THIS_SECTOR], SECTOR_AND_CHARITIES),
    ([A.REGISTER, A.THIS_SECTOR, A.CHARITIES_TOO], SECTOR_AND_CHARITIES),
    ([A.REGISTER, A.THIS_SECTOR, A.NOT_CHARITIES], {Blocked.ENERGY}),
    ([A.REGISTER, A.NOT_ANSWERED, A.NOT_CHARITIES], {Blocked.ALL_EXCEPT_CHARITIES}),
    ([A.SELLER_OPTOUT], set()),
    ([A.DECLINED], set()),
    ([A.NOT_ANSWERED], set()),
    ([A.REGISTER, A.EVERYTHING, A.DECLINED], {Blocked.ALL}),
    ([A.REGISTER, A.EVERYTHING, A.CHARITIES_TOO, A.SELLER_OPTOUT], set()),
]


@pytest.mark.parametrize(("answers", "blocked"), BLOCKS)
def test_what_a_consumer_said_blocks(answers: list[Answer], blocked: set[Blocked]) -> None:
    """What was not answered covers charities for our own dialling; a menu answer begins anew."""
    records = Records()
    for answer in answers:
        records.chose(answer, CONSUMER)
    assert records.in_force()[1] == blocked


@pytest.mark.parametrize(
    ("keys", "optout", "blocked", "offered"),
    [
        ([A.OFFERED], False, set(), True),
        ([A.DECLINED], False, set(), True),
        ([A.VOICEMAIL], False, set(), False),
        ([A.SELLER_OPTOUT], True, set(), True),
        ([A.REGISTER_WITH_CHARITIES], False, {Blocked.ALL}, True),
        ([A.REGISTER_WITHOUT_CHARITIES], False, {Blocked.ALL_EXCEPT_CHARITIES}, True),
        ([A.REGISTER_WITH_CHARITIES, A.REGISTER_WITHOUT_CHARITIES], False, {Blocked.ALL_EXCEPT_CHARITIES}, True),
        ([A.REGISTER_WITH_CHARITIES, A.SELLER_OPTOUT], True, {Blocked.ALL}, True),
        ([A.REGISTER_WITH_CHARITIES, A.DECLINED], False, {Blocked.ALL}, True),
        ([], False, set(), False),
    ],
)
def test_what_an_agent_logged(keys: list[Answer], optout: bool, blocked: set[Blocked], offered: bool) -> None:
    """Keys add up; of two answers to one question the later counts; ``declined`` takes nothing away."""
    records = Records()
    records.screened()
    for key in keys:
        records.chose(key, AGENT)
    assert records.in_force() == ({"acme"} if optout else set(), blocked)
    story = CallStory.of(records.all)
    assert story is not None
    assert story.choices.offered is offered
    assert story.choices.voicemail is (A.VOICEMAIL in keys)


def test_undo_brings_back_what_was_before() -> None:
    """The last key is taken back, then the one before it; the records stay."""
    records = Records()
    first = records.chose(A.REGISTER_WITH_CHARITIES, AGENT)
    second = records.chose(A.REGISTER_WITHOUT_CHARITIES, AGENT)
    records.undone(second)
    assert records.in_force()[1] == {Blocked.ALL}
    records.undone(first)
    assert records.in_force() == (set(), set())
    assert standing(records.all).registrations == {
        ("nl-bmnr", Blocked.ALL): False,
        ("nl-bmnr", Blocked.ALL_EXCEPT_CHARITIES): False,
    }


@pytest.mark.parametrize(
    ("agent", "consumer", "optout", "blocked"),
    [
        (A.REGISTER_WITHOUT_CHARITIES, [A.REGISTER, A.EVERYTHING, A.CHARITIES_TOO], False, {Blocked.ALL}),
        (A.REGISTER_WITH_CHARITIES, [A.REGISTER, A.EVERYTHING, A.NOT_CHARITIES], False, {Blocked.ALL}),
        (A.REGISTER_WITHOUT_CHARITIES, [A.REGISTER], False, {Blocked.ALL}),
        (A.REGISTER_WITHOUT_CHARITIES, [A.REGISTER, A.THIS_SECTOR, A.NOT_CHARITIES], False, {Blocked.ENERGY}),
        (A.REGISTER_WITH_CHARITIES, [A.DECLINED], False, {Blocked.ALL}),
        (A.DECLINED, [A.SELLER_OPTOUT], True, set()),
        (A.SELLER_OPTOUT, [A.DECLINED], True, set()),
        (A.SELLER_OPTOUT, [A.REGISTER, A.EVERYTHING, A.CHARITIES_TOO], True, {Blocked.ALL}),
    ],
)
def test_the_wider_of_two_wishes_holds(
    agent: Answer, consumer: list[Answer], optout: bool, blocked: set[Blocked]
) -> None:
    """What the agent logged and what the consumer keyed are both kept; everything that either asked is in force."""
    records = Records()
    records.chose(agent, AGENT)
    for answer in consumer:
        records.chose(answer, CONSUMER)
    optouts, blocks = records.in_force()
    assert optouts == ({"acme"} if optout else set())
    assert blocks >= blocked


def test_one_call_takes_nothing_from_another() -> None:
    """An undone key, or a consumer who declines, leaves what another call or the command line holds up."""
    records = Records()
    records.chose(A.SELLER_OPTOUT, AGENT, call="c1")
    records.chose(A.REGISTER_WITH_CHARITIES, AGENT, call="c1")
    second = records.chose(A.SELLER_OPTOUT, AGENT, call="c2")
    records.undone(second, call="c2")
    records.chose(A.DECLINED, CONSUMER, call="c3")
    assert records.in_force() == ({"acme"}, {Blocked.ALL})


def test_which_record_holds_an_objection_up() -> None:
    """The newest that was not undone, corrected or removed; none when all were."""
    records = Records()

    def holds() -> int | None:
        record = standing(records.all).optouts["acme"]
        return None if record is None else record.seq

    letter = records.listed(EventType.OPTOUT_ADDED)
    first, second = records.chose(A.SELLER_OPTOUT, AGENT), records.chose(A.SELLER_OPTOUT, AGENT)
    assert holds() == second
    records.undone(second)
    assert holds() == first
    consumer = records.chose(A.REGISTER_AND_SELLER_OPTOUT, CONSUMER)
    assert holds() == consumer
    records.chose(A.REGISTER, CONSUMER)
    assert holds() == first, "corrected: the objection of the consumer is gone, that of the agent is not"
    records.undone(first)
    assert holds() == letter
    records.listed(EventType.OPTOUT_REMOVED)
    assert holds() is None
    records.chose(A.HUNG_UP, CONSUMER)
    assert holds() is None, "nothing but an objection brings one back"


def test_a_removed_optout_ends_every_objection_until_the_next() -> None:
    """By the command line, with a reason; other sellers and registrations stay; a new objection counts again."""
    records = Records()
    records.listed(EventType.OPTOUT_ADDED)
    records.chose(A.SELLER_OPTOUT, CONSUMER)
    records.chose(A.REGISTER_WITH_CHARITIES, AGENT)
    records.chose(A.SELLER_OPTOUT, CONSUMER, call="c2", seller="hart")
    records.listed(EventType.OPTOUT_REMOVED)
    assert records.in_force() == ({"hart"}, {Blocked.ALL})
    records.chose(A.SELLER_OPTOUT, CONSUMER)
    assert records.in_force()[0] == {"acme", "hart"}, "said again, in the very call that was lifted"


@pytest.mark.parametrize(
    ("wish", "word"),
    [
        (Wish(), "none"),
        (Wish(seller_optout=True), "seller_optout"),
        (Wish(register=True), "register_charities_not_answered"),
        (Wish(register=True, charities=Charities.YES, scope=Scope.EVERYTHING), "register_with_charities"),
        (Wish(register=True, charities=Charities.NO, seller_optout=True), "seller_optout+register_without_charities"),
        (Wish(register=True, charities=Charities.NO, scope=Scope.THIS_SECTOR), "register_sector_without_charities"),
    ],
)
def test_the_word_for_a_wish(wish: Wish, word: str) -> None:
    """As the dialplan gets it."""
    assert wish.word == word


def test_for_the_registrar_an_answer_beats_none() -> None:
    """Never an answer that nobody gave, and never the narrower of two."""
    said_no = Wish(register=True, scope=Scope.THIS_SECTOR, charities=Charities.NO)
    assert (Wish(register=True) | said_no) == said_no
    said_yes = Wish(register=True, scope=Scope.EVERYTHING, charities=Charities.YES)
    assert (said_no | said_yes) == said_yes
    assert (Wish(charities=Charities.YES, scope=Scope.EVERYTHING) | said_no) == said_no, (
        "who does not register says nothing"
    )
    assert (Wish() | Wish()) == Wish()


def test_every_sector_can_be_blocked() -> None:
    """Sectors have the same names in both vocabularies."""
    for sector in Sector:
        wish = Wish(register=True, scope=Scope.THIS_SECTOR, charities=Charities.NO)
        assert wish.blocked(sector) == {Blocked(sector)}


def test_the_story_of_a_call() -> None:
    """Screened, heard in part, heard in full, finished; what was blocked has no number to register."""
    records = Records()
    records.screened()
    for result in ("partial", "heard", "not_played"):
        records.add(EventType.NOTICE_PLAYED, call="c1", result=result)
    records.add(EventType.CALL_FINISHED, call="c1")
    story = CallStory.of(records.all)
    assert story is not None
    assert (str(story.number), story.notice_result) == ("+316*****678", NoticeResult.HEARD)
    assert story.finished is not None
    for changes in ({"verdict": "block"}, {"number": "112"}):
        other = Records()
        other.screened(**changes)
        blocked = CallStory.of(other.all)
        assert blocked is not None
        assert blocked.number is None
    assert CallStory.of(records.all[1:]) is None
