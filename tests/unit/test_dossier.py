"""Reading journal records as a dossier: the three questions of a supervisor, and what is not known."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum

import pytest

from agent.adapters.evidence_page import LANGUAGES, words_of
from agent.domain.call_story import NoticeResult
from agent.domain.choice import Answer, Question, Source
from agent.domain.dossier import Attempt, Dossier, NotDelivered, RegisterAnswer, UnknownKind, WindowAnswer
from agent.domain.dossier_reading import Period, read_dossier
from agent.domain.dossier_unknowns import Surroundings
from agent.domain.journal_events import FIELDS, EventType, JsonValue, Record
from agent.domain.model import DeliveryFailure, Notice, Purpose, Reason, Sector, Verdict
from agent.domain.profile import NL_BMNR, PROFILES
from agent.evidence import days
from agent.finishing import EndedBy
from agent.notices import NoticeEnd, Proof
from tests.unit.builders import NOW, NUMBER, a_campaign

CAMPAIGNS = {
    "energy": a_campaign(),
    "finance": a_campaign(sector=Sector.FINANCE, key="finance"),
    "charity": a_campaign(Purpose.CHARITY, key="charity"),
}
GENERATION = "20261120T080000-aaaa"
GENERAL = {
    *(UnknownKind.BEFORE_JOURNAL, UnknownKind.ANSWERED, UnknownKind.OFFER, UnknownKind.HEARD, UnknownKind.REDIS),
    *(UnknownKind.CLOCK, UnknownKind.OUTSIDE, UnknownKind.SPELLING, UnknownKind.REGISTER_FILE),
}


class Told:
    """Records of one number, put down one after the other."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def add(self, event_type: EventType, at: datetime = NOW, **body: JsonValue) -> int:
        """The next record; fields that are not given are null."""
        empty: dict[str, JsonValue] = dict.fromkeys(FIELDS[event_type])
        record = Record(len(self.records) + 1, at, event_type, {**empty, "number": NUMBER.e164, **body})
        self.records.append(record)
        return record.seq

    def call(self, reason: Reason, at: datetime = NOW, call: str = "c1", **body: JsonValue) -> int:
        """A screening."""
        told: dict[str, JsonValue] = {"call": call, "dialled": "0612345678", "campaign": "energy", "seller": "acme"}
        told |= {"agent": "anna", "profile": "nl-bmnr", "verdict": reason.verdict, "reason": reason, "rule": "a_rule"}
        told |= {"notice": "required", "source": "fastagi", "uniqueid": "u1", "generation": None}
        return self.add(EventType.CALL_SCREENED, at, **{**told, **body})

    def choice(self, answer: Answer, source: Source = Source.AGENT, at: datetime = NOW, call: str = "c1") -> int:
        """An answer."""
        about: dict[str, JsonValue] = {"call": call, "seller": "acme", "profile": "nl-bmnr", "sector": "energy"}
        return self.add(EventType.CHOICE_RECORDED, at, **about, source=source, answer=answer)

    def dossier(self, loads: Iterable[Record] = (), period: Period | None = None, **around: int) -> Dossier:
        """All of it."""
        here = {"purged": 0, "scrubs": 0, "reveals": 0, **around}
        surroundings = Surroundings(journal="j", upto=99, begins=NOW - timedelta(days=9), **here)
        whole = period or Period(since=NOW - timedelta(days=1), until=NOW + timedelta(days=1))
        known = {str(load.body["generation"]): load for load in loads}
        return read_dossier(NUMBER, whole, PROFILES, NL_BMNR, CAMPAIGNS, self.records, known, surroundings)

    def attempt(self, *loads: Record) -> Attempt:
        """The only call."""
        (attempt,) = self.dossier(loads).attempts
        return attempt


def a_load(as_of: date, loaded_at: datetime = NOW, generation: str = GENERATION, base: str | None = None) -> Record:
    """The record of a load of the register."""
    body: dict[str, JsonValue] = {"generation": generation, "profile": "nl-bmnr", "as_of": as_of.isoformat()}
    body |= {"loaded_at": loaded_at.isoformat(), "count": 10, "sha256": "ab" * 32, "files": [{"name": "r.csv"}]}
    return Record(50 if base is None else 51, loaded_at, EventType.REGISTER_LOADED, {**body, "base": base})


