"""Who may sign in: names, roles and argon2 hashes from the configuration."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from argon2 import PasswordHasher, extract_parameters
from argon2.exceptions import InvalidHashError, VerificationError

from agent.config_dashboard import Role, UserSettings

LONGEST_PASSWORD: Final = 1_000
"""Characters; more is no password but a load."""


def hash_password(password: str) -> str:
    """What ``password_hash`` of the configuration wants."""
    return PasswordHasher().hash(password)


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """Somebody who gave the right password."""

    name: str
    role: Role

    @property
    def by(self) -> str:
        """As ``by`` of a journal record: never to be taken for a system user."""
        return f"dashboard:{self.name}"


class Accounts:
    """Checks passwords. A name that does not exist takes as much work as a wrong password."""

    def __init__(self, users: Mapping[str, UserSettings]) -> None:
        self._users = dict(users)
        hashes = [user.password_hash for user in users.values()]
        hasher = PasswordHasher.from_parameters(extract_parameters(hashes[0])) if hashes else PasswordHasher()
        self._nobody = hasher.hash(secrets.token_urlsafe())

    def knows(self, name: str) -> bool:
        """Whether a user has that name. For logs: whoever signs in is not told."""
        return name in self._users

    def check(self, name: str, password: str) -> User | None:
        """The user, when name and password are right. Takes tens of milliseconds of a processor."""
        user = self._users.get(name)
        expected = self._nobody if user is None else user.password_hash
        right = _verified(expected, password[: LONGEST_PASSWORD + 1])
        return User(name=name, role=user.role) if right and user is not None else None


def _verified(expected: str, password: str) -> bool:
    try:
        return PasswordHasher().verify(expected, password)
    except (VerificationError, InvalidHashError):
        return False
