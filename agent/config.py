"""Settings: one TOML file, each value overridable from the environment, all mistakes reported at once.

The file is ``BMN_CONFIG`` or ``./bmn.toml``. ``BMN_<SECTION>__<KEY>`` overrides one value; ``BMN_REDIS_URL``,
``BMN_JOURNAL`` and ``BMN_AGI_LISTEN`` are short names for the three that containers set most.
"""

from __future__ import annotations

import ipaddress
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from agent.config_dashboard import DashboardSettings
from agent.config_sellers import (
    CampaignSettings,
    ProfileKey,
    SellerSettings,
    assigned_keys,
    campaigns_of,
    problems_of,
    sellers_of,
)
from agent.domain.errors import ConfigurationError
from agent.domain.model import Campaign, Seller
from agent.domain.profile import NL_BMNR
from agent.domain.retention import Kind
from agent.domain.wording import counted

DEFAULT_FILE: Final = "bmn.toml"
BUILT_SOUNDS: Final = Path(__file__).resolve().parent.parent / "dialplan" / "sounds" / "audio"
"""Where the prompts are built in a checkout."""
SHORT_NAMES: Final[Mapping[str, tuple[str, str]]] = {
    "BMN_REDIS_URL": ("redis", "url"),
    "BMN_JOURNAL": ("journal", "path"),
    "BMN_AGI_LISTEN": ("agi", "listen"),
}

_SECRETS: Final = (("redis", "url"), ("dashboard", "users"))
"""Settings that may hold a password, and so are never shown."""
_PREFIX: Final = re.compile(r"[0-9*#X]{1,8}")


def _pbx_prefix(value: str) -> str:
    if not _PREFIX.fullmatch(value):
        raise ValueError("a prefix is 1 to 8 of the characters 0-9 * # and X (any digit)")
    return value


def _listen_address(value: object) -> object:
    if not isinstance(value, str):
        return value
    host, _, port = value.rpartition(":")
    if not host or not port.isdecimal() or not 0 <= int(port) <= 65535:
        raise ValueError("an address to listen on is HOST:PORT, like 127.0.0.1:4573")
    return (host.strip("[]"), int(port))


def _optional_address(value: object) -> object:
    return None if value == "" else _listen_address(value)


def _redis_url(value: str) -> str:
    if not value.startswith(("redis://", "rediss://", "unix://")):
        raise ValueError("the address of Redis begins with redis://, rediss:// or unix://")
    return value