def kinds(dossier: Dossier) -> set[UnknownKind]:
    """What is not known, beside what never is."""
    found = {item.kind for item in dossier.unknown}
    assert found >= GENERAL
    return found - GENERAL


@pytest.mark.parametrize(
    ("reason", "answer"),
    [
        *((reason, RegisterAnswer.NOT_ASKED) for reason in Reason if "register" not in reason),
        (Reason.NOT_REGISTERED, RegisterAnswer.NOT_LISTED),
        (Reason.REGISTERED, RegisterAnswer.LISTED),
        (Reason.REGISTERED_SECTOR, RegisterAnswer.LISTED),
        (Reason.REGISTERED_CHARITIES, RegisterAnswer.LISTED),
        (Reason.REGISTER_MISSING, RegisterAnswer.NOT_ASKED),
        (Reason.REGISTER_STALE, RegisterAnswer.NOT_ASKED),
    ],
)
def test_was_the_number_registered(reason: Reason, answer: RegisterAnswer) -> None:
    """As far as the verdict says it, and no further."""
    told = Told()
    told.call(reason)
    assert told.attempt().registered is answer


def test_an_own_registration_is_told_apart_from_the_register() -> None:
    """One that was in force before the call; not one that was undone, nor one that came after."""
    told = Told()
    told.call(Reason.NOT_REGISTERED, NOW - timedelta(days=5), "c0")
    told.choice(Answer.REGISTER_WITH_CHARITIES, at=NOW - timedelta(days=5), call="c0")
    told.call(Reason.REGISTERED)
    assert told.attempt().registered is RegisterAnswer.OWN_REGISTRATION
    undone = Told()
    seq = undone.choice(Answer.REGISTER_WITH_CHARITIES, at=NOW - timedelta(days=5), call="c0")
    about: dict[str, JsonValue] = {"call": "c0", "seller": "acme", "profile": "nl-bmnr", "source": Source.AGENT}
    undone.add(EventType.CHOICE_UNDONE, NOW - timedelta(days=5), **about, undoes=seq, answer="x")
    undone.call(Reason.REGISTERED)
    undone.choice(Answer.REGISTER_WITH_CHARITIES)
    assert undone.attempt().registered is RegisterAnswer.LISTED


ALL = (Answer.REGISTER_WITH_CHARITIES,)
BUT_CHARITIES = (Answer.REGISTER_WITHOUT_CHARITIES,)
ENERGY = (Answer.REGISTER, Answer.THIS_SECTOR, Answer.NOT_CHARITIES)


@pytest.mark.parametrize(
    ("said", "campaign", "reason", "own"),
    [
        (ALL, "energy", Reason.REGISTERED, True),
        (ALL, "charity", Reason.REGISTERED, True),
        (ALL, "of last year", Reason.REGISTERED, True),
        (ALL, "finance", Reason.REGISTERED_SECTOR, False),
        (BUT_CHARITIES, "energy", Reason.REGISTERED, True),
        (BUT_CHARITIES, "charity", Reason.REGISTERED, False),
        (BUT_CHARITIES, "charity", Reason.REGISTERED_CHARITIES, False),
        (BUT_CHARITIES, "of last year", Reason.REGISTERED, False),
        (ENERGY, "energy", Reason.REGISTERED_SECTOR, True),
        (ENERGY, "energy", Reason.REGISTERED, False),
        (ENERGY, "finance", Reason.REGISTERED_SECTOR, False),
        (ENERGY, "charity", Reason.REGISTERED_CHARITIES, False),
    ],
)
def test_an_own_registration_counts_for_what_it_blocks(
    said: tuple[Answer, ...], campaign: str, reason: Reason, own: bool
) -> None:
    """Where it does not give the reason by itself, the load had an entry."""
    told = Told()
    for answer in said:
        source = Source.AGENT if said in (ALL, BUT_CHARITIES) else Source.CONSUMER
        told.choice(answer, source, at=NOW - timedelta(days=5), call="c0")
    told.call(reason, campaign=campaign)
    assert told.attempt().registered is (RegisterAnswer.OWN_REGISTRATION if own else RegisterAnswer.LISTED)
    told.records[-1].body["profile"] = "another"  # type: ignore[index]
    assert told.attempt().registered is RegisterAnswer.LISTED


