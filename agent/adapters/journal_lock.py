"""Who holds the journal's write lock, for an error that names the culprit: a shell, a backup, a copy."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

# walformat.html, "WAL-Index Locks": the byte of the -shm file that whoever writes holds.
_WRITE_LOCK: Final = "120"


def lock_holder(path: Path) -> str:
    """The other process that keeps the journal locked now, in words; empty when there is none to be seen."""
    try:
        inode = path.with_name(path.name + "-shm").stat().st_ino
        locks = Path("/proc/locks").read_text()
    except OSError:
        return ""
    for line in locks.splitlines():
        # 1: POSIX  ADVISORY  WRITE 4711 08:01:131075 120 120
        kind, *_, pid, file, first, last = line.replace("->", "").split()[1:]
        if kind == "POSIX" and file.endswith(f":{inode}") and first == last == _WRITE_LOCK:
            return "" if int(pid) == os.getpid() else _named(pid)
    return ""


def _named(pid: str) -> str:
    try:
        return f"{Path('/proc', pid, 'comm').read_text().strip()} (process {pid})"
    except OSError:
        return "a process that cannot be seen from here"
