"""Lines for whoever reads them, however slowly: a bounded queue, and one thread that writes.

Whoever puts a line never waits for the reader (a full pipe, a terminal that was stopped, a disk that hangs) and hears
of no error. What finds no room is dropped and counted; once something was written again, a line says how much.
"""

from __future__ import annotations

import io
import os
import select
import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Final

_AT_ONCE: Final = 1_000


class LineWriter:
    """Writes text to the file descriptor ``fd``. Thread-safe; ``close`` it."""

    def __init__(self, fd: int, dropped_line: Callable[[int], str], *, most: int, gather_s: float) -> None:
        """At most ``most`` pieces of text wait. One waits ``gather_s`` for others, which are written with it.

        ``dropped_line`` words how many were dropped since it was last asked.
        """
        self._fd = fd
        self._dropped_line = dropped_line
        self._most = most
        self._gather_s = gather_s
        self._queue: SimpleQueue[str | None] = SimpleQueue()
        self._counting = threading.Lock()
        self._dropped = 0
        self._told = 0
        self._cut_off = False
        """A disk that became full, or a reader who left, took the beginning of a line."""
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"lines-{fd}", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """How many pieces of text were dropped so far."""
        return self._dropped

    @property
    def waiting(self) -> int:
        """How many wait to be written, without those that are being written."""
        return self._queue.qsize()

    def put(self, text: str) -> None:
        """Have ``text`` written as it is, or dropped; at once, and never an error."""
        if self._queue.qsize() < self._most and not self._closing.is_set():
            self._queue.put(text)
        else:
            self.drop(1)

    def drop(self, count: int) -> None:
        """Count what could not even be put."""
        with self._counting:
            self._dropped += count

    def close(self, wait_s: float) -> bool:
        """Write what waits, for at most so long; False when the reader did not take it all."""
        if not self._closing.is_set():
            self._closing.set()
            self._queue.put(None)
        self._thread.join(wait_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        going_on = True
        while going_on:
            batch = [self._queue.get()]
            self._closing.wait(self._gather_s)
            try:
                while len(batch) < _AT_ONCE and batch[-1] is not None:
                    batch.append(self._queue.get_nowait())
            except Empty:
                pass
            going_on = batch[-1] is not None
            self._write_batch([text for text in batch if text is not None])

    def _write_batch(self, texts: list[str]) -> None:
        """Write all of them; whatever goes wrong, the thread lives and they are counted."""
        try:
            self._write("".join(texts))
        except Exception:  # noqa: BLE001  # see above
            self.drop(len(texts))
            return
        dropped = self._dropped
        if dropped > self._told:
            try:
                self._write(self._dropped_line(dropped - self._told))
                self._told = dropped
            except Exception:  # noqa: BLE001  # said the next time
                time.sleep(self._gather_s)

    def _write(self, text: str) -> None:
        data = memoryview((("\n" if self._cut_off else "") + text).encode("utf-8", "backslashreplace"))
        last = b"\n"
        try:
            while data:
                try:
                    written = os.write(self._fd, data)
                except BlockingIOError:  # whoever shares the descriptor made it so
                    poll = select.poll()
                    poll.register(self._fd, select.POLLOUT)
                    poll.poll()
                else:
                    last, data = bytes(data[written - 1 : written]), data[written:]
                    self._cut_off = False
        except OSError:
            self._cut_off = self._cut_off or last != b"\n"
            raise


class LineWriterText(io.TextIOBase):
    """A ``LineWriter`` in the place of ``sys.stderr``."""

    def __init__(self, writer: LineWriter, fd: int) -> None:
        self._writer = writer
        self._fd = fd

    @property
    def encoding(self) -> str:  # type: ignore[override]  # a property here
        """As it is written."""
        return "utf-8"

    @property
    def errors(self) -> str:  # type: ignore[override]  # a property here
        """As it is written."""
        return "backslashreplace"

    def writable(self) -> bool:
        """It is."""
        return True

    def isatty(self) -> bool:
        """Whether a terminal shows it."""
        return os.isatty(self._fd)

    def fileno(self) -> int:
        """For those who write past us."""
        return self._fd

    def write(self, text: str) -> int:
        """Have it written."""
        if not isinstance(text, str):
            raise TypeError("only text can be written")
        self._writer.put(text)
        return len(text)