@pytest.mark.parametrize(
    ("as_of", "window"),
    [
        (NOW.date() - timedelta(days=27), WindowAnswer.INSIDE),
        (NOW.date() - timedelta(days=28), WindowAnswer.OUTSIDE),
    ],
)
def test_was_the_call_inside_the_processing_window(as_of: date, window: WindowAnswer) -> None:
    """28 days from the start of the file's day in Amsterdam; with the load's own record beside it."""
    told = Told()
    told.call(Reason.NOT_REGISTERED, generation=GENERATION)
    load = a_load(as_of, NOW - timedelta(days=2))
    attempt = told.attempt(load)
    assert attempt.window is window
    assert attempt.load is not None
    assert (attempt.load.sha256, attempt.load.as_of, attempt.load.record) == ("ab" * 32, as_of, 50)
    assert attempt.load.valid_until - timedelta(days=28) == datetime(
        as_of.year, as_of.month, as_of.day, tzinfo=attempt.load.valid_until.tzinfo
    )
    assert told.dossier([load]).records == (1, 50)


def test_a_load_that_is_not_on_record_is_not_known() -> None:
    """Neither is one that changes were applied to."""
    told = Told()
    told.call(Reason.NOT_REGISTERED, generation=GENERATION)
    assert told.attempt().window is WindowAnswer.UNKNOWN
    assert UnknownKind.LOAD_MISSING in kinds(told.dossier())
    changes = a_load(NOW.date(), base="whole")
    assert UnknownKind.LOAD_MISSING in kinds(told.dossier([changes]))
    whole = a_load(NOW.date(), generation="whole")
    dossier = told.dossier([changes, whole])
    assert UnknownKind.LOAD_MISSING not in kinds(dossier)
    assert dossier.records == (1, 50, 51)
    missing = Told()
    missing.call(Reason.REGISTER_MISSING)
    missing.call(Reason.SELLER_OPTOUT, call="c2")
    assert [one.window for one in missing.dossier().attempts] == [WindowAnswer.NO_REGISTER, WindowAnswer.NOT_NEEDED]


def test_an_exemption_is_shown_with_the_customer_record_of_that_time() -> None:
    """Not with the one that came after, and not when it was gone again."""
    told = Told()
    sale: dict[str, JsonValue] = {"seller": "acme", "product_group": "energy", "product": "Stroom", "source": "crm"}
    long_ago = NOW - timedelta(days=100)
    first = told.add(EventType.CUSTOMER_ADDED, long_ago, **sale, sold_on="2026-01-01", evidence="order 7")
    told.add(EventType.CUSTOMER_ADDED, long_ago, **{**sale, "seller": "other"}, sold_on="2026-01-01")
    told.call(Reason.EXEMPT_CUSTOMER)
    told.add(EventType.CUSTOMER_ADDED, NOW, **sale, sold_on="2026-02-02")
    told.add(EventType.CUSTOMER_REMOVED, NOW, seller="acme", product_group="energy", reason="left", by="x")
    told.call(Reason.EXEMPT_CUSTOMER, call="c2")
    before, after = told.dossier().attempts
    (customer,) = before.customers
    assert (customer.record, customer.evidence, customer.sold_on) == (first, "order 7", date(2026, 1, 1))
    assert after.customers == ()
    missing = [one.call for one in told.dossier().unknown if one.kind is UnknownKind.CUSTOMER_MISSING]
    assert missing == ["c2"]
    assert [one.record for one in told.dossier().entries] == [1, 2, 4, 5]


def test_two_groups_that_may_exempt_are_both_shown() -> None:
    """The verdict does not name its group."""
    told = Told()
    for group in ("energy", "solar"):
        told.add(EventType.CUSTOMER_ADDED, seller="acme", product_group=group, product="p", sold_on="2026-01-01")
    told.call(Reason.EXEMPT_CUSTOMER)
    assert len(told.attempt().customers) == 2
    assert UnknownKind.CUSTOMER_AMBIGUOUS in kinds(told.dossier())


