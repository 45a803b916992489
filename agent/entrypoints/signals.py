"""What each signal asks of the service. None that a service can get ends it without its records.

======================================  =============================================================================
SIGTERM SIGINT SIGQUIT                  stop
SIGPWR SIGXCPU SIGABRT                  stop: the power fails, the limit on processor time is near, the service
                                        manager's watchdog had no sign of life
SIGHUP                                  hand over to a successor (``systemctl reload``), which has the code and the
                                        configuration of now. Without a service manager that follows the change of
                                        the main process, it is ignored
SIGUSR1 SIGUSR2 SIGALRM SIGVTALRM       ignored, with a line in the log
SIGPROF SIGIO SIGSTKFLT, real-time
SIGPIPE SIGXFSZ                         ignored by Python itself; the write that met it fails
SIGCHLD SIGURG SIGWINCH                 ignored by the system
SIGTSTP SIGTTIN SIGTTOU SIGCONT         pause and go on, as job control has it
SIGSEGV SIGBUS SIGILL SIGFPE SIGTRAP    end it at once: the process itself is broken
SIGSYS
SIGKILL SIGSTOP                         nobody can do anything about
======================================  =============================================================================
"""

from __future__ import annotations

import os
import signal
from enum import Enum, auto
from typing import Final


class Asked(Enum):
    """What a signal asks."""

    STOP = auto()
    HAND_OVER = auto()
    LOOK = auto()
    """This process sent it to itself: something else changed."""
    NOTHING = auto()


_STOP: Final = (
    *(signal.SIGTERM, signal.SIGINT, signal.SIGQUIT),
    *(signal.SIGPWR, signal.SIGXCPU, signal.SIGABRT),
)
_NOTHING: Final = (
    *(signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGVTALRM, signal.SIGPROF, signal.SIGIO),
    *(signal.SIGSTKFLT, *range(signal.SIGRTMIN, signal.SIGRTMAX)),
)
_LOOK: Final = signal.SIGRTMAX
MEANINGS: Final = {
    **dict.fromkeys(_STOP, Asked.STOP),
    signal.SIGHUP: Asked.HAND_OVER,
    _LOOK: Asked.LOOK,
    **dict.fromkeys(_NOTHING, Asked.NOTHING),
}
"""Every signal that is waited for."""


def hold() -> None:
    """Block these signals, so that they are waited for and interrupt nothing.

    To be called before any thread starts: threads inherit it, and one that did not would take the signal and die.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, MEANINGS)


def wait(timeout_s: float) -> int | None:
    """The next of them; None when none came in time."""
    came = signal.sigtimedwait(MEANINGS, timeout_s)
    return None if came is None else came.si_signo


def wake() -> None:
    """End a ``wait`` of this process, on whatever thread that is; what it gets asks to look around."""
    os.kill(os.getpid(), _LOOK)


def name_of(number: int) -> str:
    """As people know it."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIGRTMIN+{number - signal.SIGRTMIN}"
