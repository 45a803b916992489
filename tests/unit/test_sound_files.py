"""Prompts on disk: what they are, what is wrong with them, and that a change is noticed."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from agent.adapters.sound_files import SoundFiles
from agent.domain.ports import Sound, SoundFault
from tests.unit.builders import write_wav


def test_a_prompt_is_found_with_its_length_and_its_hash(tmp_path: Path) -> None:
    """Milliseconds are rounded down, for they are evidence."""
    path = write_wav(tmp_path, samples=8007)
    assert SoundFiles(tmp_path).find("notice-acme", "nl") == Sound(
        name="notice-acme",
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        milliseconds=1000,
        silent=False,
    )
    assert SoundFiles(tmp_path).fault("notice-acme", "nl") is None


@pytest.mark.parametrize(
    ("shape", "fault"),
    [
        ({"rate": 16000}, SoundFault.WRONG_FORMAT),
        ({"channels": 2, "samples": 8000}, SoundFault.WRONG_FORMAT),
        ({"width": 1}, SoundFault.WRONG_FORMAT),
    ],
)
def test_a_format_that_asterisk_refuses_is_no_prompt(tmp_path: Path, shape: dict[str, Any], fault: SoundFault) -> None:
    """It would play nothing, whatever the file holds."""
    write_wav(tmp_path, **shape)
    sounds = SoundFiles(tmp_path)
    assert (sounds.find("notice-acme", "nl"), sounds.fault("notice-acme", "nl")) == (None, fault)


def test_missing_and_broken_files_are_no_prompts_and_are_told_apart(tmp_path: Path) -> None:
    """Not there; in another language; no WAV; cut off in the header or the data; a chunk without end; a folder."""
    sounds = SoundFiles(tmp_path)
    path = write_wav(tmp_path)
    whole = path.read_bytes()
    assert (sounds.find("notice-acme", "en"), sounds.fault("notice-acme", "en")) == (None, SoundFault.MISSING)
    assert (sounds.find("menu-acme", "nl"), sounds.fault("menu-acme", "nl")) == (None, SoundFault.MISSING)
    endless = whole[:12] + b"LIST\xff\xff\xff\x7f" + whole[12:]
    for content in (b"", b"RIFF", b"no sound at all" * 10, whole[:30], whole[:44], whole[:-2], whole[:-1], endless):
        path.write_bytes(content)
        found = sounds.find("notice-acme", "nl"), sounds.fault("notice-acme", "nl")
        assert found == (None, SoundFault.UNREADABLE), content[:50]
    path.unlink()
    path.mkdir()
    assert (sounds.find("notice-acme", "nl"), sounds.fault("notice-acme", "nl")) == (None, SoundFault.UNREADABLE)


@pytest.mark.parametrize(("peak", "silent"), [(0, True), (327, True), (328, False), (-32768, False)])
def test_a_file_that_nobody_would_hear_is_silent(tmp_path: Path, peak: int, silent: bool) -> None:
    """Below 1 % of full scale; it is still a prompt, and says so itself."""
    write_wav(tmp_path, peak=peak)
    sounds = SoundFiles(tmp_path)
    found = sounds.find("notice-acme", "nl")
    assert found is not None
    assert found.silent is silent
    assert sounds.fault("notice-acme", "nl") == (SoundFault.SILENT if silent else None)


def test_a_file_without_samples_is_silent(tmp_path: Path) -> None:
    """And lasts no time."""
    write_wav(tmp_path, samples=0)
    found = SoundFiles(tmp_path).find("notice-acme", "nl")
    assert found is not None
    assert (found.milliseconds, found.silent) == (0, True)


@pytest.mark.parametrize("ending", ["wav16", "gsm", "ulaw", "sln"])
def test_another_format_of_the_same_prompt_is_found(tmp_path: Path, ending: str) -> None:
    """Asterisk may play it instead; longer names that begin alike are other prompts."""
    path = write_wav(tmp_path)
    path.with_name(f"notice-acme-2.{ending}").touch()
    sounds = SoundFiles(tmp_path)
    assert sounds.fault("notice-acme", "nl") is None
    path.with_suffix(f".{ending}").touch()
    assert sounds.fault("notice-acme", "nl") is SoundFault.OTHER_FORMAT
    assert sounds.find("notice-acme", "nl") is not None


def test_a_file_is_read_again_when_it_changed_and_only_then(tmp_path: Path) -> None:
    """By size or by time of change."""
    sounds = SoundFiles(tmp_path)
    path = write_wav(tmp_path)
    first = sounds.find("notice-acme", "nl")
    assert first is not None
    assert sounds.find("notice-acme", "nl") is first
    written = path.stat().st_mtime_ns
    write_wav(tmp_path, samples=16_000)
    os.utime(path, ns=(written, written))
    longer = sounds.find("notice-acme", "nl")
    assert longer is not None
    assert longer.milliseconds == 2000
    changed = path.stat().st_mtime_ns + 1
    write_wav(tmp_path, samples=16_000, peak=1)
    os.utime(path, ns=(changed, changed))
    hushed = sounds.find("notice-acme", "nl")
    assert hushed is not None
    assert hushed.silent
    path.unlink()
    assert sounds.find("notice-acme", "nl") is None


def test_many_threads_see_the_same(tmp_path: Path) -> None:
    """The service asks from all its workers."""
    sounds = SoundFiles(tmp_path)
    for index in range(20):
        write_wav(tmp_path, f"prompt-{index}", samples=8000 + 8 * index)
    asked = [index % 20 for index in range(400)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda index: sounds.find(f"prompt-{index}", "nl"), asked))
    assert [sound.milliseconds if sound else None for sound in found] == [1000 + index for index in asked]
