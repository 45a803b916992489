"""Fields as numbers of a register: which list each goes to, and which lines cannot be read."""

from __future__ import annotations

import re
from typing import Final

import polars

from agent.adapters.number_columns import normalise
from agent.adapters.register_files.layout import Fields
from agent.adapters.register_files.lines import Lines
from agent.domain.model import Blocked
from agent.domain.ports import RegisterBlock, RejectedLine
from agent.domain.profile import Profile

_NO_NUMBER: Final = "not a number of region {}"
_NO_LIST: Final = "a removal takes the number out of every list, and names none"
_NO_CHANGE: Final = "neither an addition nor a removal"


def read_block(lines: Lines, fields: Fields, profile: Profile) -> RegisterBlock:
    """The numbers of some lines."""
    count = len(lines.texts)
    numbers = normalise(fields.numbers, profile)
    everything = polars.repeat(True, count, eager=True)
    removed = ~everything if fields.removed is None else fields.removed
    good = numbers.is_not_null() & removed.is_not_null()
    words = None
    named = polars.repeat(False, count, eager=True)
    if fields.blocked is not None:
        if fields.removed is not None:
            named = removed.fill_null(False) & (fields.blocked.fill_null("") != "")
            good = good & ~named
        words = _words(fields.blocked.fill_null("all"))
        unknown = words.filter(~words["word"].is_in(list(Blocked)))
        bad = unknown.filter(~removed.gather(unknown["row"]).fill_null(False)) if len(unknown) else unknown
        good = good & ~polars.int_range(count, eager=True).is_in(bad["row"].to_list())
        faults = dict(zip(reversed(bad["row"].to_list()), reversed(bad["word"].to_list()), strict=True))
    else:
        faults = {}
    added = good & ~removed.fill_null(False)
    if words is None:
        lists = {Blocked.ALL: numbers.filter(added)}
    else:
        kept = words.filter(added.gather(words["row"]))
        lists = {Blocked(str(word)): numbers.gather(rows["row"]) for (word,), rows in kept.group_by("word")}
    rejected = []
    for row in (~good).arg_true():
        if row in faults:
            reason = f"unknown word {_shown(faults[row])!r}"
        elif named[row]:
            reason = _NO_LIST
        elif removed[row] is None:
            reason = _NO_CHANGE
        else:
            reason = _NO_NUMBER.format(profile.region)
        rejected.append(RejectedLine(line=lines.numbers[row], reason=reason))
    return RegisterBlock(
        lines=count,
        offset=lines.offset,
        added={blocked: column for blocked, column in lists.items() if len(column)},
        removed=numbers.filter(good & removed.fill_null(False)),
        rejected=rejected,
    )


def _shown(word: str | None) -> str:
    """Without its digits: in a file that was misread they may be a telephone number."""
    return re.sub(r"[0-9]", "#", word or "(empty)")[:40]


def _words(blocked: polars.Series) -> polars.DataFrame:
    """The words of each row, with the row that each is from."""
    return (
        polars.DataFrame({"word": blocked.str.to_lowercase().str.split(";")})
        .with_row_index("row")
        .explode("word", empty_as_null=False)
        .with_columns(polars.col("word").str.strip_chars(' \t"'))
    )
