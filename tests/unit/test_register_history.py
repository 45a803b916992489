"""Which load is in force, and which may be gone back to, as the journal tells it."""

from __future__ import annotations

from typing import Any

import pytest

from agent.domain.journal_events import EventType, Record
from agent.domain.register_history import register_history, unread_lines
from tests.unit.builders import NOW


def record(seq: int, what: str) -> Record:
    """``A`` for a load, ``A<B`` for a rollback to A from B."""
    generation, _, left = what.partition("<")
    body = {"generation": generation, "from_generation": left} if left else {"generation": generation}
    return Record(seq, NOW, EventType.REGISTER_ROLLED_BACK if left else EventType.REGISTER_LOADED, body)


@pytest.mark.parametrize(
    ("story", "succession"),
    [
        ("", ""),
        ("A", "A"),
        ("A B", "A B"),
        ("A B A<B", "A"),
        ("A B A<B C", "A C"),
        ("A B A<B C A<C", "A"),
        ("A B C A<C", "B A"),  # B was not kept, else it had been gone back to
        ("A B A<B C B<C", "A B"),  # what earlier versions did
        ("A X<A", "A"),  # a rollback to what was never loaded changes nothing
    ],
)
def test_what_was_in_force_decides(story: str, succession: str) -> None:
    """Not when it was loaded, and not what Redis kept."""
    history = register_history(record(seq, what) for seq, what in enumerate(story.split(), 1))
    assert history.succession == tuple(succession.split())
    in_force = history.in_force
    assert (in_force.body["generation"] if in_force else "") == (succession.split() or [""])[-1]


@pytest.mark.parametrize(
    ("loads", "told"),
    [
        ([{"rejected": 2, "read_with": ["9"]}], ""),
        ([{"rejected": 0, "read_with": ["8"]}], ""),
        ([{"rejected": 2, "read_with": ["8"]}], "2 lines were left out when it was read with phonenumbers 8, and 9"),
        ([{"rejected": 1}], "1 line was left out when it was read with an unknown version of phonenumbers, and 9"),
        ([{}], ""),
        (
            [{"rejected": 1, "read_with": ["8"]}, {"base": "1", "rejected": 0, "read_with": ["8", "9"]}],
            "1 line was left",
        ),
        ([{"rejected": 1, "read_with": ["8"]}, {"base": "1", "rejected": 0, "read_with": ["9"]}], ""),  # a rebuild
        ([{"rejected": 1, "read_with": ["8"]}, {"rejected": 0, "read_with": ["9"]}], ""),
    ],
)
def test_lines_that_were_left_out_matter_when_another_version_read_them(loads: list[Any], told: str) -> None:
    """Of the load in force and of what it builds on; what older versions did not record counts as another one."""
    records = [
        Record(seq, NOW, EventType.REGISTER_LOADED, {"generation": str(seq), **body})
        for seq, body in enumerate(loads, 1)
    ]
    found = unread_lines(register_history(records), "9")
    assert found.startswith(told)
    assert bool(found) == bool(told)
