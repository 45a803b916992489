"""Which AGI connections a service holds, as the kernel knows it, and how many descriptors it may have."""

from __future__ import annotations

import resource
from contextlib import suppress
from pathlib import Path
from typing import Final

_LISTENING: Final = "0A"


def open_connections(pid: int, port: int) -> list[str]:
    """The far ends of the connections to ``port`` that process ``pid`` holds, in whatever state, as /proc/net/tcp."""
    held = set()
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed just now
            held.add(str(path.readlink()))
    lines = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    here = [line for line in lines if line[1].endswith(f":{port:04X}") and line[3] != _LISTENING]
    return [line[2] for line in here if f"socket:[{line[9]}]" in held]


def spare_descriptors(pid: int, count: int) -> tuple[int, int]:
    """Leave a process so many descriptors; its limits of before."""
    taken = {int(path.name) for path in Path(f"/proc/{pid}/fd").iterdir()}
    free = (number for number in range(100_000) if number not in taken)
    limit = [next(free) for _ in range(count + 1)][-1]
    _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    return resource.prlimit(pid, resource.RLIMIT_NOFILE, (limit, hard))
