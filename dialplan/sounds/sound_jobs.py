"""What has to be made from what, whether what is on disk still holds, and the making of it."""

import hashlib
import json
import tempfile
import wave
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

import sound_files
from prompt_texts import Listener, Prompt, Voice
from sound_manifest import Records, SoundRecord

SUBFOLDER = "bmn"
"""Folder inside each language: the dialplan plays `bmn/<name>`."""


class Fault(StrEnum):
    """What can be wrong with a file."""

    MISSING = "missing"
    SILENT = "silent"
    OUT_OF_DATE = "out of date"
    ALTERED = "altered"
    LEFT_OVER = "left over"
    RIVAL = "in the way"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One prompt, and what its files are to be made from.

    A `recording_sha256` without `recording` means: made from a recording that is not at hand now.
    """

    prompt: Prompt
    voice: Voice
    recording: Path | None
    recording_sha256: str | None

    @property
    def label(self) -> str:
        """What people call it."""
        return self.prompt.label

    @property
    def files(self) -> tuple[str, ...]:
        """Its files, relative to OUT; the 8 kHz one first."""
        return files_of(self.prompt)

    @property
    def recipe_sha256(self) -> str:
        """Hash of everything that decides how it sounds, but not of the versions of the tools."""
        maker: object = self.recording_sha256 or asdict(self.voice)
        recipe = [self.prompt.text, maker, self.prompt.tone, sound_files.SETTINGS]
        return _sha256_of_text(json.dumps(recipe, sort_keys=True))


def files_of(prompt: Prompt) -> tuple[str, ...]:
    """A prompt's files, relative to OUT."""
    base = f"{prompt.language}/{SUBFOLDER}/{prompt.name}"
    return tuple(base + ending for ending in sound_files.ENDINGS[prompt.heard_by])


def rivals_of(out: Path, job: Job) -> list[str]:
    """Other files of the name of what a consumer hears, relative to OUT: Asterisk may pick one of them.

    The seconds heard are then counted at another rate, so that they prove nothing.
    """
    if job.prompt.heard_by is not Listener.CONSUMER:
        return []
    (file,) = job.files
    found = (out / file).parent.glob(f"{job.prompt.name}.*")
    return sorted(path for path in (str(path.relative_to(out)) for path in found) if path != file)


def plan(
    prompts: Sequence[Prompt],
    voices: Mapping[str, Voice],
    recordings: Path | None,
    records: Records,
) -> list[Job]:
    """One job per prompt. Without `recordings`, what was made from a recording stays so."""
    jobs = []
    for prompt in prompts:
        recording = sha256 = None
        if recordings is None:
            made = [records[file] for file in files_of(prompt) if file in records]
            sha256 = next((record.recording_sha256 for record in made), None)
        elif (path := recordings / prompt.language / f"{prompt.name}.wav").is_file():
            recording, sha256 = path, sound_files.sha256_of(path)
        voice = voices[prompt.language]
        jobs.append(Job(prompt=prompt, voice=voice, recording=recording, recording_sha256=sha256))
    return jobs


def fault_of(out: Path, file: str, job: Job, records: Records) -> Fault | None:
    """What is wrong with one file of a job, short of listening to it."""
    path, record = out / file, records.get(file)
    if not path.is_file():
        return Fault.MISSING
    if record is None or record.recipe_sha256 != job.recipe_sha256:
        return Fault.OUT_OF_DATE
    return None if sound_files.sha256_of(path) == record.sha256 else Fault.ALTERED


def holds(out: Path, job: Job, records: Records) -> bool:
    """Whether all files of a job are as they should be."""
    return all(fault_of(out, file, job, records) is None for file in job.files)


def left_over(jobs: Sequence[Job], records: Records) -> list[str]:
    """Files in the manifest that no job makes any more."""
    return sorted(records.keys() - {file for job in jobs for file in job.files})


def find_faults(out: Path, jobs: Sequence[Job], records: Records) -> dict[str, Fault]:
    """What is wrong, by file; listens to each file too."""
    faults = {}
    for job in jobs:
        for file in job.files:
            fault = Fault.SILENT if _silent(out / file) else fault_of(out, file, job, records)
            if fault:
                faults[file] = fault
        faults |= dict.fromkeys(rivals_of(out, job), Fault.RIVAL)
    return faults


def make_all(out: Path, jobs: Sequence[Job], *, workers: int, made: Callable[[str], None]) -> dict[str, SoundRecord]:
    """Make all sounds beside their place, then move them there. Calls `made` with each label.

    Raises ToolMissingError, or SoundRejectedError with a line for each rejected one; OUT is unchanged then.
    """
    spoken = any(job.recording is None for job in jobs)
    sound_files.require_tools(["espeak-ng", "sox"] if spoken else ["sox"])
    version = sound_files.espeak_version() if spoken else ""
    out.mkdir(parents=True, exist_ok=True)
    records: dict[str, SoundRecord] = {}
    rejected: list[str] = []
    with tempfile.TemporaryDirectory(dir=out, prefix=".building-") as folder:
        staging = Path(folder)
        with ThreadPoolExecutor(max_workers=workers) as pool:
            futures = {pool.submit(_make, job, staging, version): job for job in jobs}
            for future in as_completed(futures):
                label = futures[future].label
                try:
                    records |= future.result()
                except sound_files.SoundRejectedError as error:
                    rejected.append(f"{label}: {error}")
                made(label)
        if rejected:
            raise sound_files.SoundRejectedError("\n".join(sorted(rejected)))
        for file in records:
            (out / file).parent.mkdir(parents=True, exist_ok=True)
            (staging / file).replace(out / file)
    return records


def _make(job: Job, staging: Path, espeak_version: str) -> dict[str, SoundRecord]:
    base = staging / job.prompt.language / SUBFOLDER / job.prompt.name
    base.parent.mkdir(parents=True, exist_ok=True)
    source = job.recording
    if source is None:
        source = base.with_name(f"{base.name}.spoken.wav")
        sound_files.speak(job.prompt.text, job.voice, source)
    sound_files.finish(source, base, sound_files.ENDINGS[job.prompt.heard_by], job.prompt.tone)
    records = {}
    for file in job.files:
        measured = sound_files.measure(staging / file)
        records[file] = SoundRecord(
            file=file,
            name=job.prompt.name,
            language=job.prompt.language,
            rate_hz=measured.rate_hz,
            samples=measured.samples,
            milliseconds=measured.milliseconds,
            sha256=measured.sha256,
            source="recording" if job.recording else espeak_version,
            recording_sha256=job.recording_sha256,
            text=job.prompt.text,
            text_sha256=_sha256_of_text(job.prompt.text),
            recipe_sha256=job.recipe_sha256,
        )
    return records


def _silent(path: Path) -> bool:
    try:
        return sound_files.measure(path).silent
    except (wave.Error, EOFError, OSError):
        return False  # missing, or no such WAV file: fault_of has a better word for it


def _sha256_of_text(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
