"""Short runs of the measurements, so that they still work when somebody needs them."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from tests.bench import effective_at_once, screening_beside_notices, scrub
from tests.bench.import_register import dutch_numbers, measure


def test_the_import_can_be_measured() -> None:
    """On few numbers; the figures are for the long run."""
    with tempfile.TemporaryDirectory(prefix="bmn-") as folder:
        figures = dict(measure(5_000, Path(folder)))
    assert figures["numbers"] == "5,000"
    assert float(figures["Redis, bytes/number"]) > 0


def test_synthetic_numbers_are_distinct() -> None:
    """As many as were asked for."""
    assert len(set(dutch_numbers(20_000))) == 20_000


def test_the_time_from_key_to_block_can_be_measured() -> None:
    """On two services; the figures are for the long run."""
    recorded, blocked, screening = effective_at_once.measure(2)
    assert len(recorded) == len(blocked) == 2
    assert screening > 0


def test_screening_beside_notices_can_be_measured() -> None:
    """With a few of them; the figures are for the long run."""
    assert [row[0] for row in screening_beside_notices.measure(3, 20)] == ["alone", "beside 3 notices", "alone again"]


@pytest.mark.parametrize("quoted", [False, True])
def test_the_scrub_can_be_measured(quoted: bool) -> None:
    """On few rows, beside DuckDB, which finds the same; the figures are for the long run."""
    with tempfile.TemporaryDirectory(prefix="bmn-") as folder:
        figures = dict(scrub.measure(2_000, 500, Path(folder), quoted=quoted, runs=1))
    assert figures["rows removed"] == "50"
    assert figures["same rows as DuckDB"] == "yes"
