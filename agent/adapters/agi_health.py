"""The FastAGI service, asked as Asterisk asks: the script ``health``."""

from __future__ import annotations

import re
import socket
from typing import Final

from agent.domain.condition import ServiceUnavailable

_TIMEOUT_S: Final = 3.0
_LONGEST: Final = 4_096


def ask_health(listen: tuple[str, int], script: str, variable: str) -> str:
    """What ``script`` sets ``variable`` to. Raises ``ServiceUnavailable``."""
    host, port = listen
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  # where it listens, from here
    try:
        with socket.create_connection((host, port), _TIMEOUT_S) as connection:
            request = f"agi_network: yes\nagi_network_script: {script}\nagi_request: agi://{host}/{script}\n\n"
            connection.sendall(request.encode())
            command = connection.makefile("rb").readline(_LONGEST).decode(errors="replace")
            connection.sendall(b"200 result=1\n")
    except OSError as error:
        raise ServiceUnavailable(error.strerror or str(error) or "no answer in time") from error
    match = re.fullmatch(rf'SET VARIABLE "?(?:ARRAY\()?{variable}\)?"? "?(\w+)"?\s*', command)
    if match is None:
        raise ServiceUnavailable("something else answers there")
    return match[1]
