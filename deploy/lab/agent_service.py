"""The agent as its own process, as a site runs it: ``bmn serve``, waited for, stopped, paused, killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from deploy.lab.service_manager import Heir, ServiceManager, adopt_orphans

START_TIMEOUT_S = 15.0
STOP_TIMEOUT_S = 15.0
_LOG_TIMEOUT_S = 2.0
_LOG_QUIET_S = 0.1
_UNMEASURED = {"BMN_METRICS__LISTEN": ""}


def bmn(*arguments: str, environment: Mapping[str, str], check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run the command ``bmn`` of this Python; with ``check``, an exit code other than 0 raises with what it said."""
    done = subprocess.run(
        [str(Path(sys.executable).parent / "bmn"), *arguments],
        env={**os.environ, **_UNMEASURED, **environment},
        capture_output=True,
        text=True,
    )
    if check and done.returncode != 0:
        raise RuntimeError(f"bmn {' '.join(arguments)} ended with {done.returncode}: {done.stderr or done.stdout}")
    return done


class AgentService:
    """A running ``bmn serve``. Its log is in ``log_path``, one JSON object a line."""

    program: Sequence[str] = (str(Path(sys.executable).parent / "bmn"), "serve")

    def __init__(self, directory: Path, environment: Mapping[str, str], manager: ServiceManager | None = None) -> None:
        """``environment`` is added to that of this process: BMN_CONFIG, BMN_REDIS_URL, BMN_AGI_LISTEN.

        Without BMN_METRICS__LISTEN nothing is measured: several may run beside each other. With a ``manager`` it can
        hand over.
        """
        self.environment = {**environment, **(manager.environment if manager else {})}
        self.log_path = directory / "agent.log"
        self._manager = manager
        self._process: subprocess.Popen[bytes] | Heir | None = None
        self._before: list[subprocess.Popen[bytes] | Heir] = []
        """Those that have handed over."""

    @property
    def pid(self) -> int:
        """Of the running service."""
        assert self._process is not None
        return self._process.pid

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None and self._process.poll() is None:
            self._wait_for_quiet()  # what a killed process has not written is lost
        self.kill()

    def start(self) -> None:
        """Start it and wait until it says that it listens. Raises ``RuntimeError`` with its log when it does not."""
        seen = len(self.logged("agent.started"))
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                self.program,
                env={**os.environ, **_UNMEASURED, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while len(self.logged("agent.started")) == seen:
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"bmn serve did not start: {self.log_path.read_text()[-1000:]}")
            time.sleep(0.01)

    def hand_over(self) -> subprocess.Popen[bytes] | Heir:
        """Have it hand over to a successor (SIGHUP), which this object stands for then; the process before."""
        assert self._manager is not None
        assert self._process is not None
        adopt_orphans()
        before = self._process
        self.send(signal.SIGHUP)
        deadline = time.monotonic() + START_TIMEOUT_S
        while (main := self._manager.main_pid()) in (None, before.pid):
            if time.monotonic() > deadline:
                raise RuntimeError(f"bmn serve did not hand over: {self.log_path.read_text()[-1000:]}")
            time.sleep(0.01)
        assert main is not None
        self._process = Heir(main)
        self._before.append(before)
        return before

    @property
    def started(self) -> dict[str, Any]:
        """The line in which this process says where it listens."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while not (lines := [line for line in self.logged("agent.started") if line["pid"] == self.pid]):
            if time.monotonic() > deadline:
                raise RuntimeError(f"bmn serve does not say where it listens: {self.log_path.read_text()[-1000:]}")
            time.sleep(0.01)
        return lines[-1]

    def send(self, number: int) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def stop(self) -> int:
        """Ask it to stop, as a service manager does; returns its exit code."""
        self.send(signal.SIGTERM)
        return self.ended()

    def ended(self, timeout_s: float = STOP_TIMEOUT_S) -> int:
        """Wait until it ends by itself; returns its exit code."""
        assert self._process is not None
        code = self._process.wait(timeout_s)
        self._process = None
        return code

    def kill(self) -> None:
        """End it at once (SIGKILL), also when it is paused, and what it has taken over from."""
        for process in (*self._before, self._process):  # parents first, for whom it is to tell of their children
            if process is not None and process.poll() is None:
                process.kill()
                process.wait(STOP_TIMEOUT_S)
        self._before.clear()
        self._process = None

    def pause(self) -> None:
        """Make it silent: the kernel still accepts connections for it (SIGSTOP)."""
        self.send(signal.SIGSTOP)

    def resume(self) -> None:
        """Undo ``pause``."""
        self.send(signal.SIGCONT)

    def log(self, event: str | None = None) -> list[dict[str, Any]]:
        """Every line it has logged, or those of one event.

        A session is over before it is logged, and lines gather for a moment: while the service runs, this waits until
        no more come for a tenth of a second. Who must have a line waits for it.
        """
        if self._process is not None and self._process.poll() is None:
            self._wait_for_quiet()
        return self.logged(event)

    def _wait_for_quiet(self) -> None:
        size, quiet_since = -1, time.monotonic()
        deadline = time.monotonic() + _LOG_TIMEOUT_S
        while (now := time.monotonic()) < deadline and now - quiet_since < _LOG_QUIET_S:
            if size != (size := self.log_path.stat().st_size if self.log_path.exists() else 0):
                quiet_since = now
            time.sleep(0.01)

    def logged(self, event: str | None = None) -> list[dict[str, Any]]:
        """The same, as far as it is written by now: for who waits for a line."""
        if not self.log_path.exists():
            return []
        text = self.log_path.read_text()
        whole = text[: text.rfind("\n") + 1]  # the last line may be on its way
        lines = [line for line in whole.splitlines() if line.startswith("{")]
        entries = [json.loads(line) for line in lines]
        return [entry for entry in entries if event is None or entry["event"] == event]
