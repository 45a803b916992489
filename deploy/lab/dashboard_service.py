"""The dashboard as its own process, as a site runs it: ``bmn dashboard``, waited for and ended."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

START_TIMEOUT_S = 20.0


class DashboardService:
    """A running ``bmn dashboard`` on a free port. Its log is in ``log_path``, one JSON object a line."""

    def __init__(self, directory: Path, environment: Mapping[str, str]) -> None:
        """``environment`` is added to that of this process."""
        self._environment = {"BMN_DASHBOARD__LISTEN": "127.0.0.1:0", **environment}
        self.log_path = directory / "dashboard.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""

    def __enter__(self) -> Self:
        with self.log_path.open("wb") as log:
            self._process = subprocess.Popen(
                [str(Path(sys.executable).parent / "bmn"), "dashboard"],
                env={**os.environ, **self._environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while not (started := self.log("dashboard.started")):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"bmn dashboard did not start: {self.log_path.read_text()[-1000:]}")
            time.sleep(0.02)
        self.url = f"http://{started[0]['listen']}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> int:
        """Ask it to stop, as a service manager does; returns its exit code."""
        assert self._process is not None
        self._process.terminate()
        try:
            return self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def ended(self, timeout_s: float = 15) -> int:
        """Wait until it ends by itself; returns its exit code."""
        assert self._process is not None
        return self._process.wait(timeout_s)

    def log(self, event: str) -> list[dict[str, Any]]:
        """What it has logged of one event."""
        lines = [line for line in self.log_path.read_text().splitlines() if line.startswith("{")]
        return [entry for entry in map(json.loads, lines) if entry["event"] == event]
