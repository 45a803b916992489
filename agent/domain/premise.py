"""What an entry of the journal rests on, checked again at the moment when the entry is written.

Whoever looks first and writes later overlooks what another process writes in between. So the entry says what its author
knew, and the writer refuses it, under the lock that orders all records, when the journal has moved on from that.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from agent.domain.journal_events import EventType


@dataclass(frozen=True, slots=True, kw_only=True)
class Premise:
    """The journal holds nothing after record ``upto`` that would have changed what its author decided."""

    upto: int
    """The last record that the author knew of."""
    number: str | None = None
    """E.164: no later record restricts this number (``RESTRICTING`` of ``agent.domain.journal_events``)."""
    profile: str | None = None
    """No later record changes which load of this profile's register is in force."""
    assigned: Collection[str] | None = None
    """No later record objects to another seller than these, whoever it is that objects."""
    until: datetime | None = None
    """It is written no later than that: what it rests on holds until then (aware)."""
    call: str | None = None
    """Of this call there is no record ``without`` names, whenever that was written."""
    without: Collection[EventType] = ()
    """``call.finished``, ``notice.begun`` and ``notice.played`` are what may stand here."""
