"""A handler as a classic AGI script: Asterisk starts a process and talks over its standard input and output.

The same handlers as under ``fastagi``; slower by a process start (about 150 ms of imports), meant for sites that
cannot run a service. Asterisk announces a hang-up with SIGHUP, which would kill the process between two writes.
"""

from __future__ import annotations

import signal
import sys
from time import monotonic
from typing import BinaryIO

from agent.adapters.agi_channel import AgiChannel
from agent.adapters.agi_transport import PipeTransport
from agent.entrypoints.agi_session import Handler, Observer, Refusal, answer, read_request

_PEER = "stdin"


def run_classic(
    handler: Handler,
    stdin: BinaryIO | None = None,
    stdout: BinaryIO | None = None,
    *,
    failed: Refusal,
    deadline_ms: float = 1000,
    read_timeout_ms: float = 1000,
    observer: Observer | None = None,
) -> bool:
    """Serve one session on the main thread; True when the handler came to its end.

    ``failed`` answers in the handler's stead when that raises. The deadline counts from this call: that Asterisk also
    waited for the process to start cannot be known. SIGHUP marks the channel as hung up and a closed pipe is
    ``AgiHangup``, only while this runs. To ``observer`` the peer is ``stdin``.
    """
    due = monotonic() + deadline_ms / 1000
    observer = observer or Observer()
    transport = PipeTransport((stdin or sys.stdin.buffer).fileno(), (stdout or sys.stdout.buffer).fileno())
    channel = AgiChannel(transport, timeout_ms=read_timeout_ms)

    def hang_up(_signum: int, _frame: object) -> None:
        channel.hung_up = True

    before = [
        (signal.SIGHUP, signal.signal(signal.SIGHUP, hang_up)),
        (signal.SIGPIPE, signal.signal(signal.SIGPIPE, signal.SIG_IGN)),
    ]
    try:
        request = read_request(channel, _PEER, observer)
        if request is None:
            return False
        return answer(
            lambda: handler(request, channel, due), lambda: failed(request, channel), request, _PEER, observer
        )
    finally:
        for number, action in before:
            signal.signal(number, action)
