"""`dialplan/sounds/build`, for real: espeak-ng speaks, sox converts, the stdlib measures."""

import array
import hashlib
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import wave
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

BUILD = Path(__file__).resolve().parents[2] / "dialplan" / "sounds" / "build"
NAMES = ("blocked", "blocked-registered-sector")
RATES = {".wav": 8000, ".wav16": 16000}

A_PROMPT_FILE = """
[languages.nl]
voice = "nl"
words_per_minute = 160
pitch = 42
word_gap_ms = 10

[prompts.greeting]
heard_by = "consumer"
nl = "Goedemiddag, u spreekt met {seller}."
"""


@pytest.fixture(autouse=True)
def _tools() -> None:
    """Both programs are in the test setup; where they are not, only CI insists."""
    if not (shutil.which("espeak-ng") and shutil.which("sox")) and not os.environ.get("CI"):
        pytest.skip("needs espeak-ng and sox: apt-get install espeak-ng sox")


def build(out: Path, *arguments: str | Path, exit_code: int = 0, **environment: str) -> str:
    """Run the build into `out`; returns what it printed, stderr after stdout."""
    done = subprocess.run(
        [sys.executable, BUILD, "--out", out, *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **environment},
        timeout=60,
    )
    said = done.stdout + done.stderr
    assert done.returncode == exit_code, said
    return said


def built(out: Path, *arguments: str | Path) -> dict[str, Any]:
    """Run the build and return its JSON result."""
    done = subprocess.run(
        [sys.executable, BUILD, "--out", out, "--json", *arguments],
        stdout=subprocess.PIPE,
        check=True,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        timeout=60,
    )
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def records(out: Path) -> dict[str, dict[str, Any]]:
    """The manifest's records by file."""
    return {record["file"]: record for record in json.loads((out / "manifest.json").read_text())["files"]}


