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

START_TIMEOUT_S = 15.0
STOP_TIMEOUT_S = 15.0
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

    def __init__(self, directory: Path, environment: Mapping[str, str]) -> None:
        """``environment`` is added to that of this process: BMN_CONFIG, BMN_REDIS_URL, BMN_AGI_LISTEN.

        Without BMN_METRICS__LISTEN nothing is measured: several may run beside each other.
        """
        self.environment = dict(environment)
        self.log_path = directory / "agent.log"
        self._process: subprocess.Popen[bytes] | None = None

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
        self.kill()

    def start(self) -> None:
        """Start it and wait until it says that it listens. Raises ``RuntimeError`` with its log when it does not."""
        seen = len(self.log("agent.started"))
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                self.program,
                env={**os.environ, **_UNMEASURED, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while len(self.log("agent.started")) == seen:
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"bmn serve did not start: {self.log_path.read_text()[-1000:]}")
            time.sleep(0.01)

    def stop(self) -> int:
        """Ask it to stop, as a service manager does; returns its exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self.ended()

    def ended(self, timeout_s: float = STOP_TIMEOUT_S) -> int:
        """Wait until it ends by itself; returns its exit code."""
        assert self._process is not None
        code = self._process.wait(timeout_s)
        self._process = None
        return code

    def kill(self) -> None:
        """End it at once (SIGKILL), also when it is paused."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """Make it silent: the kernel still accepts connections for it (SIGSTOP)."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Undo ``pause``."""
        os.kill(self.pid, signal.SIGCONT)

    def log(self, event: str | None = None) -> list[dict[str, Any]]:
        """Every line it has logged, or those of one event."""
        if not self.log_path.exists():
            return []
        text = self.log_path.read_text()
        whole = text[: text.rfind("\n") + 1]  # the last line may be on its way
        lines = [line for line in whole.splitlines() if line.startswith("{")]
        entries = [json.loads(line) for line in lines]
        return [entry for entry in entries if event is None or entry["event"] == event]
