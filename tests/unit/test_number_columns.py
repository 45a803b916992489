"""Columns of numbers are read exactly as ``read_dialled`` reads each of them."""

from __future__ import annotations

from dataclasses import replace

import polars
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agent.adapters import number_columns
from agent.adapters.number_columns import normalise
from agent.domain.phone_number import Dialled, PhoneNumber, read_dialled
from agent.domain.profile import NL_BMNR, Profile
from tests.unit.test_phone_number import SITE_PREFIXES, SPELLINGS

US = replace(NL_BMNR, region="US", emergency_numbers=frozenset({"911"}))
BELGIUM = replace(NL_BMNR, region="BE")
CANADA = replace(NL_BMNR, region="CA")
ITALY = replace(NL_BMNR, region="IT")
PROFILES = (NL_BMNR, US, BELGIUM, CANADA, ITALY)
PREFIXES = ((), ("0",), ("9",), SITE_PREFIXES, ("00", "0", "31"), ("X",), ("",))

starts = st.sampled_from(
    ["", "0", "00", "000", "+", "++", "+31", "+310", "0031", "31", "310", "+32", "011", "0111", "1", "+1", "+11", "112",
     "9", "*31*", "#31#", "1602", "tel:", "90", "800", "+3197", "14020", "201", "1201", "+1201", "+39", "0039", "1800"]
)  # fmt: skip
digits = st.text(alphabet="0123456789", max_size=12)
near_valid = st.tuples(starts, st.sampled_from(["6", "20", "10", "2", "85", "970", "90", "14", ""]), digits).map(
    "".join
)
odd = st.sampled_from(
    [" ", "-", ".", "/", "(", ")", "(0)", "\t", "\u00a0", "\u2011", "\n", "\x00", "x", "+", "٣", "6", ","]
)


@st.composite
def spelled(draw: st.DrawFn) -> str:
    """A number, or nearly one, with something put into it here and there."""
    text = draw(near_valid)
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, len(text)))
        text = text[:place] + draw(odd) + text[place:]
    return text


def one_by_one(texts: list[str | None], profile: Profile, prefixes: tuple[str, ...] = ()) -> list[int | None]:
    """What the column must be."""
    numbers = [read_dialled(text, profile, prefixes) if text is not None else None for text in texts]
    return [int(number.digits) if isinstance(number, PhoneNumber) else None for number in numbers]


@settings(max_examples=1_500)
@given(
    st.lists(st.none() | spelled() | near_valid | st.text(max_size=45), min_size=1, max_size=8),
    st.sampled_from(PROFILES),
    st.sampled_from(PREFIXES),
)
@example(["0" * 41, "06" + " " * 31 + "12345678", ""], NL_BMNR, ())
@example(["313123456", "31312345678", "0313123456", "31612345678"], NL_BMNR, ())
@example(["9858001234", "98580012345"], NL_BMNR, ("9", "85"))
@example(["00612345678", "000612345678", "0031612345678", "0112"], NL_BMNR, ("0",))
def test_a_column_is_read_as_its_numbers_are(
    texts: list[str | None], profile: Profile, prefixes: tuple[str, ...]
) -> None:
    """Whatever the spelling, the country and the exchange."""
    column = normalise(polars.Series("number", texts, dtype=polars.String), profile, prefixes)
    assert column.dtype == polars.UInt64
    assert column.name == "number"
    assert column.to_list() == one_by_one(texts, profile, prefixes)


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling_is_the_same_number(spelling: str) -> None:
    """As for one call."""
    assert normalise(polars.Series([spelling]), NL_BMNR).to_list() == [31612345678]


@pytest.mark.parametrize(
    ("profile", "texts"),
    [
        (NL_BMNR, ["0612345678", "+31612345678", "0031612345678", "31612345678", "06-12345678", "+31 (0)20 123 4567"]),
        (US, ["2015550123", "12015550123", "+12015550123", "(201) 555-0123", "011 1 201 555 0123"]),
    ],
)
@pytest.mark.parametrize("prefixes", [(), ("9",)])
def test_clean_rows_are_read_at_once(
    profile: Profile, texts: list[str], prefixes: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the slow path, which costs ten microseconds a row and more."""
    expected = one_by_one(list(texts), profile, prefixes)

    def slow(text: str, *_: object) -> Dialled:
        raise AssertionError(text)

    monkeypatch.setattr(number_columns, "read_dialled", slow)
    assert normalise(polars.Series(texts), profile, prefixes).to_list() == expected
    assert None not in expected


def test_an_outside_line_before_a_dutch_number_is_read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The usual exchange."""
    monkeypatch.setattr(number_columns, "read_dialled", lambda *_: pytest.fail("read one by one"))
    texts = polars.Series(["0612345678", "00612345678", "+31612345678"])
    assert normalise(texts, NL_BMNR, ("0",)).to_list() == [31612345678] * 3


def test_the_texts_stay_as_they_were() -> None:
    """A column is a value."""
    texts = polars.Series(["06 12345678", None, "x"])
    assert normalise(texts, NL_BMNR).to_list() == [31612345678, None, None]
    assert texts.to_list() == ["06 12345678", None, "x"]
    assert normalise(polars.Series([], dtype=polars.String), NL_BMNR).to_list() == []