def snapshot(out: Path) -> dict[str, tuple[bytes, int]]:
    """Content and modification time of every file under a folder."""
    return {
        str(path.relative_to(out)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in out.rglob("*")
        if path.is_file()
    }


def samples(path: Path) -> "array.array[int]":
    """The samples of a mono 16-bit file."""
    with wave.open(str(path), "rb") as sound:
        assert (sound.getnchannels(), sound.getsampwidth()) == (1, 2)
        return array.array("h", sound.readframes(sound.getnframes()))


def test_each_prompt_becomes_an_audible_file_at_both_rates(tmp_path: Path) -> None:
    """Two prompts in two languages: rate, length, level and the short lead are as Asterisk needs them."""
    build(tmp_path, *NAMES)
    files = sorted(path for path in tmp_path.rglob("*.wav*"))
    assert len(files) == len(NAMES) * 2 * len(RATES)
    for path in files:
        with wave.open(str(path), "rb") as sound:
            assert sound.getframerate() == RATES[path.suffix], path
        heard = samples(path)
        assert 3 <= len(heard) / RATES[path.suffix] <= 7, path
        rms = (sum(sample * sample for sample in heard) / len(heard)) ** 0.5
        assert 2000 < rms < 5000, path
        assert 0.68 < max(map(abs, heard)) / 32768 < 0.73, path  # -3 dBFS
        onset = next(index for index, sample in enumerate(heard) if abs(sample) > 1000)
        assert onset / RATES[path.suffix] < 0.08, path
        # Asterisk takes a header of exactly 44 bytes for granted when it tells how much was played.
        assert path.stat().st_size == 44 + 2 * len(heard), path


def test_the_manifest_describes_the_very_bytes_on_disk(tmp_path: Path) -> None:
    """Hash, samples and milliseconds are evidence, so they are compared with an independent reading."""
    build(tmp_path, *NAMES)
    found = records(tmp_path)
    assert set(found) == {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.wav*")}
    for file, record in found.items():
        path = tmp_path / file
        count = len(samples(path))
        assert record["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        assert record["samples"] == count
        assert record["milliseconds"] == count * 1000 // record["rate_hz"]
        assert record["text_sha256"] == hashlib.sha256(record["text"].encode()).hexdigest()
        assert record["source"].startswith("espeak-ng 1.")
    for name in NAMES:
        for language in ("nl", "en"):
            low, high = (found[f"{language}/bmn/{name}{ending}"] for ending in RATES)
            assert low["milliseconds"] == high["milliseconds"]
            assert 2 * low["samples"] == high["samples"]


def test_a_second_run_rebuilds_nothing(tmp_path: Path) -> None:
    """Not even the manifest is written again."""
    assert len(built(tmp_path, *NAMES)["built"]) == len(NAMES) * 2
    before = snapshot(tmp_path)
    assert built(tmp_path, *NAMES) == {"built": [], "unchanged": 4, "removed": [], "out": str(tmp_path)}
    assert snapshot(tmp_path) == before


def test_the_same_texts_give_the_same_bytes(tmp_path: Path) -> None:
    """Whatever the folder and the number of cores."""
    build(tmp_path / "one", *NAMES, "--jobs", "1")
    build(tmp_path / "other", *NAMES, "--jobs", "4")
    assert {file: content for file, (content, _) in snapshot(tmp_path / "one").items()} == {
        file: content for file, (content, _) in snapshot(tmp_path / "other").items()
    }


def test_only_what_changed_is_rebuilt(tmp_path: Path) -> None:
    """A new text in one language leaves the rest alone, and --check says so beforehand."""
    texts = tmp_path / "prompts.toml"
    texts.write_text((BUILD.parent / "prompts.toml").read_text())
    build(tmp_path / "out", *NAMES, "--prompts", texts)
    texts.write_text(texts.read_text().replace("dit nummer mag u niet bellen", "u mag dit nummer niet bellen"))
    said = build(tmp_path / "out", *NAMES, "--prompts", texts, "--check", exit_code=1)
    assert said.splitlines() == ["out of date  nl/bmn/blocked.wav", "out of date  nl/bmn/blocked.wav16"]
    assert built(tmp_path / "out", *NAMES, "--prompts", texts)["built"] == ["nl/blocked"]


def test_check_finds_a_silent_a_missing_and_an_altered_file(tmp_path: Path) -> None:
    """Each by name; the next build repairs exactly those."""
    build(tmp_path, *NAMES)
    assert "8 files, all there" in build(tmp_path, *NAMES, "--check")
    silent, missing, altered = (
        tmp_path / file
        for file in ("nl/bmn/blocked.wav", "en/bmn/blocked.wav16", "nl/bmn/blocked-registered-sector.wav")
    )
    length = len(samples(silent))
    with wave.open(str(silent), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(array.array("h", [20, -20] * (length // 2)).tobytes())  # a hum nobody hears
    missing.unlink()
    altered.write_bytes(altered.read_bytes()[:-2] + b"\x01\x00")
    assert sorted(build(tmp_path, *NAMES, "--check", exit_code=1).splitlines()) == [
        "altered      nl/bmn/blocked-registered-sector.wav",
        "missing      en/bmn/blocked.wav16",
        "silent       nl/bmn/blocked.wav",
    ]
    repaired = built(tmp_path, *NAMES)["built"]
    assert sorted(repaired) == ["en/blocked", "nl/blocked", "nl/blocked-registered-sector"]
    assert "all there" in build(tmp_path, *NAMES, "--check")


def test_a_text_with_the_seller_is_spoken_once_per_seller(tmp_path: Path) -> None:
    """The names come from the settings file; without it the build says what it needs."""
    texts, settings = tmp_path / "prompts.toml", tmp_path / "bmn.toml"
    texts.write_text(A_PROMPT_FILE)
    settings.write_text('[sellers.acme]\nname = "Acme Energie"\n')
    assert "give --sellers FILE" in build(tmp_path / "out", "--prompts", texts, exit_code=2)
    build(tmp_path / "out", "--prompts", texts, "--sellers", settings)
    made = records(tmp_path / "out")
    assert made["nl/bmn/greeting-acme.wav"]["text"] == "Goedemiddag, u spreekt met Acme Energie."


def test_without_sellers_the_rest_is_built_and_what_was_made_for_them_stays(tmp_path: Path) -> None:
    """Setting up a machine again must not silence the sellers; a seller that is gone is removed when they are given."""
    texts, settings, out = tmp_path / "prompts.toml", tmp_path / "bmn.toml", tmp_path / "out"
    texts.write_text(A_PROMPT_FILE + '[prompts.thanks]\nheard_by = "agent"\nnl = "Dank u wel."\n')
    settings.write_text('[sellers.acme]\nname = "Acme"\n[sellers.hart]\nname = "Hart"\n')
    build(out, "--prompts", texts, "--sellers", settings)
    assert "left out: 1 texts that name the seller; give --sellers FILE" in build(out, "--prompts", texts)
    assert "give --sellers FILE" in build(out, "greeting", "--prompts", texts, exit_code=2)
    assert (out / "nl/bmn/greeting-acme.wav").exists()
    settings.write_text('[sellers.acme]\nname = "Acme"\n')
    assert built(out, "--prompts", texts, "--sellers", settings)["removed"] == ["nl/bmn/greeting-hart.wav"]


def test_what_a_consumer_hears_is_built_at_8_khz_alone(tmp_path: Path) -> None:
    """Asterisk counts what it played at the rate of the file it picked, so there must be one to pick."""
    build(tmp_path, "goodbye", "blocked")
    assert sorted(path.name for path in (tmp_path / "nl" / "bmn").iterdir()) == [
        "blocked.wav",
        "blocked.wav16",
        "goodbye.wav",
    ]
    with wave.open(str(tmp_path / "nl" / "bmn" / "goodbye.wav")) as sound:
        assert sound.getframerate() == 8000


@pytest.mark.parametrize("ending", ["wav16", "gsm"])
def test_another_format_beside_what_a_consumer_hears_is_found_and_refused(tmp_path: Path, ending: str) -> None:
    """Asterisk might play it, and the seconds heard would prove nothing."""
    build(tmp_path, "goodbye", "blocked")
    rival = tmp_path / "nl" / "bmn" / f"goodbye.{ending}"
    rival.write_bytes(b"")
    told = build(tmp_path, "goodbye", "blocked", "--check", exit_code=1)
    assert told.splitlines() == [f"in the way   nl/bmn/goodbye.{ending}"]
    assert f"nl/bmn/goodbye.{ending}; Asterisk may play one" in build(tmp_path, "goodbye", exit_code=2)
    rival.unlink()
    assert "all there" in build(tmp_path, "goodbye", "blocked", "--check")


def test_a_prompt_that_consumers_come_to_hear_loses_its_16_khz_file(tmp_path: Path) -> None:
    """By the next build, without being told."""
    texts, out = tmp_path / "prompts.toml", tmp_path / "out"
    texts.write_text(A_PROMPT_FILE.replace("consumer", "agent").replace("{seller}", "Acme"))
    assert len(built(out, "--prompts", texts)["built"]) == 1
    texts.write_text(texts.read_text().replace("agent", "consumer"))
    assert built(out, "--prompts", texts)["removed"] == ["nl/bmn/greeting.wav16"]
    assert not (out / "nl" / "bmn" / "greeting.wav16").exists()


def test_another_signal_makes_the_prompt_anew(tmp_path: Path) -> None:
    """Or an agent would go on hearing the old one."""
    texts, out = tmp_path / "prompts.toml", tmp_path / "out"
    texts.write_text(A_PROMPT_FILE.replace('"consumer"', '"agent"\ntone = "recorded"').replace("{seller}", "Acme"))
    build(out, "--prompts", texts)
    texts.write_text(texts.read_text().replace("recorded", "rejected"))
    assert built(out, "--prompts", texts)["built"] == ["nl/greeting"]


def pitch(sound: "array.array[int]", rate: int, start_ms: int, end_ms: int) -> float:
    """Hertz of a pure tone, by counting how often it crosses zero."""
    part = sound[start_ms * rate // 1000 : end_ms * rate // 1000]
    crossings = sum((one < 0) != (other < 0) for one, other in itertools.pairwise(part))
    return crossings / 2 / (len(part) / rate)


@pytest.mark.parametrize(("ending", "rate"), RATES.items())
@pytest.mark.parametrize(
    ("name", "first", "second"),
    [("key-offered", (10, 60, 740), (80, 150, 1110)), ("key-rejected", (10, 130, 370), (150, 330, 290))],
)
def test_an_agent_hears_recorded_and_rejected_apart_without_words(
    tmp_path: Path, ending: str, rate: int, name: str, first: tuple[int, int, int], second: tuple[int, int, int]
) -> None:
    """Short and rising, or low and falling; at both rates, and audible."""
    build(tmp_path, name)
    heard = samples(tmp_path / "nl" / "bmn" / f"{name}{ending}")
    for start, end, hertz in (first, second):
        assert pitch(heard, rate, start, end) == pytest.approx(hertz, rel=0.06)
        assert max(heard[start * rate // 1000 : end * rate // 1000]) > 3000
    assert len(heard) / rate < 2.2


def test_the_page_for_a_studio_has_every_text_with_its_file_and_its_marks(tmp_path: Path) -> None:
    """Per language and seller, complete in one file, with names escaped; nothing is built."""
    settings, page = tmp_path / "bmn.toml", tmp_path / "studio.html"
    settings.write_text('[sellers.acme]\nname = "Acme & Co"\n')
    assert "give --sellers FILE" in build(tmp_path / "out", "--studio", page, exit_code=2)
    build(tmp_path / "out", "--sellers", settings, "--studio", page)
    assert not (tmp_path / "out").exists()
    html = page.read_text()
    ElementTree.fromstring(html)  # whole, and nothing in it unescaped
    rows = dict(re.findall(r"<td>([^<]*)\.wav</td><td>[^<]*</td><td>([^<]*)</td>", html))
    texts = tomllib.loads((BUILD.parent / "prompts.toml").read_text())["prompts"]
    assert len(rows) == 2 * len(texts)
    assert (rows["nl/notice-acme"], rows["nl/scope"]) == ("PROOF", "PROOF, runs on")
    assert (rows["en/blocked"], rows["en/key-rejected"]) == ("", "signal: rejected")
    assert "U bent gebeld namens Acme &amp; Co." in html
    assert re.findall(r"<h2>(.*?)</h2>", html) == [
        f"{language}: heard by the {part}"
        for language in ("en", "nl")
        for part in ("agent", "consumer", "consumer, for Acme &amp; Co")
    ]
    assert "--recordings FOLDER" in html
    assert "http" not in html


@pytest.mark.parametrize(
    ("found", "put", "said"),
    [
        ("nl = ", "de = ", "unknown key 'prompts.greeting.de'"),
        ("nl = ", "de = ", "'prompts.greeting' has no text in 'nl'"),
        ("{seller}", "{name}", "has the placeholder name; only {seller} may be used"),
        ("[prompts", "speed = 3\n[prompts", "unknown key 'languages.nl.speed'"),
        ("pitch = 42", 'pitch = "high"', "'languages.nl.pitch' must be a whole number from 0 to 99"),
        ("pitch = 42", "pitch = ", "is not valid TOML"),
        ("prompts.greeting", "prompts.Greeting", "cannot be a sound's name"),
        ('heard_by = "consumer"', "", "'prompts.greeting.heard_by' must be one of: agent, consumer"),
        ('"consumer"', '"customer"', "'prompts.greeting.heard_by' must be one of: agent, consumer"),
        ("nl = ", 'tone = "loud"\nnl = ', "'prompts.greeting.tone' must be one of: recorded, rejected"),
    ],
)
def test_a_mistake_in_the_prompt_file_is_told_in_words(tmp_path: Path, found: str, put: str, said: str) -> None:
    """Exit code 2 and a sentence, not a traceback."""
    assert found in A_PROMPT_FILE
    texts = tmp_path / "prompts.toml"
    texts.write_text(A_PROMPT_FILE.replace(found, put))
    message = build(tmp_path / "out", "--prompts", texts, exit_code=2)
    assert said in message
    assert "Traceback" not in message


def test_missing_programs_are_named_with_the_command_that_installs_them(tmp_path: Path) -> None:
    """And --list and --check need neither of them."""
    said = build(tmp_path, "blocked", exit_code=3, PATH=str(tmp_path))
    assert "install with: apt-get install espeak-ng sox" in said
    assert "not built" in build(tmp_path, "blocked", "--list", PATH=str(tmp_path))
    assert "missing" in build(tmp_path, "blocked", "--check", exit_code=1, PATH=str(tmp_path))


def test_the_list_shows_name_language_seconds_and_source(tmp_path: Path) -> None:
    """As a table for people and as JSON for programs, with the same content."""
    build(tmp_path, "blocked")
    rows = json.loads(build(tmp_path, "blocked", "--list", "--json"))
    seconds = {row["language"]: row["seconds"] for row in rows}
    table = build(tmp_path, "blocked", "--list").splitlines()
    assert table[0].split() == ["name", "language", "seconds", "source"]
    for row, line in zip(rows, table[1:], strict=True):
        played = samples(tmp_path / row["language"] / "bmn" / "blocked.wav")
        assert abs(len(played) / 8000 - row["seconds"]) < 0.001
        assert line.split() == ["blocked", row["language"], f"{seconds[row['language']]:.2f}", *row["source"].split()]
