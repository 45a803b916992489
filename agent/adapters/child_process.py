"""A command in a process of its own, followed without waiting for it."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import Final

from agent.domain.phone_number import mask_within

_COMMAND: Final = (sys.executable, "-P", "-m", "agent.entrypoints")
_SAYS: Final = "bmn: "
"""How the sentence begins with which a command says why it failed."""
_LONGEST: Final = 500


class ChildProcess:
    """See ``agent.register_repair.Process``. Begins at once; what it is told on the way is this process's environment.

    Gives way to whoever answers calls, as the command does by itself (``agent.entrypoints.cli.give_way``).
    """

    def __init__(self, arguments: Sequence[str]) -> None:
        """``arguments`` of the command ``bmn``. Raises ``OSError`` when no process can be started."""
        self._said = tempfile.TemporaryFile()  # noqa: SIM115  # closed when the process has ended
        self._words = ""
        self._process = subprocess.Popen(  # noqa: S603  # our own command
            [*_COMMAND, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=self._said
        )

    def ended(self) -> int | None:
        """See ``agent.register_repair.Process``."""
        code = self._process.poll()
        if code is not None:
            self._close()
        return code

    def words(self) -> str:
        """See ``agent.register_repair.Process``. Numbers are masked."""
        return self._words

    def kill(self) -> None:
        """See ``agent.register_repair.Process``."""
        self._process.kill()
        self._process.wait()
        self._close()

    def _close(self) -> None:
        if self._said.closed:
            return
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").splitlines()
        self._said.close()
        said = [line.removeprefix(_SAYS) for line in lines if line.startswith(_SAYS)]
        self._words = mask_within(said[-1][:_LONGEST]) if said else ""