def test_a_call_without_its_end_or_its_notice_says_so() -> None:
    """And what did happen is told: offer, notice with its milliseconds, choices, and one that was undone."""
    told = Told()
    told.call(Reason.NOT_REGISTERED)
    assert kinds(told.dossier()) == {UnknownKind.NOT_FINISHED}
    about: dict[str, JsonValue] = {"call": "c1", "seller": "acme"}
    ending: dict[str, JsonValue] = {"dialstatus": "ANSWER", "rang": True, "answered": True, "answered_s": 40}
    told.add(EventType.CALL_FINISHED, NOW, **about, **ending, ended_by="agent", notice="to_follow", cause=16)
    assert kinds(told.dossier()) == {UnknownKind.NOTICE_NOT_FOLLOWED}
    played: dict[str, JsonValue] = {"prompt": "notice-acme", "result": "partial", "ended": "hung_up"}
    counted: dict[str, JsonValue] = {"heard_ms": 4200, "long_ms": 9000, "proof": "rtp", "sent": 210}
    told.add(EventType.NOTICE_PLAYED, NOW, **about, **played, **counted, sha256="cd" * 32)
    offered = told.choice(Answer.OFFERED)
    wrong = told.choice(Answer.SELLER_OPTOUT)
    told.add(EventType.CHOICE_UNDONE, NOW, **about, profile="nl-bmnr", undoes=wrong, answer="seller_optout")
    attempt = told.attempt()
    assert (attempt.offered, attempt.wish) == (True, "none")
    (notice,) = attempt.notices
    assert (notice.heard_ms, notice.long_ms, notice.result) == (4200, 9000, "partial")
    assert (notice.proof, notice.sent) == ("rtp", 210)
    assert [(one.record, one.undone_by) for one in attempt.choices] == [(offered, None), (wrong, wrong + 1)]
    assert kinds(told.dossier()) == {UnknownKind.CHOICE_NOT_APPLIED}
    told.add(EventType.CHOICE_APPLIED, call="c1", choice=wrong, after_ms=7)
    assert kinds(told.dossier()) == set()
    assert told.attempt().choices[1].applied_ms == 7
    told.choice(Answer.VOICEMAIL)
    told.add(EventType.NOTICE_PLAYED, NOW, **about, **played, heard_ms=10)
    unproved = {UnknownKind.NOTICE_UNMEASURED, UnknownKind.NOTICE_NOT_COUNTED}
    assert kinds(told.dossier()) == {UnknownKind.MACHINE, *unproved}


def test_a_notice_that_was_cut_off_says_so() -> None:
    """Begun and nothing more; then closed by the books; then, of another call, as older journals have it."""
    told = Told()
    told.call(Reason.NOT_REGISTERED)
    about: dict[str, JsonValue] = {"call": "c1", "seller": "acme"}
    ending: dict[str, JsonValue] = {"dialstatus": "ANSWER", "rang": True, "answered": True, "answered_s": 40}
    told.add(EventType.CALL_FINISHED, NOW, **about, **ending, ended_by="agent", notice="to_follow", cause=16)
    begun = told.add(EventType.NOTICE_BEGUN, NOW, **about, prompt="notice-acme", long_ms=9000)
    assert kinds(told.dossier()) == {UnknownKind.NOTICE_CUT_OFF}
    assert [one.record for one in told.attempt().notices_begun] == [begun]
    cut_off: dict[str, JsonValue] = {"prompt": "notice-acme", "result": "partial", "ended": "agent_lost", "heard_ms": 0}
    told.add(EventType.NOTICE_PLAYED, NOW, **about, **cut_off)
    assert kinds(told.dossier()) == {UnknownKind.NOTICE_CUT_OFF}
    played: dict[str, JsonValue] = {"prompt": "notice-acme", "result": "heard", "ended": "complete", "heard_ms": 9000}
    told.add(EventType.NOTICE_PLAYED, NOW, **about, **played, long_ms=9000)
    assert kinds(told.dossier()) == {UnknownKind.NOTICE_NOT_COUNTED}, "a record from before packets were counted"


@pytest.mark.parametrize("why", DeliveryFailure)
def test_a_verdict_that_was_not_confirmed_says_what_is_known_of_it(why: DeliveryFailure) -> None:
    """Where Asterisk cannot have it nothing was dialled, and nothing is unknown; an end shows that it was dialled."""
    told = Told()
    told.call(Reason.NOT_REGISTERED)
    about: dict[str, JsonValue] = {"call": "c1", "seller": "acme", "agent": "anna", "campaign": "energy"}
    seq = told.add(EventType.VERDICT_UNDELIVERED, NOW, **about, uniqueid="u1", verdict=Verdict.ALLOW, why=why)
    assert told.attempt().undelivered == NotDelivered(at=NOW, why=why, record=seq)
    assert kinds(told.dossier()) == ({UnknownKind.NOT_CONFIRMED} if why.may_have_arrived else set())
    assert seq in told.dossier().records
    told.choice(Answer.OFFERED)
    assert kinds(told.dossier()) == {UnknownKind.NOT_FINISHED}, "somebody was talked to"
    ending: dict[str, JsonValue] = {"dialstatus": "BUSY", "rang": True, "answered": False, "answered_s": 0}
    told.add(EventType.CALL_FINISHED, NOW, **about, **ending, ended_by="not_answered", notice="not_due", cause=17)
    assert kinds(told.dossier()) == set()


