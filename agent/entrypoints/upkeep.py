"""What the service does beside the calls, on a thread of its own: it keeps Redis up with the journal, and the books."""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import monotonic

from structlog.typing import FilteringBoundLogger

from agent import logs
from agent.bootstrap import Application
from agent.domain.deadline import Deadline
from agent.domain.errors import BmnError, JournalReplaced
from agent.domain.profile import PROFILES
from agent.entrypoints import time_limits
from agent.entrypoints.owed_ends import OwedEnds


class Upkeep:
    """One thread. ``hopeless`` is told, in words, when this process will never write to the journal at its path."""

    def __init__(
        self,
        app: Application,
        log: FilteringBoundLogger,
        ending: threading.Event,
        hopeless: Callable[[str], None],
        owed_ends: OwedEnds,
    ) -> None:
        """Works from ``start`` until ``ending`` is set; whoever ends it settles what is left of ``owed_ends``."""
        self._app = app
        self._log = log
        self._hopeless = hopeless
        self._ending = ending
        self._owed_ends = owed_ends
        self._over = False
        self._blocked = False
        self._clock_unsound = False
        self._look_at = monotonic() + time_limits.CLOSE_EVERY_S
        self._thread = threading.Thread(target=self._run, name="outbox", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def join(self, wait_s: float) -> bool:
        """Wait until what was begun is done; False when that took longer than ``wait_s``."""
        self._thread.join(wait_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not self._over and not self._ending.wait(time_limits.DRAIN_EVERY_S):
            try:
                self._keep_up()
            except Exception as error:  # noqa: BLE001  # this thread must outlive whatever it meets
                self._log.error(logs.THREAD_FAILED, thread="outbox", exc_info=error)

    def _keep_up(self) -> None:
        """Apply what a screening, another process or an outage of Redis left to be applied, and look at the rest."""
        if not self._app.journal.has_writer:
            self._log.error(logs.THREAD_FAILED, thread="journal-writer", why="it has ended")
            self._give_up("the journal's writer has ended")
            return
        try:
            self._app.journal.require_in_place()
            self._owed_ends.settle()
            self._keep_clock()
            applied = self._app.outbox.drain()
            if monotonic() >= self._look_at:
                self._look_at = monotonic() + time_limits.CLOSE_EVERY_S
                self._close_books()
        except JournalReplaced as error:
            self._log.error(logs.JOURNAL_REPLACED, why=str(error))
            self._give_up(str(error))
        except Exception as error:  # noqa: BLE001  # whatever it was, it is tried again
            if not self._blocked:
                self._blocked = True
                self._log.error(logs.OUTBOX_BLOCKED, why=str(error), exc_info=not isinstance(error, BmnError))
        else:
            if applied or self._blocked:
                self._log.info(logs.OUTBOX_DRAINED, applied=applied)
            self._blocked = False

    def _give_up(self, why: str) -> None:
        self._over = True
        self._hopeless(why)

    def _close_books(self) -> None:
        """Record what did not happen in its time, and free what nobody needs any more."""
        missed = self._app.finishing.close_open(Deadline.after_ms(time_limits.RECORD_MS))
        for (result, ended), count in missed.items():
            self._log.warning(logs.NOTICE_MISSED, count=count, ended=ended)
            self._app.watch.notices_played(result, ended, count)
        if closed := self._app.finishing.close_books(Deadline.after_ms(time_limits.RECORD_MS)):
            self._log.warning(logs.CALLS_CLOSED, count=closed)
            self._app.watch.calls_closed(closed)
        for profile in PROFILES.values():
            if freed := self._app.registers.tidy(profile):
                self._log.info(logs.GENERATION_FREED, profile=profile.key, generations=freed)

    def _keep_clock(self) -> None:
        """Let calls go on when the system vouches for a clock that is behind; else say once what is wrong."""
        problem = self._app.clock_keeping.problem()
        if problem and self._app.clock_keeping.settle(Deadline.after_ms(time_limits.RECORD_MS)):
            self._log.warning(logs.CLOCK_JUMPED, why=problem)
        elif problem and not self._clock_unsound:
            self._log.error(logs.CLOCK_UNSOUND, why=problem)
        self._clock_unsound = bool(problem)
