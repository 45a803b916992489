"""Loads of the register: validated whole, loaded beside the one in force, put in force at once, rolled back by name."""

from __future__ import annotations

import hashlib
import secrets
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

from agent.domain.deadline import Deadline
from agent.domain.errors import InputRejected, JournalUnavailable, LookupUnavailable
from agent.domain.journal_events import Event, EventType, JsonValue
from agent.domain.model import Blocked, Generation
from agent.domain.phone_number import PhoneNumber, read_dialled
from agent.domain.ports import GenerationChanges, Generations, Journal, Progress, RegisterFile
from agent.domain.profile import Profile
from agent.domain.register_history import RegisterHistory, register_history
from agent.outbox import Outbox

_APPEND_TIMEOUT_MS: Final = 10_000
_PROBLEMS_SHOWN: Final = 20
_PROGRESS_EVERY: Final = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportOptions:
    """What the operator says of a load."""

    as_of: date
    allow_shrink: bool = False
    allow_older: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """A load that was put in force."""

    generation: Generation
    counts: Mapping[Blocked, int]
    lines: int
    duplicates: int
    freed: tuple[str, ...]
    """Older generations that were let go."""
    unchanged: bool = False
    """True when exactly this load was in force already, so that nothing was done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterStatus:
    """What is loaded, and for how long it may be used."""

    profile: str
    current: Generation | None
    valid_until: datetime | None
    stale: bool
    age: timedelta | None
    kept: tuple[Generation, ...]


class Registers:
    """The use cases behind ``bmn register``. ``by`` is the system user who asks."""

    def __init__(
        self,
        *,
        generations: Generations,
        journal: Journal,
        outbox: Outbox,
        clock: Callable[[], datetime],
        keep_generations: int,
        max_shrink_percent: float,
        by: str,
    ) -> None:
        self._generations = generations
        self._journal = journal
        self._outbox = outbox
        self._clock = clock
        self._keep = keep_generations
        self._max_shrink_percent = max_shrink_percent
        self._by = by

    def import_files(
        self, profile: Profile, files: Sequence[RegisterFile], options: ImportOptions, progress: Progress
    ) -> Imported:
        """Load ``files`` as one generation. Raises ``InputRejected`` with everything as it was."""
        self._outbox.drain()
        loaded = self._history(profile).in_force
        current = self._generations.current(profile.key)
        asked = (loaded.body["generation"] if loaded is not None else None, options.as_of, _sha256(files))
        if current is not None and (current.id, current.as_of, current.sha256) == asked:
            return Imported(generation=current, counts={}, lines=0, duplicates=0, freed=(), unchanged=True)
        try:
            self._check_dates(profile, options)
            read = _read_rows(profile, files, progress)
            with self._generations.changing(profile.key) as changes:
                self._check_dates(profile, options)  # again, for another import may have come in between
                self._check_size(profile, read.numbers, options)
                return self._load(profile, files, options.as_of, read, changes, progress)
        except InputRejected as error:
            self._journal_rejection(profile, files, options, error)
            raise

    def _load(
        self,
        profile: Profile,
        files: Sequence[RegisterFile],
        as_of: date,
        read: _Rows,
        changes: GenerationChanges,
        progress: Progress,
    ) -> Imported:
        """Write a generation, record it, which puts it in force, and let the oldest go."""
        generation = self._new_generation(profile, files, as_of, read.numbers)
        changes.load(generation, read.lists, progress)
        body: dict[str, JsonValue] = {
            "generation": generation.id,
            "profile": profile.key,
            "as_of": generation.as_of.isoformat(),
            "loaded_at": generation.loaded_at.isoformat(),
            "count": generation.count,
            "counts": {str(blocked): len(numbers) for blocked, numbers in read.lists.items()},
            "sha256": generation.sha256,
            "files": _described(files),
            "duplicates": read.duplicates,
            "by": self._by,
        }
        self._journal.append([Event(EventType.REGISTER_LOADED, body)], Deadline.after_ms(_APPEND_TIMEOUT_MS))
        self._outbox.drain_recorded()
        self._require_in_force(generation)
        kept = {item.id for item in self._generations.kept(profile.key)}
        return Imported(
            generation=generation,
            counts={blocked: len(numbers) for blocked, numbers in read.lists.items()},
            lines=read.lines,
            duplicates=read.duplicates,
            freed=changes.discard([item for item in self._history(profile).succession if item in kept][-self._keep :]),
        )

    def rollback(self, profile: Profile) -> tuple[Generation, Generation]:
        """Put the load that was in force before back in force; returns (left, now in force).

        A load that was itself rolled back from, or has no record, is never gone back to.
        """
        with self._generations.changing(profile.key):
            self._outbox.drain()
            current = self._generations.current(profile.key)
            if current is None:
                raise InputRejected("no register is loaded, so there is nothing to roll back")
            kept = {item.id: item for item in self._generations.kept(profile.key) if item.id != current.id}
            older = [kept[item] for item in self._history(profile).succession if item in kept]
            if not older:
                raise InputRejected(
                    f"{current.id} is the oldest load that is kept and was in force, so there is none to roll back to"
                )
            body: dict[str, JsonValue] = {
                "generation": older[-1].id,
                "profile": profile.key,
                "from_generation": current.id,
                "by": self._by,
            }
            self._journal.append([Event(EventType.REGISTER_ROLLED_BACK, body)], Deadline.after_ms(_APPEND_TIMEOUT_MS))
            self._outbox.drain_recorded()
            self._require_in_force(older[-1])
        return current, older[-1]

    def status(self, profile: Profile, deadline: Deadline | None = None) -> RegisterStatus:
        """What is loaded for ``profile``."""
        current, now = self._generations.current(profile.key, deadline), self._clock()
        valid_until = profile.valid_until(current) if current else None
        return RegisterStatus(
            profile=profile.key,
            current=current,
            valid_until=valid_until,
            stale=valid_until is not None and now > valid_until,
            age=now - (valid_until - timedelta(days=profile.load_valid_days)) if valid_until else None,
            kept=self._generations.kept(profile.key, deadline),
        )

    def _require_in_force(self, generation: Generation) -> None:
        """Raise ``LookupUnavailable`` when another load was put in force instead."""
        current = self._generations.current(generation.profile)
        if current is None or current.id != generation.id:
            raise LookupUnavailable(
                f"{generation.id} is loaded but not in force: another load was put in force at the same time or later "
                "by the clock of its host (see: bmn register status)"
            )

    def _check_dates(self, profile: Profile, options: ImportOptions) -> None:
        today = profile.local_date(self._clock())
        if options.as_of > today:
            raise InputRejected(f"the as-of date {options.as_of} is in the future (today is {today})")
        loaded = self._history(profile).in_force
        if loaded is None or options.allow_older:
            return
        before = date.fromisoformat(str(loaded.body["as_of"]))
        if options.as_of < before:
            raise InputRejected(
                f"the as-of date {options.as_of} is before that of the load in force ({before}): "
                "load a newer file, or add --allow-older if you mean it"
            )

    def _check_size(self, profile: Profile, numbers: int, options: ImportOptions) -> None:
        if numbers == 0:
            raise InputRejected("there is no number in the input")
        loaded = self._history(profile).in_force
        if loaded is None or options.allow_shrink:
            return
        before = int(str(loaded.body["count"]))
        if numbers < before * (1 - self._max_shrink_percent / 100):
            raise InputRejected(
                f"this load has {numbers:,} numbers and the one in force {before:,}: more than "
                f"{self._max_shrink_percent:g} % fewer; a part of the file may be missing. "
                "Add --allow-shrink if it is right"
            )

    def _history(self, profile: Profile) -> RegisterHistory:
        return register_history(self._journal.register_changes(profile.key))

    def _new_generation(self, profile: Profile, files: Sequence[RegisterFile], as_of: date, numbers: int) -> Generation:
        now = self._clock()
        return Generation(
            id=f"{now:%Y%m%dT%H%M%S}-{secrets.token_hex(2)}",
            profile=profile.key,
            as_of=as_of,
            loaded_at=now,
            count=numbers,
            sha256=_sha256(files),
        )

    def _journal_rejection(
        self, profile: Profile, files: Sequence[RegisterFile], options: ImportOptions, error: InputRejected
    ) -> None:
        body: dict[str, JsonValue] = {
            "profile": profile.key,
            "as_of": options.as_of.isoformat(),
            "files": _described(files),
            "problem": str(error),
            "problems": error.total,
            "by": self._by,
        }
        try:
            self._journal.append([Event(EventType.REGISTER_REJECTED, body)], Deadline.after_ms(_APPEND_TIMEOUT_MS))
        except JournalUnavailable as unavailable:
            error.add_note(f"the rejection could not be recorded: {unavailable}")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rows:
    lists: dict[Blocked, Sequence[int]]
    """Sorted distinct numbers of each list."""
    numbers: int
    """Distinct numbers over all lists."""
    lines: int
    duplicates: int
    """Lines that said nothing that an earlier line had not said."""


def _read_rows(profile: Profile, files: Sequence[RegisterFile], progress: Progress) -> _Rows:
    lists: dict[Blocked, array[int]] = {}
    problems: list[str] = []
    bad = lines = entries = 0
    done, size = 0, sum(file.bytes for file in files)
    for file in files:
        for row in file.rows():
            lines += 1
            number = read_dialled(row.number, profile)
            blocked, unknown = _blocked(row.blocked)
            if isinstance(number, PhoneNumber) and not unknown:
                for item in blocked:
                    lists.setdefault(item, array("Q")).append(int(number.digits))
                entries += len(blocked)
            else:
                bad += 1
                if len(problems) < _PROBLEMS_SHOWN:
                    fault = f"unknown word {unknown!r}" if unknown else f"not a number of region {profile.region}"
                    problems.append(f"{file.name}, line {row.line}: {fault}")
            if lines % _PROGRESS_EVERY == 0:
                progress("reading", done + row.offset, size)
        done += file.bytes
    progress("reading", size, size)
    if bad:
        raise InputRejected(f"{bad:,} of {lines:,} lines are wrong, so nothing was loaded", tuple(problems), bad)
    distinct = {blocked: sorted(set(numbers)) for blocked, numbers in lists.items()}
    everything = set().union(*distinct.values()) if len(distinct) > 1 else next(iter(distinct.values()), [])
    return _Rows(
        lists=dict(distinct),
        numbers=len(everything),
        lines=lines,
        duplicates=entries - sum(len(numbers) for numbers in distinct.values()),
    )


def _sha256(files: Sequence[RegisterFile]) -> str:
    """Of the one file; of the digests of all, in order, when there are several."""
    digests = [file.sha256 for file in files]
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def _blocked(words: Sequence[str]) -> tuple[list[Blocked], str]:
    """The members named by ``words``, and the first word that names none."""
    members = []
    for word in words:
        try:
            members.append(Blocked(word))
        except ValueError:
            return [], word or "(empty)"
    return members, ""


def _described(files: Sequence[RegisterFile]) -> list[JsonValue]:
    return [{"name": file.name, "path": file.location, "sha256": file.sha256, "bytes": file.bytes} for file in files]
