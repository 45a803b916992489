"""Numbers in full: only when asked for, and the journal says that they were shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from agent.domain.deadline import Deadline
from agent.domain.journal_events import Event, EventType
from agent.seller_lists import APPEND_TIMEOUT_MS

if TYPE_CHECKING:
    from agent.bootstrap import Application


def option(command: Any) -> Any:
    """Add ``--reveal``."""
    return click.option(
        "--reveal", "revealed", is_flag=True, help="Show numbers in full. The journal records that you did."
    )(command)


def record(app: Application, what: str, chosen: str, count: int | None) -> None:
    """Record a reveal; ``count`` is None when it is not known beforehand. Raises ``JournalUnavailable``."""
    body = {"what": what, "filter": chosen, "count": count, "by": app.by}
    app.journal.append([Event(EventType.NUMBER_REVEALED, body)], Deadline.after_ms(APPEND_TIMEOUT_MS))
