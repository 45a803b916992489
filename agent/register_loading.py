"""Loading the register: validated whole, written beside the load in force, and put in force at once.

Apart from ``agent.registers``, for what it needs takes longer to load than a classic AGI script has.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from functools import partial
from time import monotonic
from typing import Final

from agent.domain.deadline import Deadline
from agent.domain.errors import ImportUnderWay, InputRejected, JournalUnavailable, LookupUnavailable
from agent.domain.journal_events import Event, EventType, JsonValue
from agent.domain.model import Blocked, Generation
from agent.domain.ports import GenerationChanges, Generations, Journal, Progress, RegisterFile
from agent.domain.profile import Profile
from agent.domain.register_history import RegisterHistory, read_with, register_history, unread_lines
from agent.generation_keeping import GenerationKeeping
from agent.outbox import Outbox
from agent.register_deltas import DeltaOptions, check_removals, check_sequence, read_lineage
from agent.register_records import (
    OpenFile,
    as_of_day,
    as_recorded,
    combined_sha256,
    described,
    is_same_load,
    recorded_files,
)
from agent.register_rows import Note, Rows, ignore, read_rows
from agent.registers import put_in_force, require_in_force

_APPEND_TIMEOUT_MS: Final = 10_000
_RENEW_EVERY_S: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportOptions:
    """What the operator says of a load."""

    as_of: date
    allow_shrink: bool = False
    allow_older: bool = False
    rejects: Note = ignore
    """Told of every line that is left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """A load that was put in force."""

    generation: Generation
    counts: Mapping[Blocked, int]
    lines: int
    duplicates: int
    rejected: int = 0
    """Lines that were wrong, and were left out."""
    problems: tuple[str, ...] = ()
    """The first of them, each in a sentence."""
    absent: int = 0
    """Of a list of changes: numbers that it takes out, and that were not in the register."""
    freed: tuple[str, ...]
    """Older generations that were removed from Redis."""
    unchanged: bool = False
    """True when exactly this load was in force already, so that nothing was done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuilt:
    """A Redis that holds again what the journal says."""

    applied: int
    """The last journal record that was applied."""
    in_force: Generation | None
    """None when the journal knows of no load."""
    reloaded: Imported | None
    """None when Redis had all of the load in force, so that no file was read."""


class RegisterLoading:
    """The use cases behind ``bmn register import`` and ``delta``, and ``bmn rebuild``. ``by`` is the system user."""

    def __init__(
        self,
        *,
        generations: Generations,
        journal: Journal,
        outbox: Outbox,
        keeping: GenerationKeeping,
        clock: Callable[[], datetime],
        max_shrink_percent: float,
        max_rejected_percent: float,
        numbering: str,
        by: str,
    ) -> None:
        """``numbering`` is the version of phonenumbers that reads numbers here."""
        self._generations = generations
        self._journal = journal
        self._outbox = outbox
        self._keeping = keeping
        self._clock = clock
        self._max_shrink_percent = max_shrink_percent
        self._max_rejected_percent = max_rejected_percent
        self._numbering = numbering
        self._by = by

    def import_files(
        self, profile: Profile, files: Sequence[RegisterFile], options: ImportOptions, progress: Progress
    ) -> Imported:
        """Load ``files`` as one generation. Raises ``InputRejected`` with everything as it was."""
        self._outbox.drain()
        loaded = self._history(profile).in_force
        current = self._generations.current(profile.key)
        if current is not None and is_same_load(loaded, current, files, options.as_of, self._numbering):
            return Imported(generation=current, counts={}, lines=0, duplicates=0, freed=(), unchanged=True)
        try:
            self._check_dates(profile, options)
            self._require_nobody_else(profile)
            read = self._read(profile, files, note=options.rejects, progress=progress)
            with self._generations.changing(profile.key) as changes:
                upto = self._journal.state().seq
                self._check_dates(profile, options)  # again, for another import may have come in between
                self._check_size(profile, read.numbers, options)
                return self._load(profile, files, options.as_of, read, changes, progress, upto=upto)
        except ImportUnderWay:
            raise
        except InputRejected as error:
            self._journal_rejection(profile, files, options.as_of, error)
            raise

    def check_files(
        self, profile: Profile, files: Sequence[RegisterFile], options: ImportOptions, progress: Progress
    ) -> Rows:
        """Read ``files`` and judge them as ``import_files`` would, without loading or recording anything."""
        self._check_dates(profile, options)
        read = self._read(profile, files, note=options.rejects, progress=progress)
        self._check_size(profile, read.numbers, options)
        return read

    def apply_delta(self, profile: Profile, file: RegisterFile, options: DeltaOptions, progress: Progress) -> Imported:
        """Load a list of changes: a new generation, made of the one in force. Raises as ``import_files``."""
        self._outbox.drain()
        try:
            self._check_delta(profile, options)
            self._require_nobody_else(profile)
            read = self._read(profile, [file], note=options.rejects, progress=progress)
            with self._generations.changing(profile.key) as changes:
                upto = self._journal.state().seq
                base = self._check_delta(profile, options)
                if not options.allow_shrink:
                    check_removals(len(read.removed), base.count, self._max_shrink_percent)
                generation = self._new_generation(profile, [file], options.as_of, 0)
                derived = changes.derive(generation, base, read.lists, read.removed, progress)
                loaded = self._history(profile).in_force
                versions = [] if loaded is None else read_with(loaded)
                made = self._publish(
                    derived.generation,
                    derived.counts,
                    [file],
                    read,
                    changes,
                    upto=upto,
                    base=base.id,
                    built_on=versions,
                )
                return replace(made, absent=derived.absent)
        except ImportUnderWay:
            raise
        except InputRejected as error:
            self._journal_rejection(profile, [file], options.as_of, error)
            raise

    def rebuild(
        self,
        profile: Profile,
        files: Sequence[RegisterFile],
        open_file: OpenFile,
        progress: Progress,
        *,
        take_over: bool = False,
    ) -> Rebuilt:
        """Apply the whole journal to Redis again, and load the register that was in force unless Redis has all of it.

        It is loaded as well when lines were left out of it that the version of phonenumbers of today may read.
        Without ``files``, those that the journal names are opened. Raises ``InputRejected`` when they are not the ones
        that were loaded. With ``take_over``, Redis may have been that of another journal.
        """
        history = self._history(profile)
        files = as_recorded(files, history.lineage, open_file) if files else ()
        applied = self._outbox.replay(progress, take_over=take_over)
        try:
            return self._reload(profile, history, applied, files, open_file, progress)
        except InputRejected as error:
            error.add_note("the lists of the sellers were applied again; the register was not loaded")
            raise

    def reload(
        self, profile: Profile, files: Sequence[RegisterFile], open_file: OpenFile, progress: Progress
    ) -> Rebuilt:
        """As ``rebuild``, and only the register: the lists stay as they are, and calls go on meanwhile.

        Raises ``ImportUnderWay`` when another process is about it.
        """
        with self._generations.repairing(profile.key) as renew:
            renewed_at = monotonic()

            def renewing(step: str, done: int, total: int | None) -> None:
                nonlocal renewed_at
                if monotonic() - renewed_at > _RENEW_EVERY_S:
                    renew()
                    renewed_at = monotonic()
                progress(step, done, total)

            self._outbox.drain()
            history = self._history(profile)
            files = as_recorded(files, history.lineage, open_file) if files else ()
            return self._reload(profile, history, self._outbox.applied(), files, open_file, renewing)

    def _reload(
        self,
        profile: Profile,
        history: RegisterHistory,
        applied: int,
        files: Sequence[RegisterFile],
        open_file: OpenFile,
        progress: Progress,
    ) -> Rebuilt:
        """Load what is in force by ``history``, unless Redis has all of it. Without ``files`` those of the journal."""
        loaded, lineage = history.in_force, history.lineage
        current = self._generations.current(profile.key)
        whole = loaded is not None and current is not None and current.id == loaded.body["generation"]
        if loaded is None or (whole and not unread_lines(history, self._numbering)):
            return Rebuilt(applied=applied, in_force=current, reloaded=None)
        files = files or recorded_files(lineage, open_file)
        read, own = read_lineage(lineage, files, partial(self._read, profile, note=ignore, progress=progress))
        with self._generations.changing(profile.key) as changes:
            upto = self._journal.state().seq
            now = self._history(profile).in_force
            if now is None or now.seq != loaded.seq:
                raise LookupUnavailable(
                    "another load came into force meanwhile, so this one did not: bmn register status tells which"
                )
            base = loaded.body.get("base")
            built_on = str(base) if base is not None else None
            imported = self._load(profile, own, as_of_day(loaded), read, changes, progress, upto=upto, base=built_on)
        return Rebuilt(applied=applied, in_force=imported.generation, reloaded=imported)

    def _require_nobody_else(self, profile: Profile) -> None:
        """Raise ``ImportUnderWay`` before the files are read, which may take minutes."""
        with self._generations.changing(profile.key):
            return

    def _read(self, profile: Profile, files: Sequence[RegisterFile], *, note: Note, progress: Progress) -> Rows:
        return read_rows(profile, files, self._max_rejected_percent, note, progress)

    def _load(
        self,
        profile: Profile,
        files: Sequence[RegisterFile],
        as_of: date,
        read: Rows,
        changes: GenerationChanges,
        progress: Progress,
        *,
        upto: int,
        base: str | None = None,
    ) -> Imported:
        """Write a generation, record it, which puts it in force, and let the oldest go."""
        generation = self._new_generation(profile, files, as_of, read.numbers)
        changes.load(generation, read.lists, progress)
        counts = {blocked: len(numbers) for blocked, numbers in read.lists.items()}
        return self._publish(generation, counts, files, read, changes, upto=upto, base=base)

    def _publish(
        self,
        generation: Generation,
        counts: Mapping[Blocked, int],
        files: Sequence[RegisterFile],
        read: Rows,
        changes: GenerationChanges,
        *,
        upto: int,
        base: str | None,
        built_on: Sequence[str | None] = (),
    ) -> Imported:
        """Record a generation that was written, which puts it in force, and let the oldest go.

        ``upto`` is the journal record up to which it was judged, and ``built_on`` are the versions of phonenumbers that
        read what it was made of in Redis. Raises ``LookupUnavailable`` when another load came
        into force since.
        """
        body: dict[str, JsonValue] = {
            "generation": generation.id,
            "profile": generation.profile,
            "as_of": generation.as_of.isoformat(),
            "loaded_at": generation.loaded_at.isoformat(),
            "count": generation.count,
            "counts": {str(blocked): count for blocked, count in counts.items()},
            "sha256": generation.sha256,
            "files": described(files),
            "duplicates": read.duplicates,
            "rejected": read.rejected,
            "base": base,
            "by": self._by,
            "read_with": [*dict.fromkeys([*built_on, self._numbering])],
            "left_out": dict(read.left_out),
        }
        changes.renew()
        put_in_force(self._journal, Event(EventType.REGISTER_LOADED, body), generation.profile, upto)
        self._outbox.drain_recorded()
        require_in_force(self._generations, generation)
        return Imported(
            generation=generation,
            counts=counts,
            lines=read.lines,
            duplicates=read.duplicates,
            rejected=read.rejected,
            problems=read.problems,
            freed=self._keeping.free_old(generation.profile, changes),
        )

    def _check_dates(self, profile: Profile, options: ImportOptions) -> None:
        today = profile.local_date(self._clock())
        if options.as_of > today:
            raise InputRejected(f"the as-of date {options.as_of} is in the future (today is {today})")
        loaded = self._history(profile).in_force
        if loaded is None or options.allow_older:
            return
        before = as_of_day(loaded)
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

    def _check_delta(self, profile: Profile, options: DeltaOptions) -> Generation:
        """The generation in force, if the changes follow on it."""
        today = profile.local_date(self._clock())
        if options.as_of > today:
            raise InputRejected(f"the as-of date {options.as_of} is in the future (today is {today})")
        check_sequence(self._history(profile).in_force, options.base, options.since, options.as_of)
        current = self._generations.current(profile.key)
        if current is None or current.id != options.base:
            raise LookupUnavailable(f"{options.base} is not in force in Redis: run bmn rebuild")
        return current

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
            sha256=combined_sha256(files),
        )

    def _journal_rejection(
        self, profile: Profile, files: Sequence[RegisterFile], as_of: date, error: InputRejected
    ) -> None:
        body: dict[str, JsonValue] = {
            "profile": profile.key,
            "as_of": as_of.isoformat(),
            "files": described(files),
            "problem": str(error),
            "problems": error.total,
            "by": self._by,
        }
        try:
            self._journal.append([Event(EventType.REGISTER_REJECTED, body)], Deadline.after_ms(_APPEND_TIMEOUT_MS))
        except JournalUnavailable as unavailable:
            error.add_note(f"the rejection could not be recorded: {unavailable}")
