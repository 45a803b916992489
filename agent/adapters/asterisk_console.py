"""The console of Asterisk, by its command: ``asterisk -rx``."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from typing import Final

from agent.domain.condition import AsteriskUnavailable

_TIMEOUT_S: Final = 10.0


class AsteriskConsole:
    """See ``agent.domain.condition.Asterisk``. ``command`` may be longer: ``docker exec pbx asterisk``."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = list(command)

    def ask(self, command: str) -> str:
        """See ``agent.domain.condition.Asterisk``."""
        asked = [*self._command, "-rx", command]
        try:
            done = subprocess.run(  # noqa: S603  # the operator's own command
                asked, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=_TIMEOUT_S
            )
        except subprocess.TimeoutExpired as error:
            raise AsteriskUnavailable(f"{self._command[0]} did not answer in {_TIMEOUT_S:.0f} s") from error
        except OSError as error:
            raise AsteriskUnavailable(f"{self._command[0]}: {error.strerror}") from error
        if done.returncode != 0:
            said = (done.stderr or done.stdout).strip().splitlines()
            raise AsteriskUnavailable(said[-1] if said else f"{self._command[0]} ended with {done.returncode}")
        return done.stdout
