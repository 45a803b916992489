"""Scrubbing a call file: every row decided by the rules of a live call, the file parted, a certificate of it.

A row that stays was allowed for this campaign by ``decide`` itself. There are few different facts, so that it is asked
once for each of them and not for each row. Nothing of the outputs has its name before the journal has the record, and
the certificate gets its name last: when a run ends in between, the journal knows of a scrub whose files are not there;
they were never handed out, and the scrub is simply made again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

import numpy as np
from numpy.typing import NDArray

from agent.domain.clock import behind
from agent.domain.deadline import Deadline
from agent.domain.errors import (
    ConfigurationError,
    InputRejected,
    JournalUnavailable,
    ListsBehind,
    LookupUnavailable,
    PremiseOutdated,
    RegisterReplaced,
    RegisterUnusable,
)
from agent.domain.journal_events import Event, EventType, JsonValue
from agent.domain.model import Call, Campaign, Facts, Generation, Reason
from agent.domain.phone_number import NUMBERING, Dialled, EmergencyNumber, PhoneNumber, UnusableNumber
from agent.domain.ports import Progress
from agent.domain.premise import Premise
from agent.domain.profile import Profile
from agent.domain.rules import decide
from agent.domain.scrub import DUPLICATE, binding_generation, certificate, stays, valid_until
from agent.outbox import Outbox
from agent.scrub_ports import (
    BulkLists,
    BulkRun,
    CallFile,
    CallRows,
    Codes,
    Numbers,
    ScrubDrafts,
    ScrubJournal,
    ScrubOutputs,
)
from agent.seen_numbers import SeenNumbers
from agent.unassigned_objections import UnassignedObjections, unassigned_in_words

_APPEND_TIMEOUT_MS: Final = 10_000
_STARTS: Final = 3
"""How often a scrub begins anew because another register was put in force."""
_CATCH_UPS: Final = 2

_SOME_NUMBER: Final = PhoneNumber(digits="")
"""Stands for any number: which one it is says nothing to the rules, its facts do."""
_UNUSABLE: Final[tuple[Dialled, ...]] = (
    UnusableNumber(foreign=False, text=""),
    UnusableNumber(foreign=True, text=""),
    EmergencyNumber(digits=""),
)
_FIRST_UNUSABLE: Final = 1 << 12
"""Codes from here on are not those of facts: the kinds of ``_UNUSABLE``, then a duplicate."""
_DUPLICATE: Final = _FIRST_UNUSABLE + len(_UNUSABLE)


@dataclass(slots=True)
class _Tally:
    """What was found in one run."""

    reasons: Counter[str]
    numbers: int = 0


class Scrubbing:
    """The use case behind ``bmn scrub``. ``by`` is the system user who asks, ``version`` that of this product."""

    def __init__(
        self,
        *,
        lists: BulkLists,
        journal: ScrubJournal,
        outbox: Outbox,
        unassigned: UnassignedObjections,
        profiles: Mapping[str, Profile],
        clock: Callable[[], datetime],
        version: str,
        by: str,
    ) -> None:
        self._lists = lists
        self._journal = journal
        self._outbox = outbox
        self._unassigned = unassigned
        self._profiles = profiles
        self._clock = clock
        self._version = version
        self._by = by

    def scrub(
        self, campaign: Campaign, file: CallFile, outputs: ScrubOutputs, progress: Progress
    ) -> dict[str, JsonValue]:
        """Part ``file``, record it, publish; returns the certificate.

        Raises ``RegisterUnusable`` when the register that is needed is missing or too old, ``ConfigurationError`` when
        objections are in force to a seller that the configuration does not know, ``InputRejected`` for a file without
        numbers, ``LookupUnavailable`` and ``JournalUnavailable``; then nothing was written.
        """
        profile = self._profiles[campaign.profile]
        with outputs.drafts() as drafts:
            for _ in range(_STARTS):
                try:
                    issued = self._scrubbed(campaign, profile, file, drafts, progress)
                    break
                except RegisterReplaced:
                    drafts.restart()
            else:
                raise LookupUnavailable(f"the register was replaced {_STARTS} times during the scrub: try again")
            try:
                drafts.publish(issued)
            except (InputRejected, OSError) as error:
                error.add_note(f"record {issued['record']} of the journal tells of this scrub; its files are not there")
                raise
        return issued

    def _scrubbed(
        self, campaign: Campaign, profile: Profile, file: CallFile, drafts: ScrubDrafts, progress: Progress
    ) -> dict[str, JsonValue]:
        """Part ``file`` and record that; the certificate. Raises ``RegisterReplaced``, with nothing recorded."""
        upto = self._journal.state().seq
        run, lists_up_to, tally = self._parted(campaign, profile, file, drafts, progress)
        source = file.described()
        if not source.rows:
            raise InputRejected(f"there is no row in {source.name}")
        if not tally.numbers:
            raise InputRejected(f"no row of {source.name} has a number in that column: name it with --column")
        clean, removed = drafts.sealed()
        now = self._clock()
        self._require_usable(campaign, profile, run.generation, now)
        generation = binding_generation(campaign, profile, run.generation)
        body: dict[str, JsonValue] = {
            "campaign": campaign.key,
            "seller": campaign.seller.key,
            "profile": profile.key,
            "generation": generation.id if generation else None,
            "as_of": generation.as_of.isoformat() if generation else None,
            "register_sha256": generation.sha256 if generation else None,
            "lists_up_to": lists_up_to,
            "valid_until": valid_until(profile, generation, now).isoformat(),
            "input": source.as_json(),
            "clean": clean.as_json(),
            "removed": removed.as_json(),
            "reasons": dict(sorted(tally.reasons.items())),
            "version": self._version,
            "by": self._by,
            "formerly": [*campaign.seller.formerly] or None,
            "phonenumbers": NUMBERING,
        }
        premise = Premise(upto=upto, profile=profile.key if generation else None)
        return self._recorded(Event(EventType.SCRUB_COMPLETED, body), premise)

    def _parted(
        self, campaign: Campaign, profile: Profile, file: CallFile, drafts: ScrubDrafts, progress: Progress
    ) -> tuple[BulkRun, int, _Tally]:
        """One run through the file, with one load of the register."""
        run = self._lists.begin(campaign)
        self._require_usable(campaign, profile, run.generation, self._clock())
        lists_up_to = self._journal.state().restriction_watermark
        decisions = _Decisions(campaign, profile, run, self._clock(), self._journal.state().newest_at)
        seen, tally = SeenNumbers(), _Tally(Counter())
        for rows in file.rows(progress):
            codes = self._codes(run, rows)
            keep, numbers = decisions.stays(codes), rows.numbers
            kept = np.flatnonzero(keep)
            again = kept[~seen.first(numbers[kept])]
            codes[again] = _DUPLICATE
            keep[again] = False
            gone = np.flatnonzero(~keep)
            tally.reasons.update(decisions.counts(codes))
            tally.numbers += len(numbers) - len(rows.unusable)
            removed = rows.removed(gone.tolist(), decisions.reasons(codes[gone]))
            drafts.write(rows.kept(keep), len(codes) - len(gone), removed, len(gone))
        return run, lists_up_to, tally

    def _codes(self, run: BulkRun, rows: CallRows) -> Codes:
        """What is known of each row."""
        numbers = rows.numbers
        codes = np.zeros(len(numbers), dtype=np.uint16)
        for place, dialled in rows.unusable.items():
            codes[place] = _FIRST_UNUSABLE + _kind(dialled)
        usable = np.flatnonzero(codes == 0)
        if len(usable):
            codes[usable] = self._looked_up(run, numbers[usable])
        return codes

    def _looked_up(self, run: BulkRun, numbers: Numbers) -> Codes:
        head = self._journal.state().restriction_watermark
        for _ in range(_CATCH_UPS):
            try:
                return run.codes(numbers, head)
            except ListsBehind:
                self._outbox.drain()
        return run.codes(numbers, head)

    def _require_usable(
        self, campaign: Campaign, profile: Profile, generation: Generation | None, now: datetime
    ) -> None:
        """Raise what ``scrub`` does when a number that nothing else speaks of could not be allowed."""
        journal = self._journal.state()
        unassigned = self._unassigned.sellers(journal.restriction_watermark)
        # one of the rows may be somebody who objected, whatever the purpose
        facts = Facts(
            generation=generation,
            newest_at=journal.newest_at,
            unassigned=unassigned,
            unassigned_objector=bool(unassigned),
        )
        reason = decide(Call(dialled=_SOME_NUMBER, campaign=campaign), facts, profile, now).reason
        if reason is Reason.OBJECTIONS_UNASSIGNED:
            raise ConfigurationError(f"nothing was scrubbed: {unassigned_in_words(unassigned)}")
        if reason is Reason.CLOCK_UNSOUND and journal.newest_at is not None:
            raise RegisterUnusable(f"{behind(now, journal.newest_at)}; nothing was scrubbed")
        if reason is Reason.REGISTER_MISSING:
            raise RegisterUnusable("no register is loaded (bmn register import), so nothing was scrubbed")
        if reason is Reason.REGISTER_STALE:
            raise RegisterUnusable("the register is past its period (bmn register status), so nothing was scrubbed")

    def _recorded(self, event: Event, premise: Premise) -> dict[str, JsonValue]:
        """The certificate of a scrub that is in the journal now."""
        try:
            (seq,) = self._journal.append([event], Deadline.after_ms(_APPEND_TIMEOUT_MS), premise)
        except PremiseOutdated as error:
            raise RegisterReplaced("another load of the register was put in force meanwhile") from error
        record, mark = self._journal.record(seq), self._journal.mark(seq)
        if record is None or mark is None:
            raise JournalUnavailable(f"record {seq} cannot be read back")
        return certificate(record, mark)


class _Decisions:
    """What the rules say to each code, asked once."""

    def __init__(
        self, campaign: Campaign, profile: Profile, run: BulkRun, now: datetime, newest_at: datetime | None
    ) -> None:
        self._campaign = campaign
        self._profile = profile
        self._run = run
        self._now = now
        self._newest_at = newest_at
        self._words: dict[int, str] = {_DUPLICATE: DUPLICATE}
        self._stays = np.zeros(_DUPLICATE + 1, dtype=np.bool_)

    def stays(self, codes: Codes) -> NDArray[np.bool_]:
        """Which rows stay."""
        for code in np.unique(codes).tolist():
            if code not in self._words:
                reason = self._decided(code)
                self._words[code] = str(reason)
                self._stays[code] = stays(reason)
        return self._stays[codes]

    def reasons(self, codes: Codes) -> list[str]:
        """Why, row by row."""
        words = self._words
        return [words[code] for code in codes.tolist()]

    def counts(self, codes: Codes) -> Counter[str]:
        """How many rows there are of each reason."""
        found: Counter[str] = Counter()
        for code, count in zip(*np.unique(codes, return_counts=True), strict=True):
            found[self._words[int(code)]] += int(count)
        return found

    def _decided(self, code: int) -> Reason:
        usable = code < _FIRST_UNUSABLE
        dialled = _SOME_NUMBER if usable else _UNUSABLE[code - _FIRST_UNUSABLE]
        facts = replace(self._run.facts(code) if usable else Facts(), newest_at=self._newest_at)
        return decide(Call(dialled=dialled, campaign=self._campaign), facts, self._profile, self._now).reason


def _kind(dialled: Dialled) -> int:
    """Which of ``_UNUSABLE`` is like ``dialled``."""
    match dialled:
        case EmergencyNumber():
            return 2
        case UnusableNumber():
            return int(dialled.foreign)
        case PhoneNumber():
            raise AssertionError("a usable number is in the numbers")
