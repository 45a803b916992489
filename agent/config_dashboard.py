"""The section ``[dashboard]`` of the configuration: where it listens, and who may sign in."""

from __future__ import annotations

import ipaddress
import re
from enum import StrEnum
from typing import Annotated, Any, Final, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

_HASH: Final = re.compile(r"\$argon2id\$v=\d+\$m=\d+,t=\d+,p=\d+\$[A-Za-z0-9+/]+\$[A-Za-z0-9+/]+")
_USER: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_ROOT: Final = re.compile(r"(/[A-Za-z0-9._~-]+)*")


class Role(StrEnum):
    """What a user of the dashboard may do."""

    VIEWER = "viewer"
    """Sees masked numbers."""
    COMPLIANCE = "compliance"
    """May ask for numbers in full and export evidence; each time is recorded first."""


def _listen_address(value: object) -> object:
    if not isinstance(value, str):
        return value
    host, _, port = value.rpartition(":")
    if not port.isdecimal() or not 0 <= int(port) <= 65535:
        raise ValueError("an address to listen on is HOST:PORT, like 127.0.0.1:8573")
    try:
        return (str(ipaddress.ip_address(host.strip("[]"))), int(port))
    except ValueError as error:
        raise ValueError("an address to listen on is HOST:PORT, like 127.0.0.1:8573, HOST a numeric address") from error


def _proxy(value: str) -> str:
    try:
        return str(ipaddress.ip_network(value, strict=False))
    except ValueError as error:
        raise ValueError("a proxy is an address or a network, like 127.0.0.1 or 10.1.2.0/24") from error


def _password_hash(value: str) -> str:
    if not _HASH.fullmatch(value):
        raise ValueError("is not an argon2id hash: make one with bmn dashboard hash-password")
    return value


def _root_path(value: str) -> str:
    if not _ROOT.fullmatch(value):
        raise ValueError("a root path is empty or begins with / and does not end with it, like /bmn")
    return value


def _comma_list(value: object) -> object:
    return [item.strip() for item in value.split(",") if item.strip()] if isinstance(value, str) else value


Minutes = Annotated[float, Field(gt=0, le=1_440)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class UserSettings(_Section):
    """``[dashboard.users.NAME]``."""

    password_hash: Annotated[str, AfterValidator(_password_hash)]
    role: Role = Role.VIEWER


class DashboardSettings(_Section):
    """``[dashboard]``."""

    listen: Annotated[tuple[str, int], BeforeValidator(_listen_address)] = ("127.0.0.1", 8573)
    behind_proxy: bool = False
    """That a proxy with HTTPS stands before it. Cookies are for HTTPS only then, and the proxy's word is taken for
    who asks."""
    trusted_proxies: Annotated[tuple[Annotated[str, AfterValidator(_proxy)], ...], BeforeValidator(_comma_list)] = (
        "127.0.0.1/32",
        "::1/128",
    )
    """Whose ``X-Forwarded-For`` and ``X-Forwarded-Proto`` are believed."""
    root_path: Annotated[str, AfterValidator(_root_path)] = ""
    """The path under which the proxy shows it, which the proxy takes off again."""
    session_minutes: Minutes = 480.0
    """How long one sign-in lasts, whatever happens."""
    idle_minutes: Minutes = 30.0
    """How long a session lasts without use. An open live view is use, for a viewer."""
    users: dict[str, UserSettings] = {}

    @model_validator(mode="after")
    def _is_sound(self) -> Self:
        problems = [
            f"user {name!r}: a name is 1 to 64 of a-z 0-9 . _ -, starting with a letter or digit"
            for name in self.users
            if not _USER.fullmatch(name)
        ]
        host: Any = ipaddress.ip_address(self.listen[0])
        if not host.is_loopback and not self.behind_proxy:
            problems.append(
                f"the dashboard speaks plain HTTP, so it does not listen on {host}: keep it on 127.0.0.1, or put a "
                "proxy with HTTPS before it and say behind_proxy = true"
            )
        if problems:
            raise ValueError("\n".join(problems))
        return self
