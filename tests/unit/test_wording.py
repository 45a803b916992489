"""Words for people."""

from __future__ import annotations

import doctest

from agent.domain import wording


def test_the_examples_are_true() -> None:
    """One thing, many things."""
    result = doctest.testmod(wording)
    assert (result.attempted, result.failed) == (2, 0)
