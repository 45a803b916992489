"""One sound: speak or convert it, bring it to telephone level, measure it.

espeak-ng and sox do the work, as subprocesses. The same input gives the same bytes with the same versions
of both: dither is off and nothing here depends on time or order.
"""

import array
import hashlib
import math
import shutil
import subprocess
import sys
import wave
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from prompt_texts import Listener, Tone, Voice

RATES: Mapping[str, int] = {".wav": 8000, ".wav16": 16000}
"""Hertz by file ending, as Asterisk's format_wav knows them."""

ENDINGS: Mapping[Listener, tuple[str, ...]] = {Listener.AGENT: (".wav", ".wav16"), Listener.CONSUMER: (".wav",)}
"""What is made for whom. What a consumer was played is proved by Asterisk's endpos, which counts at the rate of the
file that Asterisk picked: with one file there is one rate."""

SILENCE_BELOW_DBFS = -40.0
"""A whole file with a lower RMS level is silent; spoken prompts have about -22."""

QUIETEST_SOURCE_DBFS = -55.0
"""A recording with a lower RMS level is noise: levelling would only make it loud noise."""

SHORTEST_SPEECH_MS = 200
"""Anything shorter is a click."""

PEAK_DBFS = -3
LOUDNESS_DBFS = -21.0
"""RMS level of the speech in every prompt, reached by limiting its loudest peaks."""

MASTER_RATE = 16000
LEAD_MS = 30
TAIL_MS = 120
_EDGE = 0.01  # speech starts and ends where a sample exceeds this share of full scale

TONES: Mapping[Tone, tuple[tuple[int, int], ...]] = {
    Tone.RECORDED: ((740, 70), (1110, 90)),
    Tone.REJECTED: ((370, 140), (290, 200)),
}
"""Notes (hertz, milliseconds) of each signal: short and rising, or low, longer and falling."""
_AFTER_TONE_MS = 60
_NOTE_EDGE_MS = 5

_MONO = (
    *("remix", "-"),  # all channels, averaged
    *("highpass", "120"),  # hum and plosives, which a telephone does not carry
    *("rate", "-v", str(MASTER_RATE)),
)
_LEVEL = (
    *("norm", "-8"),
    # A mild compressor: lifts soft syllables, so that prompts (and studio recordings) are equally loud.
    *("compand", "0.005,0.15", "6:-60,-60,-24,-14,0,-6"),
    *("norm", str(PEAK_DBFS)),
    *("pad", "0.1", "0.2"),  # so that there is a lead and a tail to leave, however tight the source
)
_FINISH = ("fade", "t", "0.005", "-0", "0.02")

SETTINGS = (
    "method=1",  # raise it when finish() changes in a way that the rest of this does not show
    *_MONO,
    *_LEVEL,
    *_FINISH,
    f"loudness={LOUDNESS_DBFS}",
    f"lead={LEAD_MS}",
    f"tail={TAIL_MS}",
    f"edge={_EDGE}",
    *(f"{tone}={notes}" for tone, notes in TONES.items()),
)
"""All that shapes a sound besides its text and voice: part of what `sound_jobs.py` hashes."""

APT_PACKAGES = {"espeak-ng": "espeak-ng", "sox": "sox"}


class ToolMissingError(Exception):
    """A program that this needs is not installed; the message says how to install it."""


class SoundRejectedError(Exception):
    """A text or recording gave no usable sound; the message says which and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """What a WAV file on disk is. `milliseconds` is rounded down: never more than was there."""

    rate_hz: int
    samples: int
    rms_dbfs: float
    sha256: str

    @property
    def milliseconds(self) -> int:
        """Length of the sound."""
        return self.samples * 1000 // self.rate_hz

    @property
    def silent(self) -> bool:
        """Whether nobody would hear anything."""
        return self.rms_dbfs < SILENCE_BELOW_DBFS


def require_tools(tools: Sequence[str]) -> None:
    """Raise ToolMissingError, with the command that helps, unless every program is there."""
    missing = [tool for tool in tools if shutil.which(tool) is None]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        packages = " ".join(APT_PACKAGES[tool] for tool in missing)
        raise ToolMissingError(
            f"{' and '.join(missing)} {verb} needed to build the prompts and {verb} not installed;"
            f" install with: apt-get install {packages}"
        )


def espeak_version() -> str:
    """For example `espeak-ng 1.51`."""
    said = subprocess.run(["espeak-ng", "--version"], capture_output=True, text=True, check=True)
    return f"espeak-ng {said.stdout.partition(': ')[2].split()[0]}"


def speak(text: str, voice: Voice, target: Path) -> None:
    """Synthesise a text into a WAV file at espeak-ng's own rate."""
    speed, pitch, gap = voice.words_per_minute, voice.pitch, voice.word_gap_ms // 10
    manner = f"-s {speed} -p {pitch} -g {gap} -z -b 1 --stdin".split()
    command = ["espeak-ng", "-v", voice.name, *manner, "-w", str(target)]
    _run(command, said=voice.spelling_of(text))


