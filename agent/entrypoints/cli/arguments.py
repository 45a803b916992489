"""Arguments that several commands take: moments, and words of a list, with a hint for who misspells one."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, time, timedelta
from difflib import get_close_matches
from typing import Any, Final

import click

_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_AGO: Final = re.compile(r"-?(\d{1,6})([smhd])")


class Moment(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.4 on, not before
    """A time: 2026-11-01, 2026-11-01T09:00 (local time unless it has a zone), today, or how long ago: 15m, -2h, 3d."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """The moment, in UTC."""
        if isinstance(value, datetime):
            return value
        try:
            if ago := _AGO.fullmatch(value):
                return datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
            if value == "today":
                return datetime.combine(datetime.now().astimezone().date(), time()).astimezone(UTC)
            return datetime.fromisoformat(value).astimezone(UTC)
        except (ValueError, OverflowError):
            self.fail("give a time like 2026-11-01T09:00, 2026-11-01 or today, or how long ago: 15m, 3d", param, ctx)


class Word(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.4 on, not before
    """One of a list of words."""

    def __init__(self, name: str, words: Iterable[str]) -> None:
        self.name = name
        self._words = tuple(str(word) for word in words)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The word as it was given."""
        word = str(value)
        if word not in self._words:
            self.fail(f"there is no {self.name} {word!r}{meant(word, self._words)}", param, ctx)
        return word


def meant(word: str, words: Iterable[str]) -> str:
    """What may have been meant instead of ``word``, to put behind a sentence; else what there is."""
    known = list(words)
    near = get_close_matches(word, known, n=2, cutoff=0.6)
    return f": did you mean {' or '.join(near)}?" if near else f" (there is {', '.join(known) or 'none'})"
