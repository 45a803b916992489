"""Reading journal records as a dossier: pure folds, nothing is looked up here."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

from agent.domain.call_story import ENDED_UNKNOWN, CallStory
from agent.domain.dossier import (
    Attempt,
    ChoiceMade,
    CustomerRecord,
    Dossier,
    Ending,
    Entry,
    InForce,
    Load,
    NotDelivered,
    NoticeBegun,
    NoticePlayed,
    RegisterAnswer,
    RegistrarStep,
    WindowAnswer,
)
from agent.domain.dossier_unknowns import Surroundings, lineage, unknowns
from agent.domain.journal_events import EventType, Record
from agent.domain.model import Blocked, Campaign, DeliveryFailure, Generation, Reason, Verdict
from agent.domain.phone_number import PhoneNumber
from agent.domain.profile import Profile
from agent.domain.rules import entry_reason
from agent.domain.standing import STANDING_EVENTS, standing

LASTING: Final = STANDING_EVENTS | {EventType.CUSTOMER_ADDED, EventType.CUSTOMER_REMOVED}
"""Records that mean something after their day: those before the period belong to the dossier too."""
_CUSTOMER: Final = frozenset({EventType.CUSTOMER_ADDED, EventType.CUSTOMER_REMOVED})
_REGISTERED: Final = frozenset({Reason.REGISTERED, Reason.REGISTERED_SECTOR, Reason.REGISTERED_CHARITIES})
_IN_DETAIL: Final = frozenset({"call", "number", "seller"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """What is asked: the instants from ``since`` up to and without ``until``."""

    since: datetime
    until: datetime

    def holds(self, moment: datetime) -> bool:
        """Whether ``moment`` is in it."""
        return self.since <= moment < self.until


def belongs(record: Record, period: Period, calls: frozenset[str]) -> bool:
    """Whether a record of the number is part of its dossier; ``calls`` are those screened in the period."""
    return (
        period.holds(record.at)
        or record.body.get("call") in calls
        or (record.at < period.since and record.type in LASTING)
    )


def calls_in(records: Sequence[Record], period: Period) -> frozenset[str]:
    """The calls that were screened in the period."""
    screened = (record for record in records if record.type is EventType.CALL_SCREENED and period.holds(record.at))
    return frozenset(str(record.body["call"]) for record in screened)


def read_dossier(
    number: PhoneNumber,
    period: Period,
    profiles: Mapping[str, Profile],
    profile: Profile,
    campaigns: Mapping[str, Campaign],
    records: Sequence[Record],
    loads: Mapping[str, Record],
    around: Surroundings,
) -> Dossier:
    """Fold ``records`` (those of the number and those that name it, in order) and ``loads`` (by generation).

    ``campaigns`` are those of the configuration: what a call was for is not in its record.
    """
    calls = calls_in(records, period)
    shown = [record for record in records if belongs(record, period, calls)]
    attempts = tuple(_attempts(shown, calls, profiles, campaigns, records, loads))
    entries = tuple(_entry(one, period) for one in shown if one.body.get("call") not in calls)
    rests_on = {record.seq for record in shown} | {one.record for item in attempts for one in lineage(item.load)}
    return Dossier(
        number=number,
        since=period.since,
        until=period.until,
        profile=profile.key,
        timezone=profile.timezone,
        journal=around.journal,
        upto=around.upto,
        attempts=attempts,
        entries=entries,
        in_force=_in_force([one for one in records if one.at < period.until]),
        unknown=tuple(unknowns(attempts, around)),
        records=tuple(sorted(rests_on)),
    )


def _attempts(
    shown: Sequence[Record],
    calls: frozenset[str],
    profiles: Mapping[str, Profile],
    campaigns: Mapping[str, Campaign],
    records: Sequence[Record],
    loads: Mapping[str, Record],
) -> Iterator[Attempt]:
    by_call: dict[str, list[Record]] = {}
    for record in shown:
        if record.body.get("call") in calls:
            by_call.setdefault(str(record.body["call"]), []).append(record)
    for of_call in by_call.values():
        # A verdict that did not reach the disk in time may have two records: the later one is what Asterisk was told.
        screened = [record for record in of_call if record.type is EventType.CALL_SCREENED][-1]
        profile = profiles.get(str(screened.body["profile"]))
        generation = _text(screened, "generation")
        loaded = None if generation is None else loads.get(generation)
        load = None if loaded is None or profile is None else _load(loaded, profile, loads)
        before = [one for one in records if one.seq < screened.seq]
        yield _attempt(screened, of_call, profile, campaigns.get(str(screened.body["campaign"])), load, before)


def _attempt(
    screened: Record,
    of_call: Sequence[Record],
    profile: Profile | None,
    campaign: Campaign | None,
    load: Load | None,
    before: Sequence[Record],
) -> Attempt:
    body, reason = screened.body, Reason(str(screened.body["reason"]))
    story = CallStory.of(of_call)
    assert story is not None
    registered = _registered(reason, story.profile, campaign, before)
    formerly = _texts(screened, "formerly")
    sellers = {story.seller, *formerly}
    customers = _customers(before, sellers) if reason is Reason.EXEMPT_CUSTOMER else {}
    return Attempt(
        call=story.call,
        at=screened.at,
        campaign=story.campaign,
        seller=story.seller,
        formerly=formerly,
        agent=story.agent,
        dialled=str(body["dialled"]),
        source=str(body["source"]),
        verdict=Verdict(str(body["verdict"])),
        reason=reason,
        rule=str(body["rule"]),
        failure=_text(screened, "failure"),
        profile=story.profile,
        load=load,
        generation=_text(screened, "generation"),
        registered=registered,
        window=_window(screened, reason, profile, load),
        customers=tuple(_customer(record) for record in customers.values()),
        notice_due=story.notice,
        ending=None if story.finished is None else _ending(story.finished),
        offered=story.choices.offered,
        voicemail=story.choices.voicemail,
        notices_begun=tuple(
            NoticeBegun(at=one.at, record=one.seq) for one in of_call if one.type is EventType.NOTICE_BEGUN
        ),
        notices=tuple(_notice(one) for one in of_call if one.type is EventType.NOTICE_PLAYED),
        choices=tuple(_choice(one, of_call) for one in of_call if one.type is EventType.CHOICE_RECORDED),
        wish=story.choices.wish.word,
        registrar=tuple(
            _registrar(one)
            for one in of_call
            if one.type in (EventType.REGISTRATION_EXPORTED, EventType.REGISTRATION_ACKNOWLEDGED)
        ),
        record=screened.seq,
        undelivered=next((_not_delivered(one) for one in of_call if one.type is EventType.VERDICT_UNDELIVERED), None),
    )


def _registered(reason: Reason, profile: str, campaign: Campaign | None, before: Sequence[Record]) -> RegisterAnswer:
    """An own registration counts where it alone gives the reason; of a campaign unknown by now, only all does."""
    if reason is Reason.NOT_REGISTERED:
        return RegisterAnswer.NOT_LISTED
    if reason not in _REGISTERED:
        return RegisterAnswer.NOT_ASKED
    entries = standing(before).registrations.items()
    own = frozenset(blocked for (key, blocked), in_force in entries if in_force and key == profile)
    for_all = Reason.REGISTERED if Blocked.ALL in own else None
    alone = for_all if campaign is None else entry_reason(own, campaign)
    return RegisterAnswer.OWN_REGISTRATION if alone is reason else RegisterAnswer.LISTED


def _window(screened: Record, reason: Reason, profile: Profile | None, load: Load | None) -> WindowAnswer:
    if screened.body["generation"] is None:
        return WindowAnswer.NO_REGISTER if reason is Reason.REGISTER_MISSING else WindowAnswer.NOT_NEEDED
    if load is None or profile is None:
        return WindowAnswer.UNKNOWN
    generation = Generation(
        id=load.generation,
        profile=profile.key,
        as_of=load.as_of,
        loaded_at=load.loaded_at,
        count=load.count,
        sha256=load.sha256,
    )
    return WindowAnswer.OUTSIDE if profile.is_stale(generation, screened.at) else WindowAnswer.INSIDE


def _load(record: Record, profile: Profile, loads: Mapping[str, Record]) -> Load:
    body, on = record.body, _text(record, "base")
    base = loads.get(on) if on is not None else None
    as_of, loaded_at = date.fromisoformat(str(body["as_of"])), datetime.fromisoformat(str(body["loaded_at"]))
    generation = Generation(
        id=str(body["generation"]),
        profile=profile.key,
        as_of=as_of,
        loaded_at=loaded_at,
        count=int(str(body["count"])),
        sha256=str(body["sha256"]),
    )
    files = body["files"]
    return Load(
        generation=generation.id,
        as_of=as_of,
        loaded_at=loaded_at,
        valid_until=profile.valid_until(generation),
        sha256=generation.sha256,
        files=tuple(str(file["name"]) for file in files if isinstance(file, dict)) if isinstance(files, list) else (),
        count=generation.count,
        record=record.seq,
        base=_load(base, profile, loads) if base is not None and base.seq < record.seq else None,
        base_generation=on,
    )


def _customers(records: Sequence[Record], sellers: Collection[str | None] | None) -> dict[tuple[str, str], Record]:
    """The customer records in force after ``records``, by seller and product group; of all sellers with None."""
    found: dict[tuple[str, str], Record] = {}
    for record in records:
        if record.type not in _CUSTOMER or (sellers is not None and record.body["seller"] not in sellers):
            continue
        key = (str(record.body["seller"]), str(record.body["product_group"]))
        if record.type is EventType.CUSTOMER_ADDED:
            found[key] = record
        else:
            found.pop(key, None)
    return found


def _customer(record: Record) -> CustomerRecord:
    body = record.body
    return CustomerRecord(
        seller=str(body["seller"]),
        product_group=str(body["product_group"]),
        sold_on=date.fromisoformat(str(body["sold_on"])),
        product=str(body["product"]),
        evidence=_text(record, "evidence"),
        source=str(body["source"]),
        recorded_at=record.at,
        record=record.seq,
    )


def _ending(record: Record) -> Ending | None:
    """None for an end that says only that nothing is known of it."""
    body = record.body
    if body["ended_by"] == ENDED_UNKNOWN:
        return None
    return Ending(
        at=record.at,
        dialstatus=str(body["dialstatus"]),
        rang=bool(body["rang"]),
        answered=bool(body["answered"]),
        answered_s=int(str(body["answered_s"])),
        cause=_number(record, "cause"),
        ended_by=str(body["ended_by"]),
        notice=str(body["notice"]),
        record=record.seq,
    )


def _not_delivered(record: Record) -> NotDelivered:
    return NotDelivered(at=record.at, why=DeliveryFailure(str(record.body["why"])), record=record.seq)


def _notice(record: Record) -> NoticePlayed:
    body = record.body
    return NoticePlayed(
        at=record.at,
        result=str(body["result"]),
        ended=str(body["ended"]),
        heard_ms=int(str(body["heard_ms"])),
        long_ms=_number(record, "long_ms"),
        language=_text(record, "language"),
        prompt=str(body["prompt"]),
        sha256=_text(record, "sha256"),
        proof=_text(record, "proof"),
        sent=_number(record, "sent"),
        record=record.seq,
    )


def _choice(record: Record, of_call: Sequence[Record]) -> ChoiceMade:
    undone = next((o for o in of_call if o.type is EventType.CHOICE_UNDONE and o.body["undoes"] == record.seq), None)
    applied = next((o for o in of_call if o.type is EventType.CHOICE_APPLIED and o.body["choice"] == record.seq), None)
    return ChoiceMade(
        at=record.at,
        source=str(record.body["source"]),
        question=_text(record, "question"),
        answer=str(record.body["answer"]),
        sector=_text(record, "sector"),
        undone_at=None if undone is None else undone.at,
        undone_by=None if undone is None else undone.seq,
        applied_ms=None if applied is None else _number(applied, "after_ms"),
        record=record.seq,
    )


def _registrar(record: Record) -> RegistrarStep:
    accepted = record.body.get("accepted")
    return RegistrarStep(
        at=record.at,
        type=record.type,
        batch=str(record.body["batch"]),
        action=_text(record, "action"),
        scope=_text(record, "scope"),
        charities=_text(record, "charities"),
        accepted=None if accepted is None else bool(accepted),
        reason=_text(record, "reason"),
        record=record.seq,
    )


def _entry(record: Record, period: Period) -> Entry:
    return Entry(
        at=record.at,
        type=record.type,
        seller=_text(record, "seller"),
        details={name: value for name, value in record.body.items() if name not in _IN_DETAIL},
        before=record.at < period.since,
        record=record.seq,
    )


def _in_force(records: Sequence[Record]) -> InForce:
    now = standing(records)
    return InForce(
        optouts=tuple((seller, one.seq) for seller, one in now.optouts.items() if one is not None),
        registrations=tuple((profile, str(what)) for (profile, what), blocks in now.registrations.items() if blocks),
        customers=tuple((*key, one.seq) for key, one in _customers(records, None).items()),
    )


def _text(record: Record, field: str) -> str | None:
    value = record.body.get(field)
    return None if value is None else str(value)


def _texts(record: Record, field: str) -> tuple[str, ...]:
    """A list of texts; empty where there is none, as in records of older versions."""
    value = record.body.get(field)
    return tuple(map(str, value)) if isinstance(value, list) else ()


def _number(record: Record, field: str) -> int | None:
    value = record.body.get(field)
    return None if value is None else int(str(value))
