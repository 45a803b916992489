"""How far the journal has been applied, as Redis says and as the journal bears out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from agent.adapters.redis_values import mark_from_text
from agent.domain.journal_events import Mark

_NOWHERE: Final = -1


class AppliedMark:
    """Reads ``bmn:applied``. ``mark_of`` asks the journal for a record's mark. Thread-safe."""

    def __init__(self, journal_id: str, mark_of: Callable[[int], Mark | None]) -> None:
        self._journal_id = journal_id
        self._mark_of = mark_of
        self._verified = ("", _NOWHERE)
        """The last mark that the journal was found to know, and its number."""

    def seq(self, text: str | None) -> int:
        """How far our journal has been applied; less than any record when that cannot be said.

        The journal is asked once for each new mark, and not for each call. Raises ``ListsForeign``.
        """
        verified, seq = self._verified
        if text == verified:
            return seq
        mark = mark_from_text(text, self._journal_id)
        if text is None or mark is None or self._mark_of(mark.seq) != mark:
            return _NOWHERE
        self._verified = (text, mark.seq)
        return mark.seq
