"""The service behind ``bmn serve``: FastAGI, ``/metrics``, and threads that look after both; how it begins and ends."""

from __future__ import annotations

import os
import resource
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from time import monotonic
from typing import Final

from agent import dialplan_names as names
from agent import logs
from agent.adapters.agi_channel import AgiChannel
from agent.adapters.agi_values import AgiRequest
from agent.adapters.journal_key import exposed_key
from agent.adapters.service_manager import ServiceManager
from agent.bootstrap import Application
from agent.bootstrap.service import service_state
from agent.domain.deadline import Deadline
from agent.domain.errors import JournalUnavailable
from agent.domain.journal_events import Event, EventType, JsonValue
from agent.domain.model import Reason
from agent.domain.phone_number import NUMBERING, load_numbering_plans
from agent.entrypoints import signals, time_limits
from agent.entrypoints.agi_scripts import AgiScripts
from agent.entrypoints.agi_session import Handler, Refusal
from agent.entrypoints.fastagi import FastAgiServer, Limits, Script
from agent.entrypoints.handover import Inheritance, Succession
from agent.entrypoints.last_resort import LastResort
from agent.entrypoints.list_keeper import ListKeeper
from agent.entrypoints.listening import cannot_listen
from agent.entrypoints.metrics_server import MetricsServer
from agent.entrypoints.screen_script import FASTAGI
from agent.entrypoints.session_log import session_observer
from agent.entrypoints.upkeep import Upkeep
from agent.entrypoints.watchdog import PULSE, Watchdog
from agent.metrics import Metrics
from agent.state_metrics import StateCollector

_DESCRIPTORS: Final = 65_536
"""An open notice takes three: 500 of them are more than the usual soft limit of 1,024."""
START_AGAIN: Final = 5
"""The exit code of a service that ended itself, for whoever supervises it to start it again."""