def finish(source: Path, target_base: Path, endings: Sequence[str], tone: Tone | None) -> None:
    """Convert any sound that sox reads into `target_base` plus each of `endings`, with `tone` before it.

    Level, trim and fade happen once, on a master, so that both rates hold the same moment of speech.
    """
    mono = target_base.with_name(f"{target_base.name}.mono.wav")
    master = target_base.with_name(f"{target_base.name}.master.wav")
    _run(["sox", "-D", str(source), "-b", "16", str(mono), *_MONO])
    if _rms_dbfs(_samples(mono)) < QUIETEST_SOURCE_DBFS:
        raise SoundRejectedError("it is silent")
    _run(["sox", "-D", str(mono), "-b", "16", str(master), *_LEVEL])
    samples = _samples(master)
    loud = [index for index, sample in enumerate(samples) if abs(sample) > _EDGE * 32768]
    if loud[-1] - loud[0] < SHORTEST_SPEECH_MS * MASTER_RATE // 1000:
        raise SoundRejectedError("it is too short to be speech")
    start = loud[0] - LEAD_MS * MASTER_RATE // 1000
    end = loud[-1] + 1 + TAIL_MS * MASTER_RATE // 1000
    end -= (end - start) % 2  # so that half the rate has exactly half the samples
    speech = samples[start:end]
    loudness = _rms_dbfs(speech)
    _write(master, (_signal(tone, loudness) if tone else array.array("h")) + speech)
    gain = LOUDNESS_DBFS - loudness - PEAK_DBFS
    limit = ["gain", "-l", f"{gain:.2f}"] if gain > 0 else []
    for ending in endings:
        out = ["-t", "wav", "-b", "16", f"{target_base}{ending}", "rate", "-v", str(RATES[ending])]
        _run(["sox", "-D", str(master), *out, *limit, *_FINISH, "norm", str(PEAK_DBFS)])


def _signal(tone: Tone, rms_dbfs: float) -> "array.array[int]":
    """The notes of a tone at MASTER_RATE, as loud as the speech after it, and a pause."""
    peak = 32768 * 10 ** (rms_dbfs / 20) * math.sqrt(2)
    samples = array.array("h")
    for hertz, milliseconds in TONES[tone]:
        count, edge = milliseconds * MASTER_RATE // 1000, _NOTE_EDGE_MS * MASTER_RATE // 1000
        for index in range(count):
            fade = min(index, count - index, edge) / edge  # without it a note begins with a click
            samples.append(round(fade * peak * math.sin(2 * math.pi * hertz * index / MASTER_RATE)))
    return samples + array.array("h", bytes(2 * _AFTER_TONE_MS * MASTER_RATE // 1000))


def _write(path: Path, samples: "array.array[int]") -> None:
    if sys.byteorder == "big":
        samples.byteswap()
    with wave.open(str(path), "wb") as sound:
        sound.setparams((1, 2, MASTER_RATE, 0, "NONE", ""))
        sound.writeframes(samples.tobytes())


def measure(path: Path) -> Measurement:
    """Measure a mono 16-bit WAV file. Raises wave.Error, EOFError or OSError if it is none."""
    samples = _samples(path)
    with wave.open(str(path), "rb") as sound:
        rate_hz = sound.getframerate()
    return Measurement(
        rate_hz=rate_hz,
        samples=len(samples),
        rms_dbfs=_rms_dbfs(samples),
        sha256=sha256_of(path),
    )


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _samples(path: Path) -> "array.array[int]":
    with wave.open(str(path), "rb") as sound:
        if (sound.getnchannels(), sound.getsampwidth()) != (1, 2):
            raise wave.Error("not mono 16-bit")
        samples = array.array("h", sound.readframes(sound.getnframes()))
    if sys.byteorder == "big":
        samples.byteswap()
    return samples


def _rms_dbfs(samples: "array.array[int]") -> float:
    energy = sum(sample * sample for sample in samples)
    return 10 * math.log10(energy / len(samples) / 32768**2) if energy else -math.inf


def _run(command: Sequence[str], said: str = "") -> None:
    done = subprocess.run(command, input=said, capture_output=True, encoding="utf-8", errors="replace", check=False)
    if done.returncode != 0:
        why = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
        raise SoundRejectedError(f"{command[0]} says: {why}")
