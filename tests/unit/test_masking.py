"""What of a record is shown without numbers, and what a spreadsheet gets."""

from __future__ import annotations

import pytest

from agent.domain.journal_events import MEANINGS
from agent.entrypoints.csv_cells import csv_cell
from agent.entrypoints.masking import Masking

MASKING = Masking(configured=frozenset({"energy-20261105"}))
OURS = {"call", "uniqueid", "batch", "generation", "base", "from_generation", "sha256", "page_sha256", "head", "root"}
OURS |= {"register_sha256", "host", "listen"}


@pytest.mark.parametrize("name", sorted({*MEANINGS, "a_field_of_a_later_version"} - OURS))
def test_no_field_of_a_record_shows_a_number(name: str) -> None:
    """Nor one that is not known yet; in any spelling, and in what is within it."""
    for written in ("0612345678", "06 12 34 56 78", "06-12345678", "+31 (6) 12345678", "0612345678.html"):
        for value in (written, [written], {"name": written}):
            shown = str(MASKING.field(name, value))  # type: ignore[arg-type]
            assert "345" not in shown.replace(" ", ""), written


@pytest.mark.parametrize("name", sorted(OURS))
def test_an_id_stays_as_it_is(name: str) -> None:
    """Asterisk's is a time and a counter, a digest may have seven digits in a row."""
    assert MASKING.field(name, "1699999999.1234567") == "1699999999.1234567"


@pytest.mark.parametrize("time", ["2026-11-05", "2026-11-05T09:30:00+00:00", "2026-11-05T09:30:00.123456+00:00"])
def test_a_time_stays_as_it_is(time: str) -> None:
    """As records have them."""
    assert MASKING.field("wished_at", time) == time


def test_a_campaign_that_is_configured_is_a_name() -> None:
    """One that is not may be anything."""
    assert MASKING.field("campaign", "energy-20261105") == "energy-20261105"
    assert MASKING.field("campaign", "20261105") == "202**105"
    assert MASKING.field("agent", "energy-20261105") == "energy-202**105"


@pytest.mark.parametrize("text", ["=1+1", "+1+1", "-1", "@SUM(1)", "\t=1", "\r=1", "\n=1", "+31612345678+1", "+31*5"])
def test_a_formula_is_a_text_for_a_spreadsheet(text: str) -> None:
    """By the apostrophe before it."""
    assert csv_cell(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "energy", "+31612345678", "+316*****678", "0612345678", "1=1"])
def test_a_number_and_a_word_are_no_formula(text: str) -> None:
    """They stay as they are."""
    assert csv_cell(text) == text
