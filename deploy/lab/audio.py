"""The sounds that the lab says, and the recordings of what was heard."""

from __future__ import annotations

import math
import struct
import threading
import time
import wave
from array import array
from dataclasses import dataclass
from pathlib import Path

from .errors import LabError

RATE_HZ = 8000


@dataclass(frozen=True, slots=True)
class Recording:
    """Mono 16-bit samples at 8 kHz."""

    samples: array[int]

    @property
    def seconds(self) -> float:
        """How long it lasts, silence included."""
        return len(self.samples) / RATE_HZ

    @property
    def loudness(self) -> float:
        """Root mean square of the samples: below 50 is silence, a voice above 500."""
        if not self.samples:
            return 0.0
        return math.sqrt(sum(sample * sample for sample in self.samples) / len(self.samples))

    def tone_share(self, hz: float) -> float:
        """The share of the energy at this frequency: near 1 for that tone, near 0 without it."""
        energy = sum(sample * sample for sample in self.samples)
        if not energy:
            return 0.0
        # Goertzel per block: the phase may jump where a file is played again.
        block, power = 400, 0.0
        factor = 2 * math.cos(2 * math.pi * hz / RATE_HZ)
        for start in range(0, len(self.samples) - block + 1, block):
            last = before = 0.0
            for sample in self.samples[start : start + block]:
                last, before = sample + factor * last - before, last
            power += last * last + before * before - factor * last * before
        return min(1.0, power / (energy * block / 2))


def write_tone(path: Path, hz: float, seconds: float) -> None:
    """Write a .wav file with one tone, a whole number of periods of 1 s."""
    samples = array(
        "h",
        (round(8000 * math.sin(2 * math.pi * hz * index / RATE_HZ)) for index in range(int(seconds * RATE_HZ))),
    )
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(samples.tobytes())


def read_recording(path: Path, timeout_s: float = 5.0) -> Recording:
    """Read what MixMonitor wrote, once it is complete; LabError when it is not in time.

    MixMonitor goes on writing for a moment after the call, and puts the length in
    the header last: the file is complete when header and size agree.
    """
    deadline = time.monotonic() + timeout_s
    pace = threading.Event()
    while True:
        data = path.read_bytes() if path.exists() else b""
        if len(data) > 44 and struct.unpack_from("<I", data, 40)[0] == len(data) - 44:
            return Recording(array("h", data[44:]))
        if time.monotonic() >= deadline:
            state = f"incomplete ({len(data)} bytes)" if data else "absent"
            raise LabError(f"the recording {path.name} is {state} after {timeout_s} s")
        pace.wait(0.01)
