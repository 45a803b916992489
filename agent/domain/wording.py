"""Words for people."""

from __future__ import annotations


def counted(count: int, noun: str) -> str:
    """A number of things with the right form of the word.

    >>> counted(1, "mistake"), counted(2000, "mistake")
    ('1 mistake', '2,000 mistakes')
    """
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def wrong_lines(wrong: int, lines: int) -> str:
    """How many lines of a file are wrong.

    >>> wrong_lines(1, 20), wrong_lines(2, 20)
    ('1 of 20 lines is wrong', '2 of 20 lines are wrong')
    """
    return f"{wrong:,} of {counted(lines, 'line')} {'is' if wrong == 1 else 'are'} wrong"
