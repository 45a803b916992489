"""Sets of a generation as changed copies of those of another one, made inside Redis."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import polars

from agent.adapters.redis_set_commands import Chunk, PipelinedWriter, copy_command, set_commands
from agent.domain.model import Blocked
from agent.domain.ports import Numbers, Progress

_BATCH: Final = 50_000
_BATCH_COPIES: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """How a copy differs from what it was made of."""

    entries: int
    """Members of all sets together."""
    numbers: int
    """Distinct numbers over all lists."""
    absent: int
    """Numbers that were to be taken out, and were on no list."""


def copy_changed(
    client: Any,
    base: str,
    generation: str,
    keys: Iterable[str],
    added: Mapping[Blocked, Numbers],
    removed: Numbers,
    renew: Callable[[], None],
    progress: Progress,
) -> Difference:
    """Copy the sets ``keys`` of ``base``, then take out ``removed`` and add ``added``."""
    keys = list(keys)
    copies = [copy_command(key, key.replace(f":g:{base}:", f":g:{generation}:")) for key in keys]
    for start in range(0, len(copies), _BATCH_COPIES):
        _run(client, copies[start : start + _BATCH_COPIES], renew)
        progress("copying", min(start + _BATCH_COPIES, len(copies)), len(copies))
    lists = {Blocked(key.rsplit(":", 1)[1]) for key in keys} | set(added)
    gone = _column(removed)
    touched = polars.concat([gone, *map(_column, added.values())]).unique().sort()
    before = _listed(client, base, lists, touched, renew)
    taken = sum(_run(client, set_commands("SREM", generation, dict.fromkeys(lists, gone)), renew))
    given = sum(_run(client, set_commands("SADD", generation, added), renew))
    after = _listed(client, generation, lists, touched, renew)
    return Difference(
        entries=given - taken,
        numbers=int(after.sum()) - int(before.sum()),
        absent=int((touched.is_in(gone.implode()) & ~before).sum()),
    )


def _listed(
    client: Any, generation: str, lists: Iterable[Blocked], numbers: polars.Series, renew: Callable[[], None]
) -> polars.Series:
    """Whether each of ``numbers`` is on any of ``lists``."""
    found = polars.repeat(False, len(numbers), eager=True)
    for blocked in lists:
        answers = _run(client, set_commands("SMISMEMBER", generation, {blocked: numbers}), renew)
        members = polars.Series([member for answer in answers for member in answer], dtype=polars.UInt8)
        found = found | (members == 1)
    return found


def _run(client: Any, commands: Iterable[Chunk], renew: Callable[[], None]) -> list[Any]:
    """The answers to ``commands``, in order; the right to change loads is renewed on the way."""
    answers: list[Any] = []
    renewed = 0
    with PipelinedWriter(client) as writer:
        for command in commands:
            answers += writer.send(command)
            if writer.sent - renewed >= _BATCH:
                renew()
                renewed = writer.sent
        answers += writer.finish()
    renew()
    return answers


def _column(numbers: Numbers) -> polars.Series:
    return polars.Series("number", numbers, dtype=polars.UInt64)
