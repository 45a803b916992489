"""What a record of a load says of its files, and those files found again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any

from agent.domain.errors import InputRejected
from agent.domain.journal_events import JsonValue, Record
from agent.domain.model import Generation
from agent.domain.ports import RegisterFile
from agent.domain.register_history import read_with

OpenFile = Callable[[str, Mapping[str, str | None] | None], RegisterFile]
"""Opens a file by its path, to be read as ``RegisterFile.reading`` says; None where that is to be found out."""


def combined_sha256(files: Sequence[RegisterFile]) -> str:
    """Of the one file; of the digests of all, in order, when there are several."""
    digests = [file.sha256 for file in files]
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def is_same_load(
    loaded: Record | None, current: Generation, files: Sequence[RegisterFile], as_of: date, numbering: str
) -> bool:
    """Whether ``files`` are what is in force, to be read as they were read then; older records do not say how.

    ``numbering`` is the version of phonenumbers that would read them: under another one they are not the same numbers.
    """
    if loaded is None or loaded.body["generation"] != current.id or read_with(loaded) != [numbering]:
        return False
    if (current.as_of, current.sha256) != (as_of, combined_sha256(files)):
        return False
    readings = [item.get("reading") for item in files_of(loaded)]
    return all(known in (None, dict(file.reading)) for known, file in zip(readings, files, strict=True))


def described(files: Sequence[RegisterFile]) -> list[JsonValue]:
    """The files as a record names them, and how they were read."""
    return [
        {
            "name": file.name,
            "path": file.location,
            "sha256": file.sha256,
            "bytes": file.bytes,
            "reading": dict(file.reading),
        }
        for file in files
    ]


def files_of(record: Record) -> list[dict[str, Any]]:
    """What ``described`` made for a record of a load."""
    files: Any = record.body["files"]
    return list(files)


def as_of_day(loaded: Record) -> date:
    """The day of which a load is."""
    return date.fromisoformat(str(loaded.body["as_of"]))


def as_recorded(files: Sequence[RegisterFile], lineage: Sequence[Record], open_file: OpenFile) -> list[RegisterFile]:
    """``files`` in the order of ``lineage``, to be read as they were then.

    Raises ``InputRejected`` when they are not those of the load in force and what it was made of.
    """
    if not lineage:
        raise InputRejected("the journal knows of no register in force: load one with bmn register import")
    recorded = [item for record in lineage for item in files_of(record)]
    known = {item["sha256"] for item in recorded}
    for file in files:
        if file.sha256 not in known:
            raise InputRejected(
                f"{file.location} is not what was loaded as of {as_of_day(lineage[-1])} (its SHA-256 is another): give "
                "the file as it was then (bmn rebuild FILE…), or load this one with bmn register import"
            )
    given = {file.sha256: file for file in files}
    for item in recorded:
        if item["sha256"] not in given:
            raise InputRejected(f"{item['name']} is missing: give all {len(recorded)} files of the load in force")
    return [_reopened(given[item["sha256"]], item, open_file) for item in recorded]


def _reopened(file: RegisterFile, item: Mapping[str, Any], open_file: OpenFile) -> RegisterFile:
    """Standard input cannot be opened twice; older records do not say how a file was read."""
    reading = item.get("reading")
    return file if reading is None or file.location == "-" else open_file(file.location, reading)


def recorded_files(lineage: Sequence[Record], open_file: OpenFile) -> list[RegisterFile]:
    """The files of the load in force and what it was made of, where they were when they were loaded."""
    recorded = [item for record in lineage for item in files_of(record)]
    try:
        for item in recorded:
            if item.get("path") == "-":
                raise InputRejected("a part of the load in force came from standard input")
        files = [open_file(item.get("path") or item["name"], item.get("reading")) for item in recorded]
    except InputRejected as error:
        raise InputRejected(
            f"{error}: give the file of the load in force, wherever it is now (bmn rebuild FILE…), "
            "or load a newer one with bmn register import"
        ) from error
    return as_recorded(files, lineage, open_file)
