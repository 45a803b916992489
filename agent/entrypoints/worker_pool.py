"""Threads that work, a fixed number at a time; one that has to wait, or hangs, gives its place to another.

* A worker whose peer keeps it waiting gives up its place (``Worker.give_up``). A spare thread takes it, which has
  worked before and has its connections, or else a new one. The worker finishes what it has begun and is a spare then.
* A worker that is at one piece of work for longer than the piece may ever take is *stuck*: its place goes to another,
  it is counted and reported. Threads cannot be ended from outside, so with half of the pool lost in this way the
  process should end.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from pathlib import Path
from time import sleep
from typing import Final

from agent.entrypoints import time_limits

_FRAMES_SHOWN: Final = 6


class Worker:
    """One thread of a pool, as it knows itself."""

    def __init__(self, pool: WorkerPool, *, has_place: bool) -> None:
        self._pool = pool
        self.ident = threading.get_ident()
        self.has_place = has_place
        self.away = False
        """It has given up its place, and is still at work."""
        self.stuck = False
        self.at = ""
        """The name of what it is at, or was at last."""
        self.limit_s: float | None = None
        """How long that may take; None: as long as it likes."""
        self.spent_s = 0.0
        """How long it has taken, as seen by those who look (``WorkerPool.look``)."""

    def begin(self, what: str, limit_s: float | None) -> None:
        """It is at this now."""
        self.at = what
        self.spent_s = 0.0
        self.limit_s = limit_s

    def end(self) -> None:
        """It is done with that."""
        self.limit_s = None

    def give_up(self) -> bool:
        """Let another thread have the place; False when too many have done so, and this one must not wait on."""
        return self._pool.replace(self)


class WorkerPool:
    """``size`` places for threads that repeat ``turn``; one thread ends when that returns False.

    At most ``away`` threads are at work without a place; as many spares are kept as there are places. ``stuck`` hears
    of each worker that is, and where it hangs; ``exhausted`` how many are, whenever one more makes it half or more.
    """

    def __init__(
        self,
        size: int,
        turn: Callable[[Worker], bool],
        *,
        away: int,
        stuck: Callable[[Worker, str], None] = lambda *_: None,
        exhausted: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._size = size
        self._turn = turn
        self._most_away = away
        self._report_stuck = stuck
        self._report_exhausted = exhausted
        lock = threading.Lock()
        self._place_free = threading.Condition(lock)
        self._thread_ended = threading.Condition(lock)
        self._lock = lock
        self._closing = False
        self._free = 0
        """Places that spares have been called for."""
        self._spares = 0
        self._away = 0
        self._stuck = 0
        self._threads = 0
        self._workers: set[Worker] = set()

    def start(self) -> None:
        """Fill every place."""
        with self._lock:
            for _ in range(self._size):
                self._spawn(self._work, has_place=True)

    def run_beside(self, work: Callable[[Worker], None]) -> None:
        """Run ``work`` on a thread of its own, without a place. Raises ``RuntimeError`` when there can be no more."""
        with self._lock:
            self._spawn(work, has_place=False)

    def close(self) -> None:
        """Let spares go, and fill no place any more."""
        with self._lock:
            self._closing = True
            self._place_free.notify_all()

    @property
    def stuck(self) -> int:
        """Threads that are stuck now."""
        return self._stuck

    @property
    def threads(self) -> int:
        """All of them, stuck ones too."""
        return self._threads

    def is_over(self, wait_s: float) -> bool:
        """Whether every thread has ended that is not stuck; waits for that."""
        with self._lock:
            return self._thread_ended.wait_for(lambda: self._threads <= self._stuck, wait_s)

    def replace(self, worker: Worker) -> bool:
        """See ``Worker.give_up``."""
        with self._lock:
            return self._away < self._most_away and self._replaced(worker)

    def look(self, passed_s: float) -> None:
        """Look who is stuck. ``passed_s`` have passed since the last look, in which threads could run."""
        for worker in self._workers.copy():
            worker.spent_s += passed_s
            if self._is_stuck(worker):
                self._lose(worker)

    def _is_stuck(self, worker: Worker) -> bool:
        limit_s = worker.limit_s
        return limit_s is not None and worker.spent_s >= limit_s and not worker.stuck

    def _lose(self, worker: Worker) -> None:
        with self._lock:
            if worker not in self._workers or not self._is_stuck(worker):
                return  # it came back at this very moment
            worker.stuck = True
            self._stuck += 1
            stuck = self._stuck
            self._replaced(worker)
            self._thread_ended.notify_all()
        self._report_stuck(worker, _where(worker.ident))
        if 2 * stuck >= self._size:
            self._report_exhausted(stuck)

    def _replaced(self, worker: Worker) -> bool:
        """Give the worker's place to another thread; False when none can be had. The caller holds the lock."""
        if worker.has_place:
            if not self._fill_place():
                return False
            worker.has_place = False
            worker.away = True
            self._away += 1
        return True

    def _fill_place(self) -> bool:
        """Find a thread for a place; False when none can be had. The caller holds the lock."""
        if self._closing:
            return True
        if self._spares > self._free:
            self._free += 1
            self._place_free.notify()
            return True
        try:
            self._spawn(self._work, has_place=True)
        except RuntimeError:  # there can be no more threads
            return False
        return True

    def _work(self, worker: Worker) -> None:
        while worker.has_place:
            while worker.has_place:
                try:
                    if not self._turn(worker):
                        return
                except Exception:  # noqa: BLE001  # a mistake of ours, which must not cost a worker
                    here = threading.current_thread()
                    threading.excepthook(threading.ExceptHookArgs((*sys.exc_info(), here)))
                    sleep(time_limits.WORK_AGAIN_S)
            self._come_back(worker)

    def _come_back(self, worker: Worker) -> None:
        """Wait for a place as a spare; without one there is no use for this thread any more."""
        with self._lock:
            self._settle(worker)
            if self._closing or self._spares >= self._size:
                return
            self._spares += 1
            self._place_free.wait_for(lambda: self._free or self._closing)
            self._spares -= 1
            if self._free and not self._closing:
                self._free -= 1
                worker.has_place = True

    def _settle(self, worker: Worker) -> None:
        """It is neither away nor stuck any more. The caller holds the lock."""
        self._away -= worker.away
        self._stuck -= worker.stuck
        worker.away = worker.stuck = False

    def _spawn(self, target: Callable[[Worker], None], *, has_place: bool) -> None:
        """Run ``target`` on a thread of its own; the caller holds the lock. Raises ``RuntimeError``."""

        def run() -> None:
            worker = Worker(self, has_place=has_place)
            with self._lock:
                self._workers.add(worker)
            try:
                target(worker)
            finally:
                with self._lock:
                    self._settle(worker)
                    self._workers.discard(worker)
                    self._threads -= 1
                    self._thread_ended.notify_all()

        threading.Thread(target=run, daemon=True).start()
        self._threads += 1


def _where(ident: int) -> str:
    """The functions that a thread is in, the innermost first."""
    frame = sys._current_frames().get(ident)  # the only way, and documented
    frames: list[str] = []
    while frame is not None and len(frames) < _FRAMES_SHOWN:
        frames.append(f"{frame.f_code.co_qualname} ({Path(frame.f_code.co_filename).name}:{frame.f_lineno})")
        frame = frame.f_back
    return " < ".join(frames)