def test_a_screening_of_the_command_line_is_no_call() -> None:
    """Whether somebody dialled then is not known."""
    told = Told()
    told.call(Reason.NOT_REGISTERED, source="command")
    assert kinds(told.dossier()) == {UnknownKind.FROM_COMMAND}


def test_what_happened_around_the_number_is_counted() -> None:
    """Purges, scrubs and reveals of which nobody knows whether the number was among them."""
    found = {one.kind: one.count for one in Told().dossier(purged=3, scrubs=2, reveals=1).unknown if one.count}
    assert found == {UnknownKind.PURGED: 3, UnknownKind.SCRUBS: 2, UnknownKind.REVEALS: 1}


def test_a_period_has_its_calls_whole_and_what_still_counted_in_it() -> None:
    """Calls that begin in it; older lists; no older calls, no later ones; but what became of its calls later."""
    told = Told()
    period = Period(since=NOW, until=NOW + timedelta(days=1))
    told.call(Reason.NOT_REGISTERED, NOW - timedelta(hours=1), "before")
    old = told.add(EventType.OPTOUT_ADDED, NOW - timedelta(days=9), seller="acme", source="letter", by="x")
    inside = told.call(Reason.NOT_REGISTERED, NOW, "inside")
    told.call(Reason.NOT_REGISTERED, period.until, "after")
    late = told.add(
        EventType.REGISTRATION_ACKNOWLEDGED, NOW + timedelta(days=9), call="inside", batch="b", accepted=True
    )
    told.add(EventType.OPTOUT_REMOVED, NOW + timedelta(days=9), seller="acme", reason="x", by="x")
    dossier = told.dossier(period=period)
    assert [one.call for one in dossier.attempts] == ["inside"]
    assert dossier.records == (old, inside, late)
    assert [(one.record, one.before) for one in dossier.entries] == [(old, True)]
    assert dossier.in_force.optouts == (("acme", old),)


def test_the_days_of_a_period_are_those_of_the_profile() -> None:
    """From midnight to midnight in Amsterdam, also where the clock changes."""
    period = days(NL_BMNR, date(2026, 3, 29), date(2026, 10, 25), NOW)
    assert period.since.astimezone(UTC) == datetime(2026, 3, 28, 23, tzinfo=UTC)
    assert period.until.astimezone(UTC) == datetime(2026, 10, 25, 23, tzinfo=UTC)
    assert days(NL_BMNR, None, None, NOW).until == NOW
    with pytest.raises(ValueError, match="ends before it begins"):
        days(NL_BMNR, date(2026, 3, 2), date(2026, 3, 1), NOW)


SHOWN: dict[str, list[type[StrEnum]]] = {
    "verdict": [Verdict],
    "reason": [Reason],
    "registered": [RegisterAnswer],
    "registered_long": [RegisterAnswer],
    "window": [WindowAnswer],
    "window_long": [WindowAnswer],
    "notice": [Notice],
    "result": [NoticeResult],
    "end": [NoticeEnd],
    "proof": [Proof],
    "ended_by": [EndedBy],
    "source": [Source],
    "question": [Question],
    "answer": [Answer],
    "unknown": [UnknownKind],
    "delivery": [DeliveryFailure],
}


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("kind", SHOWN)
def test_every_word_that_may_be_shown_is_in_every_language(language: str, kind: str) -> None:
    """And no other."""
    assert set(words_of(language)[kind]) >= {str(member) for members in SHOWN[kind] for member in members}


def test_the_languages_have_the_same_words() -> None:
    """Key by key."""
    first, *others = ({kind: set(words) for kind, words in words_of(language).items()} for language in LANGUAGES)
    for other in others:
        assert {**other, "months": 0} == {**first, "months": 0}
    of_numbers = {str(event) for event, fields in FIELDS.items() if "number" in fields} | {"number.revealed"}
    assert set(words_of("nl")["type"]) == of_numbers
