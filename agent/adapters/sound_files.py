"""The prompts on disk: ``<folder>/<language>/bmn/<name>.wav``, as ``dialplan/sounds/build`` makes them."""

from __future__ import annotations

import array
import hashlib
import io
import sys
import threading
import wave
from pathlib import Path
from typing import Final

from agent.domain.ports import Sound, SoundFault

SUBFOLDER: Final = "bmn"
RATE_HZ: Final = 8000
"""Of every ``.wav`` that Asterisk plays (formats/format_wav.c); it refuses any other."""
_SILENT_BELOW: Final = 328
"""A file whose loudest sample is below 1 % of full scale (-40 dBFS) is silent.

The peaks of speech lie some 15 dB above its mean, so that mean is -55 dBFS or less: no more than the noise of a
telephone line. What ``build`` makes has its peak at -3 dBFS.
"""

_Known = tuple[int, int, Sound | SoundFault]
"""Time of change in nanoseconds, size in bytes, and what was found then."""


class SoundFiles:
    """See ``agent.domain.ports.Sounds`` and ``SoundFaults``. Thread-safe; a file is read again when it has changed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[Path, _Known] = {}
        self._lock = threading.Lock()

    def find(self, name: str, language: str) -> Sound | None:
        """The prompt, or None when its file is missing, broken, or in a format that Asterisk refuses."""
        found = self._look(name, language)
        return found if isinstance(found, Sound) else None

    def fault(self, name: str, language: str) -> SoundFault | None:
        """What is wrong with the prompt's file, if anything."""
        found = self._look(name, language)
        if isinstance(found, SoundFault):
            return found
        if found.silent:
            return SoundFault.SILENT
        beside = self._path(name, language).parent.glob(f"{name}.*")
        return SoundFault.OTHER_FORMAT if any(path.suffix != ".wav" for path in beside) else None

    def _path(self, name: str, language: str) -> Path:
        return self._folder / language / SUBFOLDER / f"{name}.wav"

    def _look(self, name: str, language: str) -> Sound | SoundFault:
        path = self._path(name, language)
        try:
            status = path.stat()
            stamp = (status.st_mtime_ns, status.st_size)
            with self._lock:
                known = self._known.get(path)
            if known is not None and known[:2] == stamp:
                return known[2]
            found = _read(name, path.read_bytes())
        except FileNotFoundError:
            return SoundFault.MISSING
        except OSError:
            return SoundFault.UNREADABLE
        with self._lock:
            self._known[path] = (*stamp, found)
        return found


def _read(name: str, content: bytes) -> Sound | SoundFault:
    try:
        with wave.open(io.BytesIO(content)) as file:
            form = (file.getframerate(), file.getnchannels(), file.getsampwidth())
            promised = file.getnframes() * file.getnchannels() * file.getsampwidth()
            data = file.readframes(file.getnframes())
    except (wave.Error, EOFError, RuntimeError):  # the last from a chunk that is longer than the whole
        return SoundFault.UNREADABLE
    if len(data) != promised:
        return SoundFault.UNREADABLE
    if form != (RATE_HZ, 1, 2):
        return SoundFault.WRONG_FORMAT
    samples = array.array("h", data)
    if sys.byteorder == "big":
        samples.byteswap()
    return Sound(
        name=name,
        sha256=hashlib.sha256(content).hexdigest(),
        milliseconds=len(samples) * 1000 // RATE_HZ,
        silent=max(map(abs, samples), default=0) < _SILENT_BELOW,
    )
