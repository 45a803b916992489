"""What a record of a load says of its files, and those files found again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from datetime import date
from typing import Any

from agent.domain.errors import InputRejected
from agent.domain.journal_events import JsonValue, Record
from agent.domain.ports import RegisterFile


def combined_sha256(files: Sequence[RegisterFile]) -> str:
    """Of the one file; of the digests of all, in order, when there are several."""
    digests = [file.sha256 for file in files]
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def described(files: Sequence[RegisterFile]) -> list[JsonValue]:
    """The files as a record names them."""
    return [{"name": file.name, "path": file.location, "sha256": file.sha256, "bytes": file.bytes} for file in files]


def as_of_day(loaded: Record) -> date:
    """The day of which a load is."""
    return date.fromisoformat(str(loaded.body["as_of"]))


def as_recorded(files: Sequence[RegisterFile], loaded: Record | None) -> list[RegisterFile]:
    """``files`` in the order of the load in force. Raises ``InputRejected`` when they are not those."""
    if loaded is None:
        raise InputRejected("the journal knows of no register in force: load one with bmn register import")
    recorded: Any = loaded.body["files"]
    known = {item["sha256"] for item in recorded}
    for file in files:
        if file.sha256 not in known:
            raise InputRejected(
                f"{file.location} is not what was loaded as of {as_of_day(loaded)} (its SHA-256 is another): give the "
                "file as it was then (bmn rebuild FILE…), or load this one with bmn register import"
            )
    given = {file.sha256: file for file in files}
    for item in recorded:
        if item["sha256"] not in given:
            raise InputRejected(f"{item['name']} is missing: give all {len(recorded)} files of the load in force")
    return [given[item["sha256"]] for item in recorded]


def recorded_files(loaded: Record, open_file: Callable[[str], RegisterFile]) -> list[RegisterFile]:
    """The files of the load in force, where they were when it was made."""
    recorded: Any = loaded.body["files"]
    try:
        return [open_file(item.get("path") or item["name"]) for item in recorded]
    except InputRejected as error:
        raise InputRejected(
            f"{error}: give the file of the load in force, wherever it is now (bmn rebuild FILE…), "
            "or load a newer one with bmn register import"
        ) from error