def _private_network(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        network = ipaddress.ip_network(value, strict=False)
    except ValueError as error:
        raise ValueError("a peer is an address or a network, like 127.0.0.0/8 or 10.1.2.3") from error
    if not network.is_private:
        raise ValueError("AGI has no passwords: only loopback and private networks may be allowed")
    return network


def _comma_list(value: object) -> object:
    return [item.strip() for item in value.split(",") if item.strip()] if isinstance(value, str) else value


Address = Annotated[tuple[str, int], BeforeValidator(_listen_address)]
Milliseconds = Annotated[int, Field(ge=1, le=60_000)]
Days = Annotated[int, Field(ge=30, le=36_525)]
LongDays = Annotated[int, Field(ge=366, le=36_525)]
"""More than a year: no copy of Redis that somebody restores is older, and still holds what ended since."""
Network = Annotated[Any, BeforeValidator(_private_network)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RedisSettings(_Section):
    """``[redis]``: where the lists are."""

    url: Annotated[str, AfterValidator(_redis_url)] = "redis://127.0.0.1:6379/0"
    connect_timeout_ms: Milliseconds = 100
    lookup_timeout_ms: Milliseconds = 300
    """How long one screening waits for the lists."""
    command_timeout_ms: Milliseconds = 5_000
    """For everything off the dial path."""


class JournalSettings(_Section):
    """``[journal]``: where the evidence is. A relative path is taken from the configuration file's folder."""

    path: Path = Path("journal.db")
    key_file: Path | None = None
    """Default: the journal's path with ``.key`` added. Better kept elsewhere."""

    @property
    def key_path(self) -> Path:
        """Where the key is."""
        return self.key_file or self.path.with_name(self.path.name + ".key")


class AgiSettings(_Section):
    """``[agi]``: the FastAGI service."""

    listen: Address = ("127.0.0.1", 4573)
    workers: Annotated[int, Field(ge=1, le=256)] = 8
    allowed_peers: Annotated[tuple[Network, ...], BeforeValidator(_comma_list)] = (
        ipaddress.ip_network("127.0.0.0/8"),
        ipaddress.ip_network("::1/128"),
    )
    """AGI knows no passwords: whoever may connect may ask. Loopback, or a private network only."""
    read_timeout_ms: Milliseconds = 1_000
    deadline_ms: Milliseconds = 1_000
    """From the arrival of a request to its answer. Keep it well below the dialplan's BMN_SCREEN_TIMEOUT."""
    classic_deadline_ms: Milliseconds = 2_000
    """The same of a classic AGI script, from the start of its process, which alone takes some tenths of a second."""
    shutdown_grace_ms: Milliseconds = 10_000
    handover_minutes: Annotated[float, Field(ge=0, le=1440)] = 15.0
    """How long the dialogues of a service may go on that has a successor already."""
    packet_ms: Annotated[int, Field(ge=10, le=200)] = 20
    """How much sound one RTP packet to the consumer carries: more where the trunk has ``allow=alaw:40`` or use_ptime.

    With less than it really is, a notice that was sent whole is recorded as ``unsent``.
    """


class DiallingSettings(_Section):
    """``[dialling]``: how numbers are dialled at this site."""

    pbx_prefixes: Annotated[tuple[Annotated[str, AfterValidator(_pbx_prefix)], ...], BeforeValidator(_comma_list)] = ()
    """Taken off before a number is read: outside line ``0``, ``*31*``, ``#31#``, ``16XX``. ``X`` is any digit."""
    profile: ProfileKey = NL_BMNR.key
    """The profile that reads numbers of calls whose campaign is unknown, and of commands without one."""


class RegisterSettings(_Section):
    """``[register]``: loads of the register."""

    keep_generations: Annotated[int, Field(ge=2, le=20)] = 2
    grace_minutes: Annotated[float, Field(ge=0, le=10_080)] = 5.0
    """How long a load is kept at least after another one took its place."""
    max_shrink_percent: Annotated[float, Field(ge=0, le=100)] = 10.0
    max_rejected_percent: Annotated[float, Field(ge=0, le=100)] = 0.1
    """How many lines of a load may be wrong, and are left out."""


class RegistrationsSettings(_Section):
    """``[registrations]``: the outbox to the registrar."""

    settle_minutes: Annotated[float, Field(ge=0, le=1440)] = 15.0
    """How long a call must have been silent before its registration is handed over."""


class RetentionSettings(_Section):
    """``[retention]``: for how many days records are kept. ``agent.domain.retention`` says which are of which kind.

    Five years, as long as an offence may be fined (Awb art. 5:45). What is in force is kept as long as it is.
    """

    calls_days: LongDays = 1826
    choices_days: LongDays = 1826
    lists_days: LongDays = 1826
    access_days: Days = 1826
    operations_days: Days = 731

    @model_validator(mode="after")
    def _reasons_outlive_calls(self) -> Self:
        short = [name for name in ("choices_days", "lists_days") if getattr(self, name) < self.calls_days]
        if short:
            names = " and ".join(short)
            raise ValueError(
                f"{names} must not be less than calls_days: a verdict is explained by what was in force then"
            )
        return self

    @property
    def days(self) -> dict[Kind, int]:
        """By kind."""
        return {kind: int(getattr(self, f"{kind}_days")) for kind in Kind}


class SoundsSettings(_Section):
    """``[sounds]``: the prompts. A relative path is taken from the configuration file's folder."""

    path: Path | None = None
    """The folder with one folder per language, each with ``bmn/``. Default: where this checkout builds them."""

    @property
    def folder(self) -> Path:
        """Where the prompts are."""
        return self.path or BUILT_SOUNDS


class LogSettings(_Section):
    """``[logs]``."""

    level: Annotated[str, StringConstraints(pattern="^(debug|info|warning|error)$")] = "info"


class MetricsSettings(_Section):
    """``[metrics]``: what the service counts, for Prometheus."""

    listen: Annotated[tuple[str, int] | None, BeforeValidator(_optional_address)] = ("127.0.0.1", 9573)
    """Empty: not at all."""


class Settings(_Section):
    """Everything that can be configured."""

    redis: RedisSettings = RedisSettings()
    journal: JournalSettings = JournalSettings()
    agi: AgiSettings = AgiSettings()
    dialling: DiallingSettings = DiallingSettings()
    register_: RegisterSettings = Field(default=RegisterSettings(), alias="register")
    registrations: RegistrationsSettings = RegistrationsSettings()
    retention: RetentionSettings = RetentionSettings()
    sounds: SoundsSettings = SoundsSettings()
    logs: LogSettings = LogSettings()
    metrics: MetricsSettings = MetricsSettings()
    dashboard: DashboardSettings = DashboardSettings()
    sellers: dict[str, SellerSettings] = {}
    campaigns: dict[str, CampaignSettings] = {}

    @model_validator(mode="after")
    def _names_are_sound(self) -> Self:
        if problems := list(problems_of(self.sellers, self.campaigns)):
            raise ValueError("\n".join(problems))
        return self

    def domain_sellers(self) -> dict[str, Seller]:
        """The sellers by key, and once more by each former key."""
        return sellers_of(self.sellers)

    def assigned_sellers(self) -> frozenset[str]:
        """Keys of which it is known who they are: those of sellers that a campaign names, and of retired ones."""
        return assigned_keys(self.sellers, self.campaigns)

    def domain_campaigns(self) -> dict[str, Campaign]:
        """The campaigns as the rules want them."""
        return campaigns_of(self.sellers, self.campaigns)


def load_settings(environment: Mapping[str, str]) -> Settings:
    """Read the file and the environment. Raises ``ConfigurationError`` with every mistake in it."""
    named = environment.get("BMN_CONFIG")
    path = Path(named or DEFAULT_FILE)
    values: dict[str, Any] = {}
    if named or path.exists():
        values = _read(path)
    elif "BMN_JOURNAL" not in environment:
        raise ConfigurationError(f"there is no {DEFAULT_FILE} here: go to its folder, or name it with BMN_CONFIG")
    problems = _override(values, environment)
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        problems += [line for item in error.errors() for line in _in_words(item)]
    if problems:
        raise ConfigurationError(f"the configuration ({path}) has {counted(len(problems), 'mistake')}", tuple(problems))
    return _with_paths_from(settings, path.parent, environment)


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigurationError(f"there is no configuration file {path} (BMN_CONFIG names it)") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError(f"the configuration file {path} cannot be read: {error}") from error


def _override(values: dict[str, Any], environment: Mapping[str, str]) -> list[str]:
    problems = []
    for name, value in sorted(environment.items()):
        if name in SHORT_NAMES:
            path: tuple[str, ...] = SHORT_NAMES[name]
        elif name.startswith("BMN_") and "__" in name:
            path = tuple(part.lower() for part in name.removeprefix("BMN_").split("__"))
        else:
            continue
        table: Any = values
        for part in path[:-1]:
            table = table.setdefault(part, {})
            if not isinstance(table, dict):
                problems.append(f"{name}: {part} is not a section")
                break
        else:
            table[path[-1]] = value
    return problems


def _in_words(item: Any) -> list[str]:
    where = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        return [f"{where}: there is no such setting"]
    if item["type"] == "missing":
        return [f"{where}: is missing"]
    message = item["msg"].removeprefix("Value error, ")
    shown = item["loc"] and item["loc"][:2] not in _SECRETS and not isinstance(item["input"], dict)
    got = f" (it is {item['input']!r})" if shown else ""
    return [f"{where}: {line}{got}" if where else line for line in message.split("\n")]


def _with_paths_from(settings: Settings, folder: Path, environment: Mapping[str, str]) -> Settings:
    """Paths from the file are relative to the file; a path from the environment is relative to where one is."""
    journal = settings.journal
    from_file = "BMN_JOURNAL" not in environment and "BMN_JOURNAL__PATH" not in environment
    path = folder / journal.path if from_file else journal.path
    key = journal.key_file
    if key is not None and "BMN_JOURNAL__KEY_FILE" not in environment:
        key = folder / key
    sounds = settings.sounds
    if sounds.path is not None and "BMN_SOUNDS__PATH" not in environment:
        sounds = SoundsSettings(path=folder / sounds.path)
    return settings.model_copy(update={"journal": JournalSettings(path=path, key_file=key), "sounds": sounds})