def _descriptors() -> int:
    """How many this process may have."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _DESCRIPTORS if most == resource.RLIM_INFINITY else min(_DESCRIPTORS, most)


@dataclass(frozen=True, slots=True, kw_only=True)
class _End:
    """That the service is to end."""

    code: int
    why: str
    grace_s: float
    handed_over: bool = False


class Service:
    """One ``bmn serve``. ``run`` returns its exit code when it has ended."""

    def __init__(
        self,
        app: Application,
        metrics: Metrics | None,
        *,
        lines_dropped: Callable[[], int],
        inheritance: Inheritance,
        manager: ServiceManager,
        close_log: Callable[[], None],
    ) -> None:
        """``metrics`` must be what ``app`` tells what happens; without, nothing is told at ``metrics.listen``.

        ``lines_dropped`` says how many lines the log has dropped; ``close_log`` has those written that wait.
        """
        self._app = app
        self._lines_dropped = lines_dropped
        self._metrics = metrics
        self._inheritance = inheritance
        self._manager = manager
        self._close_log = close_log
        self._last_resort = LastResort(self._say_hung)
        self._log = logs.logger()
        self._deciding = threading.Lock()
        self._end: _End | None = None
        self._metrics_server: MetricsServer | None = None
        agi = app.settings.agi
        self._grace_s = agi.shutdown_grace_ms / 1000
        self._scripts = AgiScripts(app, FASTAGI)
        self._server = FastAgiServer(
            agi.listen,
            {
                names.SCRIPT_SCREEN: self._short(self._seen(self._scripts.screen)),
                names.SCRIPT_NOTICE: Script(handle=self._seen(self._scripts.notice), long=True),
                names.SCRIPT_KEY: self._short(self._seen(self._scripts.key)),
                names.SCRIPT_FINISH: self._finish(self._scripts.finish, self._scripts.finish_later),
                names.SCRIPT_LEFT: self._finish(self._scripts.left, self._scripts.left_later),
                names.SCRIPT_HEALTH: self._short(self._seen(self._scripts.health)),
                PULSE: self._short(self._answer_pulse),
            },
            overloaded=self._overloaded,
            failed=self._failed,
            allowed_peers=agi.allowed_peers,
            limits=Limits(
                workers=agi.workers,
                read_timeout_ms=agi.read_timeout_ms,
                half_open=min(time_limits.HALF_OPEN, _descriptors() // 4),  # those of Redis and the journal are spared
            ),
            observer=session_observer(self._log, app.watch),
            exhausted=lambda stuck: self.end(START_AGAIN, f"{stuck} of {agi.workers} workers are stuck"),
        )
        self._watchdog = Watchdog(self._server, manager, self._log)
        self._ending = threading.Event()
        self._upkeep = Upkeep(
            app,
            self._log,
            self._ending,
            hopeless=lambda why: self.end(START_AGAIN, why),
            owed_ends=self._scripts.owed_ends,
        )
        self._succession = Succession(manager, self._log, self._hand_over)

    def run(self) -> int:
        """Listen until a signal, a successor or ``end`` ends it; the exit code, 1 when sessions were cut off.

        ``signals.hold`` must have been called before the application was wired.
        """
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (_descriptors(), most))
        load_numbering_plans()
        with self._measured():
            return self._run()

    def end(self, code: int, why: str) -> None:
        """End this service with exit ``code``: close the door now, let sessions end, record it. From any thread.

        Whoever asks first is heard; returns at once.
        """
        self._decide(_End(code=code, why=why, grace_s=self._grace_s))
        signals.wake()

    def _decide(self, end: _End) -> None:
        with self._deciding:
            self._end = self._end or end

    def _run(self) -> int:
        agi = self._app.settings.agi
        try:
            self._server.listen(self._inheritance.listener("agi", agi.listen))
        except OSError as error:
            raise cannot_listen(agi.listen, "agi.listen", error) from error
        lists = ListKeeper(self._app, self._ending)
        try:
            host, port = self._server.address
            about: dict[str, JsonValue] = {"host": socket.gethostname(), "pid": os.getpid()}
            self._record_start(about, f"{host}:{port}")
            self._last_resort.stand_by()
            self._upkeep.start()
            lists.start()
            self._watchdog.start()
            end = self._wait_for_end()
            clean = self._wind_up(end, about)
            until = monotonic() + time_limits.JOIN_S
            for name, ended in (
                ("outbox", self._upkeep.join(time_limits.JOIN_S)),
                ("list-keeper", lists.stop(max(0.0, until - monotonic()))),
            ):
                if not ended:
                    self._log.error(logs.THREAD_FAILED, thread=name, why="it did not end")
            if lost := self._scripts.owed_ends.settle_within(time_limits.OWED_LAST_TRY_S):
                self._log.error(logs.RECORDS_LOST, count=lost)
            self._record_stop({**about, "clean": clean, "why": end.why})
        finally:
            self._ending.set()
            self._watchdog.stop()
            self._server.stop(0)
            lists.stop(0)
        return end.code or (0 if clean else 1)

    def _record_start(self, about: dict[str, JsonValue], listen: str) -> None:
        """Record that it listens, open, log it, and let everyone know: the service manager and the process before.

        Not before that is on record does it take anything: as long as it may fail, all is for the process before.
        """
        release = version("bel-me-niet-agent")
        started = {**about, "version": release, "listen": listen, "phonenumbers": NUMBERING}
        self._app.journal.append([Event(EventType.AGENT_STARTED, started)], Deadline.after_ms(time_limits.RECORD_MS))
        self._server.open()
        degraded = self._scripts.degraded(Deadline.after_ms(time_limits.RECORD_MS))
        write = self._log.warning if degraded else self._log.info
        write(
            logs.AGENT_STARTED,
            **about,
            version=release,
            listen=listen,
            metrics=self._metrics_server.address if self._metrics_server else None,
            head=self._head(),
            degraded=degraded,
        )
        if exposed := exposed_key(self._app.settings.journal.key_path):
            self._log.warning(logs.KEY_EXPOSED, why=exposed)
        took_over = (f"MAINPID={os.getpid()}",) if self._inheritance.is_there else ()
        self._manager.say(*took_over, "READY=1", f"STATUS=Screening on {listen}")
        self._inheritance.say_listening()

    def _wait_for_end(self) -> _End:
        while self._end is None:
            number = signals.wait(time_limits.ANCHOR_EVERY_S)
            if number is None:
                self._log.info(logs.JOURNAL_ANCHORED, head=self._head())
            else:
                self._heed(number)
        return self._end

    def _heed(self, number: int) -> None:
        name = signals.name_of(number)
        match signals.MEANINGS[number]:
            case signals.Asked.STOP:
                self._decide(_End(code=0, why=name, grace_s=self._grace_s))
            case signals.Asked.HAND_OVER if not self._manager.is_there:
                self._log.warning(logs.SIGNAL_IGNORED, signal=name, why="no service manager follows a successor")
            case signals.Asked.HAND_OVER:
                self._start_successor()
            case signals.Asked.NOTHING:
                self._log.warning(logs.SIGNAL_IGNORED, signal=name, why="it asks for nothing")
            case signals.Asked.LOOK:
                pass

    def _start_successor(self) -> None:
        settings = self._app.settings
        sockets = {"agi": (self._server.listener, settings.agi.listen)}
        if self._metrics_server is not None and settings.metrics.listen is not None:
            sockets["metrics"] = (self._metrics_server.listener, settings.metrics.listen)
        self._succession.begin(sockets)

    def _hand_over(self, successor: int) -> None:
        self._watchdog.rest()
        grace_s = self._app.settings.agi.handover_minutes * 60
        self._decide(_End(code=0, why=f"process {successor} took over", grace_s=grace_s, handed_over=True))
        signals.wake()

    def _wind_up(self, end: _End, about: dict[str, JsonValue]) -> bool:
        """Close the door at once, and let sessions end within the grace; True when all have ended."""
        write = self._log.error if end.code else self._log.info
        write(logs.AGENT_STOPPING, **about, why=end.why)
        if not end.handed_over:
            self._manager.say("STOPPING=1")
            self._succession.give_up()
        self._ending.set()
        until = self._last_resort.set(monotonic() + end.grace_s, end.code)
        self._server.close_door(time_limits.DOOR_S)
        if self._metrics_server is not None:
            self._metrics_server.stop()
        while not self._server.is_over(0) and monotonic() < until:
            number = signals.wait(time_limits.SIGNAL_LOOK_S)
            if number is not None and signals.MEANINGS[number] is signals.Asked.STOP:
                until = self._last_resort.set(min(until, monotonic() + self._grace_s), end.code)
            elif number == signal.SIGHUP and end.handed_over:
                self._start_successor()
        self._succession.settle(time_limits.HANDOVER_KILL_S)
        return self._server.stop(0)

    @contextmanager
    def _measured(self) -> Iterator[None]:
        """``/metrics`` for the time of the block."""
        listen, metrics = self._app.settings.metrics.listen, self._metrics
        if listen is None or metrics is None:
            yield
            return
        try:
            server = MetricsServer(listen, metrics.registry, self._inheritance.listener("metrics", listen))
        except OSError as error:
            raise cannot_listen(listen, "metrics.listen", error) from error
        unwritten = lambda: self._app.journal.unwritten + self._scripts.owed_ends.waiting  # noqa: E731  # short
        state = StateCollector(service_state(self._app).read, unwritten, self._lines_dropped, metrics.errors.inc)
        metrics.registry.register(state)
        self._metrics_server = server
        try:
            server.start()
            yield
        finally:
            server.stop()
            state.close()

    def _short(self, handle: Handler) -> Script:
        """A script that is answered within ``agi.deadline_ms``."""
        agi = self._app.settings.agi
        limit_ms = time_limits.STUCK_DEADLINES * agi.deadline_ms + agi.read_timeout_ms
        return Script(handle=handle, deadline_ms=agi.deadline_ms, limit_s=limit_ms / 1000 + time_limits.STUCK_MARGIN_S)

    def _finish(self, handle: Handler, later: Refusal) -> Script:
        """A script at the end of a leg, which may wait until its record is on disk."""
        return Script(handle=self._seen(handle), long=True, later=later, limit_s=time_limits.FINISH_LIMIT_S)

    def _answer_pulse(self, request: AgiRequest, channel: AgiChannel, due: float) -> None:
        """Show that a worker answers, and does not hang at what calls need."""
        self._scripts.degraded(Deadline(due))
        channel.noop()

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

    def _say_hung(self) -> None:
        """The last act of a process that does not come to its end by itself; its records are on disk by then."""
        failure = f"it hung after its end was recorded; appends that wait for the disk: {self._app.journal.unwritten}"
        self._log.error(logs.AGENT_STOPPED, pid=os.getpid(), clean=False, failure=failure)
        self._close_log()

    def _record_stop(self, about: dict[str, JsonValue]) -> None:
        try:
            self._app.journal.append([Event(EventType.AGENT_STOPPED, about)], Deadline.after_ms(time_limits.RECORD_MS))
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

    def _overloaded(self, request: AgiRequest, channel: AgiChannel) -> None:
        if request.script == names.SCRIPT_SCREEN:  # the others may go without an answer
            self._scripts.refuse(request, channel, Reason.OVERLOADED, "the request waited longer than its deadline")

    def _failed(self, request: AgiRequest, channel: AgiChannel) -> None:
        if request.script == names.SCRIPT_SCREEN:
            self._scripts.refuse(request, channel, Reason.INTERNAL_ERROR, "unexpected error; see the log")
