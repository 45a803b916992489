"""One Asterisk process with a directory tree, ports and secrets of its own."""

from __future__ import annotations

import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from .ami import AmiClient, AmiError
from .build import AsteriskBuild
from .errors import LabError

HERE = Path(__file__).resolve().parent
LOOPBACK = "127.0.0.1"
START_LIMIT_S = 20.0
STOP_LIMIT_S = 10.0
# Modules that a lab does want complain when their file is missing, not when it is empty.
EMPTY_FILES = (
    *("acl", "ccss", "cel", "confbridge", "features", "followme", "pjproject", "queuerules", "queues"),
    *("res_parking", "stasis", "udptl"),
)
# Ends Asterisk when its standard input ends, so when we are gone, whatever ended us.
GUARD = 'read -r _; kill -TERM "$1"'
# Path of a Unix socket, including the name that Asterisk appends, in bytes.
SOCKET_PATH_LIMIT = 100


def free_port(kind: socket.SocketKind) -> int:
    """A port of loopback on which nothing listens at this moment."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def free_rtp_range(size: int = 400) -> tuple[int, int]:
    """First and last port of a range that is free now, below the ephemeral ports."""
    for _ in range(50):
        first = random.randrange(10_000, 32_000 - size, 2)
        probes = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(size)]
        try:
            for offset, probe in enumerate(probes):
                probe.bind((LOOPBACK, first + offset))
            return first, first + size - 1
        except OSError:
            continue
        finally:
            for probe in probes:
                probe.close()
    raise LabError("no free range of UDP ports between 10000 and 32000")


class AsteriskInstance:
    """One Asterisk; made, started, stopped. `ami` is there while it runs.

    Its configuration is every file of `deploy/lab/etc/common` and of the given
    folder, with each `@name@` replaced. All it writes stays under `directory`.
    """

    def __init__(
        self,
        directory: Path,
        *,
        name: str,
        build: AsteriskBuild,
        configuration: Path,
        values: Mapping[str, str],
        sounds: Sequence[Path] = (),
    ) -> None:
        """Write the directory tree; nothing runs yet. `sounds` hold one folder per language."""
        self.name = name
        self.directory = directory.resolve()
        self.ami_port = free_port(socket.SOCK_STREAM)
        self._build = build
        self._secret = secrets.token_hex(16)
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None
        self._ami: AmiClient | None = None
        self._short_run_dir: Path | None = None
        for folder in ("etc", "var/keys", "data/sounds", "spool", "log/cdr-csv", "recordings"):
            (self.directory / folder).mkdir(parents=True)
        self._link_data([*sounds, build.sounds_dir])
        first_rtp, last_rtp = free_rtp_range()
        self._configure(
            configuration,
            {
                **{part: str(self.directory / part) for part in ("etc", "var", "data", "spool", "log")},
                "recordings": str(self.recordings),
                "run": str(self._make_run_dir()),
                "modules": str(build.modules_dir),
                "ami_port": str(self.ami_port),
                "ami_secret": self._secret,
                "rtp_start": str(first_rtp),
                "rtp_end": str(last_rtp),
                **values,
            },
        )

    @property
    def recordings(self) -> Path:
        """Where its dialplan records to."""
        return self.directory / "recordings"

    @property
    def program(self) -> tuple[str, ...]:
        """What starts it, or with ``-rx`` reaches its console."""
        return (str(self._build.executable), "-C", str(self.directory / "etc/asterisk.conf"))

    @property
    def ami(self) -> AmiClient:
        """The manager connection; LabError when it does not run."""
        if self._ami is None:
            raise LabError(f"{self.name} does not run")
        return self._ami

    def start(self) -> None:
        """Start the process and return when it is fully booted; LabError shows the log."""
        with (self.directory / "console").open("wb") as console:
            self._process = subprocess.Popen(
                [*self.program, "-f"],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                cwd=self.directory,
                start_new_session=True,
            )
        self._guard = subprocess.Popen(
            ["sh", "-c", GUARD, "guard", str(self._process.pid)],
            stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            self._ami = self._log_in(self._process)
            self._ami.wait_for(lambda event: event.name == "FullyBooted", START_LIMIT_S, what="FullyBooted")
        except (AmiError, LabError) as error:
            self.stop()
            raise LabError(f"{self.name} did not start: {error}\n{self._tail()}") from error

    def stop(self) -> None:
        """End the process, gently and then firmly; may be called at any time, also twice."""
        if self._ami is not None:
            self._ami.close()
            self._ami = None
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_LIMIT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        guard, self._guard = self._guard, None
        if guard is not None:
            guard.kill()
            guard.communicate()
        if self._short_run_dir is not None:
            shutil.rmtree(self._short_run_dir, ignore_errors=True)

    def command(self, command: str) -> str:
        """Run a CLI command and return what it prints."""
        return self.ami.command(command)

    def warnings(self) -> list[str]:
        """The lines of its log with level WARNING or ERROR, oldest first."""
        return [line for line in self._log() if " WARNING[" in line or " ERROR[" in line]

    def _log(self) -> list[str]:
        path = self.directory / "log/messages"
        return path.read_text(errors="replace").splitlines() if path.exists() else []

    def _tail(self) -> str:
        console = (self.directory / "console").read_text(errors="replace").splitlines()
        return "\n".join([*console[-5:], *self._log()[-15:]])

    def _log_in(self, process: subprocess.Popen[bytes]) -> AmiClient:
        """Try until the manager answers; the wait for the process' end sets the pace."""
        error: AmiError | None = None
        for _ in range(int(START_LIMIT_S / 0.05)):
            try:
                code = process.wait(0.05)
            except subprocess.TimeoutExpired:
                try:
                    return AmiClient(LOOPBACK, self.ami_port, username="lab", secret=self._secret)
                except AmiError as refused:
                    error = refused
            else:
                raise LabError(f"it ended with exit code {code}")
        raise LabError(f"no manager in {START_LIMIT_S} s: {error}")

    def _make_run_dir(self) -> Path:
        run = self.directory / "run"
        if len(os.fsencode(run / "asterisk.ctl")) > SOCKET_PATH_LIMIT:
            run = self._short_run_dir = Path(tempfile.mkdtemp(prefix="bmn-lab-"))
        else:
            run.mkdir()
        return run

    def _configure(self, configuration: Path, values: Mapping[str, str]) -> None:
        etc = self.directory / "etc"
        for name in EMPTY_FILES:
            (etc / f"{name}.conf").touch()
        for source in [*(HERE / "etc/common").iterdir(), *configuration.iterdir()]:
            text = source.read_text()
            for name, value in values.items():
                text = text.replace(f"@{name}@", value)
            (etc / source.name).write_text(text)
        (etc / "manager.conf").chmod(0o600)

    def _link_data(self, sounds: Sequence[Path]) -> None:
        """Stock data and prompts by link; of two prompts with one name the first counts."""
        data = self.directory / "data"
        for entry in self._build.data_dir.iterdir():
            if entry.name != "sounds":
                (data / entry.name).symlink_to(entry)
        for source in sounds:
            for language in (folder for folder in source.iterdir() if folder.is_dir()):
                target = data / "sounds" / language.name
                target.mkdir(exist_ok=True)
                for prompt in language.iterdir():
                    if not (target / prompt.name).exists():
                        (target / prompt.name).symlink_to(prompt.resolve())
