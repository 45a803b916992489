"""Is what a phone recorded the sound that should have been played?"""

from __future__ import annotations

import wave
from array import array
from pathlib import Path

import numpy as np

RATE_HZ = 8000
_SEGMENT = RATE_HZ // 2
_LOUD = 300.0
"""Root mean square below which half a second counts as a pause, which proves nothing."""
_SAME = 0.8


def read_wav(path: Path) -> array[int]:
    """The samples of a mono 16-bit .wav file of 8 kHz."""
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, RATE_HZ)
        return array("h", file.readframes(file.getnframes()))


def share_heard(recording: array[int], prompt: array[int]) -> float:
    """The share of a prompt's spoken half-seconds that occur in the recording, in order: 1 all of it, 0 none.

    Each is searched by normalised cross-correlation of the waveforms, which a telephone codec hardly changes, while
    other speech correlates with it by less than a half.
    """
    heard = np.asarray(recording, dtype=np.float64)
    wanted = np.asarray(prompt, dtype=np.float64)
    found = spoken = earliest = 0
    for start in range(0, len(wanted) - _SEGMENT + 1, _SEGMENT):
        segment = wanted[start : start + _SEGMENT]
        if np.sqrt(np.mean(segment**2)) < _LOUD:
            continue
        spoken += 1
        alike, place = _best_match(heard[earliest:], segment)
        if alike > _SAME:
            found += 1
            earliest += place
    return found / spoken if spoken else 0.0


def _best_match(heard: np.ndarray, segment: np.ndarray) -> tuple[float, int]:
    """The highest normalised cross-correlation of ``segment`` with a part of ``heard``, and where that part begins."""
    if len(heard) < len(segment):
        return 0.0, 0
    size = 1 << (len(heard) + len(segment) - 1).bit_length()
    product = np.fft.irfft(np.fft.rfft(heard, size) * np.conj(np.fft.rfft(segment, size)), size)
    sums = np.concatenate([[0.0], np.cumsum(heard**2)])
    energy = sums[len(segment) :] - sums[: -len(segment)]
    product = product[: len(energy)]
    alike = product / np.sqrt(np.maximum(energy, 1.0) * np.sum(segment**2))
    place = int(np.argmax(alike))
    return float(alike[place]), place
