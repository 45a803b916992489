"""The thread of the service that keeps the lists in Redis whole: it looks at all of them, and has lost ones loaded."""

from __future__ import annotations

import threading

from agent import logs
from agent.bootstrap import Application
from agent.bootstrap.service import list_audit, register_repair
from agent.domain.errors import BmnError
from agent.register_repair import Repair

_AFTER_ERROR_S = 1.0


class ListKeeper:
    """Works from ``start`` until ``ending`` is set."""

    def __init__(self, app: Application, ending: threading.Event) -> None:
        self._watch = app.watch
        self._log = logs.logger()
        self._ending = ending
        self._audit = list_audit(app, self._tell_expiring)
        self._repair = register_repair(app, self._tell_begun, self._tell_ended)
        self._thread = threading.Thread(target=self._work, name="list-keeper", daemon=True)
        self._failed = False

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self, wait_s: float) -> bool:
        """End the thread, and a process that loads a register: the next service begins it again.

        False when the thread has not ended within ``wait_s``.
        """
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join(wait_s)
        self._repair.stop()
        return not self._thread.is_alive()

    def _work(self) -> None:
        pause_s = 0.0
        while not self._ending.wait(pause_s):
            try:
                pause_s = self._step()
            except Exception as error:  # noqa: BLE001  # this thread must outlive whatever it meets
                self._log.error(logs.THREAD_FAILED, thread=self._thread.name, exc_info=error)
                pause_s = _AFTER_ERROR_S

    def _step(self) -> float:
        """Look at the next piece; how long to wait then, in seconds."""
        try:
            pause_s = self._audit.step()
            self._repair.step()
        except Exception as error:  # noqa: BLE001  # whatever it was, it is tried again
            if not isinstance(error, BmnError) and not self._failed:  # the others are told by the drain
                self._failed = True
                self._log.error(logs.AUDIT_FAILED, why=str(error), exc_info=True)
            return _AFTER_ERROR_S
        self._failed = False
        return pause_s

    def _tell_expiring(self, count: int) -> None:
        self._log.error(logs.LISTS_EXPIRING, count=count)

    def _tell_begun(self, profile: str, generation: str) -> None:
        self._log.warning(logs.REPAIR_STARTED, profile=profile, generation=generation)

    def _tell_ended(self, repair: Repair) -> None:
        write = self._log.info if repair.done else self._log.error
        write(
            logs.REPAIR_ENDED,
            profile=repair.profile,
            generation=repair.generation,
            done=repair.done,
            why=repair.why or None,
            next_s=repair.next_s,
        )
        self._watch.register_repaired(done=repair.done)
