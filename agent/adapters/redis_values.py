"""The values that Redis holds as text: generations, pointers and the mark. Whatever is damaged is found out here."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from datetime import date, datetime
from typing import Any, Final

from agent.domain.errors import ListsDamaged, ListsForeign
from agent.domain.journal_events import Mark
from agent.domain.model import Generation

_MARK: Final = re.compile(r"([^:]+):([0-9]{1,18}):([0-9a-f]*)")


def mark_to_text(mark: Mark) -> str:
    """``JOURNAL:SEQ:LINK``."""
    return f"{mark.journal}:{mark.seq}:{mark.link}"


def mark_from_text(text: str | None, journal_id: str) -> Mark | None:
    """The mark of our journal; None when Redis has none. Raises ``ListsForeign`` for that of another journal."""
    if text is None:
        return None
    with _reading("the mark of what was applied"):
        match = _MARK.fullmatch(text)
        if match is None:
            raise ValueError(text)
    mark = Mark(journal=match[1], seq=int(match[2]), link=match[3])
    if mark.journal != journal_id:
        raise ListsForeign(
            f"Redis holds the lists of another journal ({mark.journal}) than this one ({journal_id}), in which "
            "opt-outs may be missing: put the right journal back (journal.path), or use a Redis of its own "
            "(redis.url); bmn rebuild --take-over gives these lists to this journal for good"
        )
    return mark


def generation_to_text(generation: Generation, entries: int, witness: str | None, rostered: int) -> str:
    """One line of JSON, keys in a fixed order. ``entries`` are the members of all its sets together.

    ``witness`` is what was so when they were counted (``agent.adapters.redis_generation_sets``), ``rostered`` how many
    prefixes its roster has.
    """
    return json.dumps(
        {
            "id": generation.id,
            "profile": generation.profile,
            "as_of": generation.as_of.isoformat(),
            "loaded_at": generation.loaded_at.isoformat(),
            "count": generation.count,
            "sha256": generation.sha256,
            "entries": entries,
            "witness": witness,
            "rostered": rostered,
        },
        separators=(",", ":"),
    )


def generation_from_text(text: str) -> Generation:
    """A generation, or a pointer to one."""
    with _reading("a generation of the register"):
        data: Any = json.loads(text)
        return Generation(
            id=str(data["id"]),
            profile=str(data["profile"]),
            as_of=date.fromisoformat(data["as_of"]),
            loaded_at=datetime.fromisoformat(data["loaded_at"]),
            count=int(data["count"]),
            sha256=str(data["sha256"]),
        )


def entries_of(text: str) -> int:
    """How many members the sets of a generation have together."""
    with _reading("a generation of the register"):
        return int(json.loads(text)["entries"])


def witness_of(text: str) -> str | None:
    """What was so when a generation was counted; None where that is not known."""
    with _reading("a generation of the register"):
        witness = json.loads(text).get("witness")
        return None if witness is None else str(witness)


def rostered_of(text: str) -> int | None:
    """How many prefixes the roster of a generation has; None for a load of an older version, which has no roster."""
    with _reading("a generation of the register"):
        rostered = json.loads(text).get("rostered")
        return None if rostered is None else int(rostered)


def with_roster(text: str, rostered: int) -> str:
    """A generation of an older version, once it has a roster."""
    with _reading("a generation of the register"):
        return json.dumps({**json.loads(text), "rostered": rostered}, separators=(",", ":"))


def pointer_to_text(generation_text: str, record: Mark, since: datetime) -> str:
    """A generation as the one in force: by which record of the journal, and since when."""
    with _reading("a generation of the register"):
        generation = json.loads(generation_text)
        pointer = {**generation, "record": mark_to_text(record), "in_force_since": since.isoformat()}
        return json.dumps(pointer, separators=(",", ":"))


def pointer_from_text(text: str, journal_id: str) -> tuple[Mark | None, datetime]:
    """By which record of our journal, and since when, a pointer's generation is in force. See ``mark_from_text``."""
    with _reading("the pointer to the register in force"):
        data: Any = json.loads(text)
        return mark_from_text(data["record"], journal_id), datetime.fromisoformat(data["in_force_since"])


@contextlib.contextmanager
def _reading(what: str) -> Iterator[None]:
    try:
        yield
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ListsDamaged(f"{what} in Redis is damaged: run bmn rebuild") from error
