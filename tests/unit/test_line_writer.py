"""Lines for a reader: whoever puts them never waits and hears of no error, whatever the reader does."""

from __future__ import annotations

import os
import resource
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, redirect_stderr, suppress
from functools import partial
from pathlib import Path
from time import monotonic

import pytest

from agent.adapters.line_writer import LineWriter, LineWriterText
from tests.waiting import until

WAIT_S = 10.0


class Pipe:
    """A pipe that is read when the test says so."""

    def __init__(self) -> None:
        self.reading, self.writing = os.pipe()
        self._open = True

    def fill(self) -> int:
        """Fill it to the brim with dots; how many that are."""
        os.set_blocking(self.writing, False)
        written = 0
        with suppress(BlockingIOError):
            while True:
                written += os.write(self.writing, b"." * 4096)
        with suppress(BlockingIOError):
            while True:
                written += os.write(self.writing, b".")
        os.set_blocking(self.writing, True)
        return written

    def read(self, until_text: str = "") -> str:
        """All that comes, until this text has come."""
        text = ""
        while until_text not in text or not text:
            text += os.read(self.reading, 65536).decode()
        return text

    def close_reader(self) -> None:
        """The reader leaves."""
        if self._open:
            self._open = False
            os.close(self.reading)

    def close(self) -> None:
        """Both ends."""
        self.close_reader()
        os.close(self.writing)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    """Nothing is in it."""
    with closing(Pipe()) as pipe:
        yield pipe


def has_dropped(lines: LineWriter, count: int) -> bool:
    """Whether so many were dropped."""
    return lines.dropped == count


def writer(pipe: Pipe, most: int = 100) -> LineWriter:
    """A writer for that pipe."""
    return LineWriter(pipe.writing, lambda count: f"dropped {count}\n", most=most, gather_s=0.001)


def test_lines_arrive_in_order_and_whole(pipe: Pipe) -> None:
    """Also those that wait when it is closed."""
    lines = writer(pipe)
    for number in range(50):
        lines.put(f"line {number}\n")
    assert lines.close(WAIT_S) is True
    assert pipe.read("line 49\n").splitlines() == [f"line {number}" for number in range(50)]
    assert lines.dropped == 0


def test_a_reader_who_stalls_holds_nobody_up_and_misses_what_found_no_room(pipe: Pipe) -> None:
    """Said as soon as something was taken; what had found room follows, and what comes later is there again."""
    dots = pipe.fill()
    lines = writer(pipe, most=10)
    lines.put("first\n")
    until(lambda: lines.waiting == 0)  # the thread has it in its hands, and hangs
    began = monotonic()
    for number in range(1000):
        lines.put(f"{number}\n")
    assert monotonic() - began < 1
    assert lines.dropped == 990
    read = pipe.read("\n9\n")
    assert read[dots:] == "first\ndropped 990\n" + "".join(f"{number}\n" for number in range(10))
    lines.put("again\n")
    assert pipe.read("again\n") == "again\n"
    assert lines.close(WAIT_S) is True


def test_a_close_does_not_wait_for_a_reader_who_never_reads(pipe: Pipe) -> None:
    """It says that not all was taken, and later lines are dropped."""
    pipe.fill()
    lines = writer(pipe)
    lines.put("never\n")
    assert lines.close(0.05) is False
    lines.put("later\n")
    assert lines.dropped == 1
    pipe.read("never\n")
    assert lines.close(WAIT_S) is True


def test_a_reader_who_left_is_no_error(pipe: Pipe) -> None:
    """All is dropped and counted; the thread lives, and writes to whoever comes next."""
    lines = writer(pipe)
    pipe.close_reader()
    for number in range(3):
        lines.put(f"{number}\n")
        until(partial(has_dropped, lines, number + 1))
    new_reading, new_writing = os.pipe()
    os.dup2(new_writing, pipe.writing)
    lines.put("there\n")
    assert os.read(new_reading, 100).decode().startswith("there\n")
    assert lines.close(WAIT_S) is True
    os.close(new_reading)
    os.close(new_writing)


def test_a_descriptor_that_others_made_non_blocking_is_waited_for(pipe: Pipe) -> None:
    """A terminal or a pipe is shared with whoever else has it."""
    dots = pipe.fill()
    os.set_blocking(pipe.writing, False)
    lines = writer(pipe)
    lines.put("late\n")
    assert pipe.read("late\n")[dots:] == "late\n"
    assert lines.dropped == 0
    assert lines.close(WAIT_S) is True


def test_a_line_that_a_full_disk_cut_in_two_spoils_no_other(tmp_path: Path) -> None:
    """What is written when there is room again begins a line of its own."""
    path, (soft, hard) = tmp_path / "log", resource.getrlimit(resource.RLIMIT_FSIZE)
    with path.open("wb") as file:
        lines = LineWriter(file.fileno(), lambda count: f"dropped {count}\n", most=100, gather_s=0.001)
        resource.setrlimit(resource.RLIMIT_FSIZE, (15, hard))
        try:
            lines.put("all of it\nonly some of it\n")
            until(partial(has_dropped, lines, 1))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        lines.put("whole\n")
        assert lines.close(WAIT_S) is True
    assert path.read_text().splitlines() == ["all of it", "only ", "whole", "dropped 1"]


def test_text_of_any_kind_is_written(pipe: Pipe) -> None:
    """A number that came in as half a surrogate must not cost the line."""
    lines = writer(pipe)
    lines.put("\ud800 é\n")
    assert pipe.read("\n") == "\\ud800 é\n"
    assert lines.close(WAIT_S) is True


def test_a_drop_line_that_cannot_be_made_ends_nothing(pipe: Pipe) -> None:
    """The thread outlives whatever it calls."""
    pipe.fill()

    def broken(count: int) -> str:
        raise RuntimeError("broken")

    lines = LineWriter(pipe.writing, broken, most=1, gather_s=0.001)
    for number in range(20):
        lines.put(f"{number}\n")
    pipe.read("0\n")
    until(lambda: lines.waiting == 0)
    lines.put("after\n")
    pipe.read("after\n")
    assert lines.close(WAIT_S) is True


def test_it_stands_in_for_stderr(pipe: Pipe) -> None:
    """Also for a traceback of a thread, and for what prints in pieces."""
    lines = writer(pipe)
    with redirect_stderr(LineWriterText(lines, pipe.writing)):
        sys.stderr.write("one two")
        sys.stderr.write("\n")
        thread = threading.Thread(target=print, args=("three",), kwargs={"file": sys.stderr})
        thread.start()
        thread.join()
        assert not sys.stderr.isatty()
        with pytest.raises(TypeError):
            sys.stderr.write(b"bytes")  # type: ignore[arg-type]
    assert pipe.read("three\n") == "one two\nthree\n"
    assert lines.close(WAIT_S) is True
