"""The service behind ``bmn serve``: FastAGI, ``/metrics``, and a thread that keeps Redis up with the journal."""

from __future__ import annotations

import os
import resource
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from time import monotonic
from typing import Final

from agent import dialplan_names as names
from agent import logs
from agent.adapters.agi_channel import AgiChannel
from agent.adapters.agi_values import AgiRequest
from agent.adapters.journal_key import exposed_key
from agent.bootstrap import Application
from agent.bootstrap.service import service_state
from agent.domain.deadline import Deadline
from agent.domain.errors import BmnError, ConfigurationError, JournalReplaced, JournalUnavailable
from agent.domain.journal_events import Event, EventType, JsonValue
from agent.domain.model import Reason
from agent.domain.phone_number import NUMBERING
from agent.domain.profile import PROFILES
from agent.entrypoints.agi_scripts import AgiScripts
from agent.entrypoints.agi_session import Handler
from agent.entrypoints.fastagi import FastAgiServer, Limits, Script
from agent.entrypoints.list_keeper import ListKeeper
from agent.entrypoints.metrics_server import MetricsServer
from agent.entrypoints.screen_script import FASTAGI
from agent.entrypoints.session_log import session_observer
from agent.metrics import Metrics
from agent.state_metrics import StateCollector

_DRAIN_EVERY_S: Final = 0.25
_CLOSE_EVERY_S: Final = 60.0
_DESCRIPTORS: Final = 65_536
"""An open notice takes three: 500 of them are more than the usual soft limit of 1,024."""
STOP_SIGNALS: Final = frozenset({signal.SIGTERM, signal.SIGINT})
_RECORD_MS: Final = 2_000
_ANCHOR_EVERY_S: Final = 3_600
START_AGAIN: Final = 5
"""The exit code of a service that ended itself, for whoever supervises it to start it again."""


