"""Columns of numbers: files of millions of lines, read as ``read_dialled`` reads one number.

Clean rows are read by a fast path over whole columns: digits, one leading ``+`` and the usual separators, as
``0612345678``, ``+31612345678``, ``0031612345678`` or ``31612345678``. It finds only numbers of which it is sure: what
it leaves open, ``read_dialled`` decides row by row. What is valid is decided by the patterns of phonenumbers' own
metadata, by the same test as its ``is_valid_number_for_region``: the general pattern and the one of any number type,
each for the lengths that it lists.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import polars
from phonenumbers import PhoneMetadata, region_code_for_country_code

from agent.domain.phone_number import PhoneNumber, read_dialled
from agent.domain.profile import Profile

_PLAIN: Final = r"^[0-9+*#() .\-/\t]+$"
_SEPARATORS: Final = r"[() .\-/\t]+"
_LONGEST: Final = 40
_TYPES: Final = (
    "premium_rate",
    "toll_free",
    "shared_cost",
    "voip",
    "personal_number",
    "pager",
    "uan",
    "voicemail",
    "fixed_line",
    "mobile",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """A country's numbering plan, as far as the fast path needs it."""

    country_code: str
    international: str
    """What is dialled before a country code."""
    trunk: str
    """What is dialled before a national number; empty for none."""
    general: str
    valid: dict[int, str]
    """By length of the national number, the pattern of those that are valid."""


def normalise(texts: polars.Series, profile: Profile, pbx_prefixes: tuple[str, ...] = ()) -> polars.Series:
    """The numbers of ``texts`` as integers (country code and national number); null where there is none.

    For every text the result is that of ``read_dialled``: null for what is not a ``PhoneNumber``, and for null.
    """
    plan = _plan(profile.region)
    if plan is None:
        found = polars.Series(texts.name, [None] * len(texts), dtype=polars.UInt64)
    else:
        forms, open_ = _forms(texts, profile, pbx_prefixes)
        found = _read_forms(forms.set(open_, None), plan)
    left = (found.is_null() & texts.is_not_null()).arg_true()
    slow = [_read(text, profile, pbx_prefixes) for text in texts.gather(left)]
    return found.clone().scatter(left, polars.Series(slow, dtype=polars.UInt64)).alias(texts.name)


def _read(text: str, profile: Profile, pbx_prefixes: tuple[str, ...]) -> int | None:
    number = read_dialled(text, profile, pbx_prefixes)
    return int(number.digits) if isinstance(number, PhoneNumber) else None


def _forms(
    texts: polars.Series, profile: Profile, pbx_prefixes: tuple[str, ...]
) -> tuple[polars.Series, polars.Series]:
    """Each text without separators and without the exchange's prefixes, and which rows the fast path must leave."""
    compact, open_ = texts, texts.str.len_bytes() > _LONGEST
    if texts.str.contains(r"[^0-9+]").any():
        compact = texts.str.replace_all(_SEPARATORS, "")
        open_ = open_ | ~texts.str.contains(_PLAIN)
    emergency = sorted(profile.emergency_numbers)
    open_ = open_ | compact.is_in(emergency)
    if pbx_prefixes:
        compact, more = _without_prefixes(compact, pbx_prefixes)
        open_ = open_ | more | compact.is_in(emergency)
    return compact, open_.fill_null(True)


def _without_prefixes(compact: polars.Series, pbx_prefixes: tuple[str, ...]) -> tuple[polars.Series, polars.Series]:
    """The forms with one prefix taken off, and the rows where a second one would follow."""
    patterns = [_prefix_pattern(prefix) for prefix in sorted(pbx_prefixes, key=len, reverse=True) if prefix]
    stripped = compact
    taken = more = polars.repeat(False, len(compact), eager=True)
    for place, (length, pattern) in enumerate(patterns):
        now = (compact.str.contains(pattern) & ~taken).fill_null(False)
        stripped = stripped.zip_with(~now, compact.str.slice(length))
        taken = taken | now
        others = [other for index, (_, other) in enumerate(patterns) if index != place]
        if others:
            more = more | (now & stripped.str.contains("|".join(others)))
    return stripped, more


def _prefix_pattern(prefix: str) -> tuple[int, str]:
    """How long a prefix is, and the pattern of what begins with it and goes on."""
    wanted = "".join("[0-9]" if char in "Xx" else re.escape(char) for char in prefix)
    return len(prefix), f"^{wanted}."


def _read_forms(forms: polars.Series, plan: _Plan) -> polars.Series:
    """The numbers of which it is sure that phonenumbers finds the same; null for all others."""
    full, international = "+" + plan.country_code, plan.international + plan.country_code
    form = polars.col("form")
    bare = form.str.starts_with(plan.country_code)
    table = polars.DataFrame({"form": forms}).select(
        polars.when(form.str.starts_with(full))
        .then(form.str.strip_prefix(full))
        .when(form.str.starts_with(international))
        .then(form.str.strip_prefix(international))
        .when(form.str.starts_with(plan.international))
        .then(None)
        .when(bare & ~form.str.contains(plan.general))  # else the code may be a part of the national number
        .then(form.str.strip_prefix(plan.country_code))
        .when(~bare)
        .then(form)
        .alias("national")
    )
    national = table["national"]
    if plan.trunk:
        national = national.str.strip_prefix(plan.trunk)
        national = national.set(national.str.starts_with(plan.trunk).fill_null(False), None)
    national = national.set(~_are_valid(national, plan), None)
    return (plan.country_code + national).cast(polars.UInt64, strict=False)


def _are_valid(national: polars.Series, plan: _Plan) -> polars.Series:
    """Which national numbers are valid numbers of the plan."""
    lengths = national.str.len_bytes()
    valid = polars.repeat(False, len(national), eager=True)
    for length, pattern in plan.valid.items():
        rows = (lengths == length).fill_null(False).arg_true()
        if len(rows):
            some = national.gather(rows)
            found = some.str.contains(pattern) & some.str.contains(plan.general)
            valid = valid | _spread(rows, found, len(national))
    return valid


def _spread(rows: polars.Series, values: polars.Series, length: int) -> polars.Series:
    """A column that is ``values`` in ``rows`` and False elsewhere."""
    return polars.repeat(False, length, eager=True).scatter(rows, values)


@cache
def _plan(region: str) -> _Plan | None:
    """The numbering plan of a region; None where its rules are more than the fast path follows."""
    metadata: Any = PhoneMetadata.metadata_for_region(region, None)
    if metadata is None or region_code_for_country_code(metadata.country_code) != region:
        return None
    international, trunk = metadata.international_prefix or "", metadata.national_prefix_for_parsing or ""
    if not international.isdecimal() or not (trunk or "0").isdecimal() or metadata.national_prefix_transform_rule:
        return None
    general = metadata.general_desc
    types = [desc for name in _TYPES if (desc := getattr(metadata, name)) and desc.national_number_pattern]
    valid = {}
    for length in set(general.possible_length) - set(general.possible_length_local_only):
        fitting = [desc for desc in types if not desc.possible_length or length in desc.possible_length]
        if fitting:
            valid[length] = _whole([desc.national_number_pattern for desc in fitting])
    return _Plan(
        country_code=str(metadata.country_code),
        international=international,
        trunk=trunk,
        general=_whole([general.national_number_pattern]),
        valid=valid,
    )


def _whole(patterns: list[str]) -> str:
    """A pattern of what matches one of ``patterns`` from end to end; digits are those of ASCII."""
    return "^(?:" + "|".join(f"(?:{pattern})" for pattern in patterns).replace(r"\d", "[0-9]") + ")$"
