"""What can go wrong, in the words of the domain. Adapters translate every vendor error into one of these."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

_SHOWN: Final = 20


class BmnError(Exception):
    """Base of every error this package raises on purpose. Its text is one sentence for a person."""


class LookupUnavailable(BmnError):
    """The lists could not be consulted: no connection, an error reply, or lists that lag behind the journal."""


class LookupTimedOut(LookupUnavailable):
    """The lists did not answer within the time that the screening had left."""


class ListsBehind(LookupUnavailable):
    """Redis has not yet applied every protective change that the journal holds (see ``agent.outbox``)."""


class ListsForeign(LookupUnavailable):
    """Redis holds the lists of another journal: what they say is not what this journal knows."""


class ListsEvicted(LookupUnavailable):
    """Redis may throw numbers away, which would look as if they were not registered."""


class ListsDamaged(LookupUnavailable):
    """A value in Redis is not one that this system wrote."""


class RegisterReplaced(LookupUnavailable):
    """Another load of the register was put in force while a long piece of work was reading the one before."""


class RegisterUnusable(LookupUnavailable):
    """No register is loaded, or one past its period, where it has to be asked."""


class JournalUnavailable(BmnError):
    """A record could not be made durable: disk full, database locked or damaged, or no time left."""


class JournalReplaced(JournalUnavailable):
    """The file at the journal's path is not the one that is open, or was set back: only a new start can use it."""


class JournalKeyMissing(JournalUnavailable):
    """The journal exists but its key does not, so nothing may be appended to it and nothing verified."""


class JournalOutdated(JournalUnavailable):
    """The journal is of an older version of this software, and may not be brought up to date here."""


class NothingKept(JournalUnavailable):
    """The journal could not be read: nothing of what was reported is on its way to the disk, so report it again."""


class PremiseOutdated(BmnError):
    """The journal holds a record that the author of an entry did not know of: nothing was written, so look again."""


class LineHungUp(BmnError):
    """The consumer is not on the line any more."""


class LineLost(LineHungUp):
    """Asterisk is silent, or says what cannot be understood: nobody knows whether the consumer is on the line."""


class InputRejected(BmnError):
    """Input was refused and nothing was changed (exit code 4).

    ``problems`` are whole sentences, at most a screenful; ``total`` is how many there were.
    """

    def __init__(self, message: str, problems: tuple[str, ...] = (), total: int | None = None) -> None:
        super().__init__(message)
        self.problems = problems
        self.total = len(problems) if total is None else total

    @classmethod
    def listing(cls, message: str, problems: Sequence[str]) -> InputRejected:
        """With as many of ``problems`` as fit on a screen."""
        return cls(message, tuple(problems[:_SHOWN]), len(problems))


class ImportUnderWay(InputRejected):
    """Another process is changing the loads of this register; nothing is wrong with what was given."""


class ConfigurationError(BmnError):
    """The configuration is wrong (exit code 2). ``problems`` lists every mistake, each in words."""

    def __init__(self, message: str, problems: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.problems = problems
