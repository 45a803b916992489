"""`dialplan/sounds/build` with recordings of a studio in the place of synthesised prompts."""

import array
import hashlib
import wave
from pathlib import Path

import pytest

from tests.integration.test_sounds_build import RATES, _tools, build, built, records, snapshot

__all__ = ["_tools"]


def write_tone(path: Path, *, seconds: float, rate: int = 44100, level: int = 12000) -> None:
    """A stereo square wave, as if it came from a studio; level 0 makes it silent."""
    path.parent.mkdir(parents=True, exist_ok=True)
    half_period = rate // 440 // 2
    wave_of = (level if (index // half_period) % 2 else -level for index in range(int(seconds * rate)))
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(2)
        sound.setsampwidth(2)
        sound.setframerate(rate)
        sound.writeframes(array.array("h", (value for sample in wave_of for value in (sample, sample))).tobytes())


def test_a_recording_replaces_the_synthesised_prompt(tmp_path: Path) -> None:
    """Stereo at 44.1 kHz becomes both telephone rates, and the manifest says where it came from."""
    out, recording = tmp_path / "out", tmp_path / "studio" / "nl" / "blocked.wav"
    build(out, "blocked")
    write_tone(recording, seconds=1.5)
    result = built(out, "blocked", "--recordings", tmp_path / "studio")
    assert result["built"] == ["nl/blocked"]
    for ending, rate in RATES.items():
        record = records(out)[f"nl/bmn/blocked{ending}"]
        assert record["source"] == "recording"
        assert record["recording_sha256"] == hashlib.sha256(recording.read_bytes()).hexdigest()
        assert record["rate_hz"] == rate
        assert 1500 <= record["milliseconds"] <= 1700
    assert records(out)["en/bmn/blocked.wav"]["recording_sha256"] is None


def test_what_was_recorded_stays_recorded_without_the_option(tmp_path: Path) -> None:
    """A later run must not put a robot's voice in the place of the studio's, nor hide that it cannot help."""
    out, studio = tmp_path / "out", tmp_path / "studio"
    write_tone(studio / "nl" / "blocked.wav", seconds=1.5)
    build(out, "blocked", "--recordings", studio)
    assert built(out, "blocked")["built"] == []
    assert "all there" in build(out, "blocked", "--check")
    (out / "nl" / "bmn" / "blocked.wav").unlink()
    assert "give --recordings DIR" in build(out, "blocked", exit_code=2)
    (studio / "nl" / "blocked.wav").unlink()
    assert built(out, "blocked", "--recordings", studio)["built"] == ["nl/blocked"]
    assert records(out)["nl/bmn/blocked.wav"]["source"].startswith("espeak-ng")


@pytest.mark.parametrize(
    ("seconds", "level", "why"),
    [(1.5, 0, "it is silent"), (1.5, 20, "it is silent"), (0.05, 12000, "it is too short to be speech")],
)
def test_a_recording_without_speech_is_rejected_and_nothing_changes(
    tmp_path: Path, seconds: float, level: int, why: str
) -> None:
    """All or nothing: the good one of the two is not installed either."""
    out, studio = tmp_path / "out", tmp_path / "studio"
    build(out, "blocked")
    before = snapshot(out)
    write_tone(studio / "nl" / "blocked.wav", seconds=1.5)
    write_tone(studio / "en" / "blocked.wav", seconds=seconds, level=level)
    said = build(out, "blocked", "--recordings", studio, exit_code=4)
    assert f"en/blocked: {why}" in said
    assert "nothing was changed" in said
    assert snapshot(out) == before


def test_a_recording_with_a_misspelt_name_is_refused(tmp_path: Path) -> None:
    """Else the prompt would quietly stay synthesised."""
    write_tone(tmp_path / "studio" / "nl" / "bloked.wav", seconds=0.1)
    said = build(tmp_path / "out", "blocked", "--recordings", tmp_path / "studio", exit_code=2)
    assert "there is no prompt 'bloked'; did you mean 'blocked'?" in said