def hold_stop_signals() -> None:
    """Block the signals that stop the service, so that they are waited for and interrupt nothing.

    To be called before any thread starts: threads inherit it, and one that did not would take the signal and die.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)


def _cannot_listen(address: tuple[str, int], setting: str, error: OSError) -> ConfigurationError:
    host, port = address
    return ConfigurationError(f"cannot listen on {host}:{port} ({setting}): {error.strerror or error}")


class Service:
    """One ``bmn serve``. ``run`` returns when a signal has stopped it."""

    def __init__(self, app: Application, metrics: Metrics | None) -> None:
        """``metrics`` must be what ``app`` tells what happens; without, nothing is told at ``metrics.listen``."""
        self._app = app
        self._metrics = metrics
        self._log = logs.logger()
        self._ending = threading.Event()
        self._code = 0
        self._main = threading.get_ident()
        self._clock_unsound = False
        agi = app.settings.agi
        self._scripts = AgiScripts(app, FASTAGI)
        self._server = FastAgiServer(
            agi.listen,
            {
                names.SCRIPT_SCREEN: Script(handle=self._seen(self._scripts.screen), deadline_ms=agi.deadline_ms),
                names.SCRIPT_NOTICE: Script(handle=self._seen(self._scripts.notice), long=True),
                names.SCRIPT_KEY: Script(handle=self._seen(self._scripts.key), deadline_ms=agi.deadline_ms),
                names.SCRIPT_FINISH: Script(handle=self._seen(self._scripts.finish), long=True),
                names.SCRIPT_LEFT: Script(handle=self._seen(self._scripts.left), long=True),
                names.SCRIPT_HEALTH: Script(handle=self._seen(self._scripts.health), deadline_ms=agi.deadline_ms),
            },
            overloaded=self._overloaded,
            failed=self._failed,
            allowed_peers=agi.allowed_peers,
            limits=Limits(workers=agi.workers, read_timeout_ms=agi.read_timeout_ms),
            observer=session_observer(self._log, app.watch),
        )

    def run(self) -> int:
        """Listen until SIGTERM or SIGINT, or until it cannot go on; returns the exit code.

        0 when every running session came to its end, 1 when one was cut off, ``START_AGAIN`` when it ended itself.

        ``hold_stop_signals`` must have been called before the application was wired.
        """
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(_DESCRIPTORS, most), most))
        with self._measured() as measured:
            return self._run(measured)

    def _run(self, measured: str | None) -> int:
        try:
            self._server.start()
        except OSError as error:
            raise _cannot_listen(self._app.settings.agi.listen, "agi.listen", error) from error
        drain = threading.Thread(target=self._keep_drained, name="outbox", daemon=True)
        keeper = ListKeeper(self._app, self._ending)
        clean = False
        try:
            host, port = self._server.address
            about: dict[str, JsonValue] = {"host": socket.gethostname(), "pid": os.getpid()}
            release = version("bel-me-niet-agent")
            listen = f"{host}:{port}"
            started = Event(
                EventType.AGENT_STARTED, {**about, "version": release, "listen": listen, "phonenumbers": NUMBERING}
            )
            self._app.journal.append([started], Deadline.after_ms(_RECORD_MS))
            degraded = self._scripts.degraded(Deadline.after_ms(_RECORD_MS))
            write = self._log.warning if degraded else self._log.info
            write(
                logs.AGENT_STARTED,
                **about,
                version=release,
                listen=listen,
                metrics=measured,
                head=self._head(),
                degraded=degraded,
            )
            if exposed := exposed_key(self._app.settings.journal.key_path):
                self._log.warning(logs.KEY_EXPOSED, why=exposed)
            drain.start()
            keeper.start()
            while signal.sigtimedwait(STOP_SIGNALS, _ANCHOR_EVERY_S) is None:
                self._log.info(logs.JOURNAL_ANCHORED, head=self._head())
            self._log.info(logs.AGENT_STOPPING, **about)
            self._ending.set()
            clean = self._server.stop(self._app.settings.agi.shutdown_grace_ms / 1000)
            drain.join()
            keeper.stop()
            self._record_stop({**about, "clean": clean})
        finally:
            self._ending.set()
            self._server.stop(0)
            keeper.stop()
        return self._code or int(not clean)

    @contextmanager
    def _measured(self) -> Iterator[str | None]:
        """``/metrics`` for the time of the block; where it listens."""
        listen, metrics = self._app.settings.metrics.listen, self._metrics
        if listen is None or metrics is None:
            yield None
            return
        try:
            server = MetricsServer(listen, metrics.registry)
        except OSError as error:
            raise _cannot_listen(listen, "metrics.listen", error) from error
        state = StateCollector(service_state(self._app).read, lambda: self._app.journal.unwritten, metrics.errors.inc)
        metrics.registry.register(state)
        try:
            server.start()
            yield server.address
        finally:
            server.stop()
            state.close()

    def _seen(self, handle: Handler) -> Handler:
        """``handle``, counted while it is at work."""
        watch = self._app.watch

        def counted(request: AgiRequest, channel: AgiChannel, due: float) -> None:
            watch.session_began(request.script)
            try:
                handle(request, channel, due)
            finally:
                watch.session_ended(request.script)

        return counted

    def _record_stop(self, about: dict[str, JsonValue]) -> None:
        try:
            self._app.journal.append([Event(EventType.AGENT_STOPPED, about)], Deadline.after_ms(_RECORD_MS))
        except JournalUnavailable as error:
            self._log.error(logs.AGENT_STOPPED, failure=str(error), **about)
        else:
            self._log.info(logs.AGENT_STOPPED, head=self._head(), **about)

    def _head(self) -> str | None:
        """The journal's head, for a log that is kept elsewhere; None when it cannot be read now."""
        try:
            return str(self._app.journal.head())
        except JournalUnavailable:
            return None

    def _keep_drained(self) -> None:
        """Apply what a screening, another process or an outage of Redis left to be applied."""
        blocked, look_at = False, monotonic() + _CLOSE_EVERY_S
        while not self._ending.wait(_DRAIN_EVERY_S):
            try:
                self._app.journal.require_in_place()
                self._keep_clock()
                applied = self._app.outbox.drain()
                if monotonic() >= look_at:
                    look_at = monotonic() + _CLOSE_EVERY_S
                    missed = self._app.finishing.close_open(Deadline.after_ms(_RECORD_MS))
                    for (result, ended), count in missed.items():
                        self._log.warning(logs.NOTICE_MISSED, count=count, ended=ended)
                        self._app.watch.notices_played(result, ended, count)
                    if closed := self._app.finishing.close_books(Deadline.after_ms(_RECORD_MS)):
                        self._log.warning(logs.CALLS_CLOSED, count=closed)
                        self._app.watch.calls_closed(closed)
                    for profile in PROFILES.values():
                        if freed := self._app.registers.tidy(profile):
                            self._log.info(logs.GENERATION_FREED, profile=profile.key, generations=freed)
            except JournalReplaced as error:
                self._log.error(logs.JOURNAL_REPLACED, why=str(error))
                self._end(START_AGAIN)
                return
            except Exception as error:  # noqa: BLE001  # this thread must outlive whatever it meets
                if not blocked:
                    self._log.error(logs.OUTBOX_BLOCKED, why=str(error), exc_info=not isinstance(error, BmnError))
                blocked = True
            else:
                if applied or blocked:
                    self._log.info(logs.OUTBOX_DRAINED, applied=applied)
                blocked = False

    def _keep_clock(self) -> None:
        """Let calls go on when the system vouches for a clock that is behind; else say once what is wrong."""
        problem = self._app.clock_keeping.problem()
        if problem and self._app.clock_keeping.settle(Deadline.after_ms(_RECORD_MS)):
            self._log.warning(logs.CLOCK_JUMPED, why=problem)
        elif problem and not self._clock_unsound:
            self._log.error(logs.CLOCK_UNSOUND, why=problem)
        self._clock_unsound = bool(problem)

    def _end(self, code: int) -> None:
        """Stop as after a signal, and leave with ``code``. For any thread."""
        self._code = code
        signal.pthread_kill(self._main, signal.SIGTERM)

    def _overloaded(self, request: AgiRequest, channel: AgiChannel) -> None:
        if request.script == names.SCRIPT_SCREEN:  # the others may go without an answer
            self._scripts.refuse(request, channel, Reason.OVERLOADED, "the request waited longer than its deadline")

    def _failed(self, request: AgiRequest, channel: AgiChannel) -> None:
        if request.script == names.SCRIPT_SCREEN:
            self._scripts.refuse(request, channel, Reason.INTERNAL_ERROR, "unexpected error; see the log")
