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


class Broken(io.StringIO):
    """A stream that nothing can be written to."""

    def write(self, text: str) -> int:
        """Fail as a full disk does."""
        raise OSError("no space left on device")


class Unspeakable:
    """A value that cannot be shown."""

    def __str__(self) -> str:
        raise RuntimeError("broken")

    __repr__ = __str__


@pytest.mark.parametrize("stream", [io.StringIO(), Broken(), Terminal()])
@pytest.mark.parametrize("value", ["text", Unspeakable(), "\ud800", {1: {2}}])
def test_whoever_logs_never_hears_of_an_error(stream: io.StringIO, value: object) -> None:
    """A line that cannot be made or written is dropped, and that is counted; the next one is there."""
    dropped: list[int] = []
    logs.configure("info", stream, dropped=lambda: dropped.append(1))
    try:
        logs.logger().error(logs.REQUEST_FAILED, value=value, exc_info=ValueError("x"))
        logs.logger().bind(more=value).warning(logs.SCRIPT_UNKNOWN)
    finally:
        structlog.reset_defaults()
    assert len(dropped) == (2 if isinstance(stream, Broken) or isinstance(value, Unspeakable) else 0)
