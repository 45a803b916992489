"""What reaches the log when something goes wrong: enough to find it, and no number in full."""

from __future__ import annotations

import io

import pytest
import structlog

from agent import logs

SPELLINGS = ("0612345678", "+31612345678", "06-12345678", "06 12 34 56 78", "+31 (0)6 12345678", "06.12.34.56.78")


class Terminal(io.StringIO):
    """A stream that says that somebody watches."""

    def isatty(self) -> bool:
        """It is watched."""
        return True


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
@pytest.mark.parametrize("number", SPELLINGS)
def test_a_traceback_shows_no_number(stream: type[io.StringIO], number: str) -> None:
    """Neither in the message, which quotes what was given, nor as a local variable."""
    out = stream()
    logs.configure("info", out)
    try:
        try:
            int(number + "x")
        except ValueError as error:
            logs.logger().error(logs.REQUEST_FAILED, exc_info=error)
    finally:
        structlog.reset_defaults()
    text = out.getvalue()
    assert "ValueError: invalid literal for int()" in text
    assert "test_a_traceback_shows_no_number" in text
    assert number not in text
    assert "12345678" not in text.replace(" ", "").replace(".", "")
