"""Sessions: kept in this process, so that signing out, a restart or a new configuration really ends them."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from agent.entrypoints.dashboard.accounts import User

_KEPT: Final = 1_000
_NUMBERS_KEPT: Final = 200


@dataclass(slots=True, kw_only=True)
class Session:
    """One sign-in of one user in one browser."""

    user: User
    began: float
    used: float
    csrf: str = field(default_factory=secrets.token_urlsafe)
    """What every form of this session carries."""
    _numbers: OrderedDict[str, str] = field(default_factory=OrderedDict)

    def hide(self, number: str) -> str:
        """A word that stands for ``number`` in this session's addresses, where the number itself never stands."""
        for word, known in self._numbers.items():
            if known == number:
                return word
        word = secrets.token_urlsafe(12)
        self._numbers[word] = number
        if len(self._numbers) > _NUMBERS_KEPT:
            self._numbers.popitem(last=False)
        return word

    def hidden(self, word: str) -> str | None:
        """The number that ``word`` stands for; None when it is not of this session, or of long ago."""
        return self._numbers.get(word)


class Sessions:
    """All sessions, by the secret in the browser's cookie. ``clock`` gives seconds that only grow. For one thread."""

    def __init__(self, *, longest_s: float, idle_s: float, clock: Callable[[], float]) -> None:
        self._longest_s = longest_s
        self._idle_s = idle_s
        self._clock = clock
        self._sessions: OrderedDict[str, Session] = OrderedDict()

    def begin(self, user: User) -> str:
        """A new session; returns its secret."""
        now = self._clock()
        secret = secrets.token_urlsafe(32)
        self._sessions[secret] = Session(user=user, began=now, used=now)
        while len(self._sessions) > _KEPT:
            self._sessions.popitem(last=False)
        return secret

    def find(self, secret: str, *, use: bool = True) -> Session | None:
        """The session that goes on; with ``use`` its idle time begins anew. None when it is over."""
        session, now = self._sessions.get(secret), self._clock()
        if session is None:
            return None
        if now - session.began >= self._longest_s or now - session.used >= self._idle_s:
            self.end(secret)
            return None
        if use:
            session.used = now
            self._sessions.move_to_end(secret)
        return session

    def end(self, secret: str) -> None:
        """Forget it."""
        self._sessions.pop(secret, None)
