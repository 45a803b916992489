"""A handler as a classic AGI script: Asterisk starts a process and talks over its standard input and output.

The same handlers as under ``fastagi``; slower by the start of a process, which takes both processors of a small machine
when many calls come at once (``tests.bench.classic_limit``), meant for sites that cannot run a service. What Asterisk
waits for is not only the handler: so the time since the process was started counts, and the session ends, by the end of
its output, before the process does. Asterisk announces a hang-up with SIGHUP, also when the session is over, which
would kill the process between two writes: around the session the command ignores it.
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
    overdue: Refusal | None = None,
    deadline_ms: float = 1000,
    spent_ms: float = 0,
    read_timeout_ms: float = 1000,
    observer: Observer | None = None,
) -> bool:
    """Serve one session on the main thread; True when the handler came to its end.

    ``failed`` answers in the handler's stead when that raises, and ``overdue`` when nothing is left of the deadline,
    of which ``spent_ms`` are over when this is called. SIGHUP marks the channel as hung up and a closed pipe is
    ``AgiHangup``, only while this runs. At the end both pipes are closed. To ``observer`` the peer is ``stdin``.
    """
    began = monotonic() - spent_ms / 1000
    due = began + deadline_ms / 1000
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
        if overdue is not None and monotonic() >= due:
            waited_ms = round((monotonic() - began) * 1000)
            answer(
                lambda: overdue(request, channel),
                lambda: failed(request, channel),
                request,
                channel,
                _PEER,
                observer,
            )
            observer.overloaded(request, waited_ms)
            return False
        return answer(
            lambda: handler(request, channel, due),
            lambda: failed(request, channel),
            request,
            channel,
            _PEER,
            observer,
        )
    finally:
        channel.end()
        for number, action in before:
            signal.signal(number, action)
