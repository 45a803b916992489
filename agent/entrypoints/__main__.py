"""The command ``bmn`` as ``python -m agent.entrypoints``: how the service starts a process of its own."""

from __future__ import annotations

import signal

from agent.entrypoints.cli import main

if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_SETMASK, ())  # the service holds its signals back, and this inherits that
    main()
