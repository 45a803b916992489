"""What most commands begin with: the settings, the wired application, and arguments that are numbers or names."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from agent.adapters.journal_key import exposed_key
from agent.config import Settings, load_settings
from agent.domain.errors import InputRejected
from agent.domain.phone_number import Dialled, PhoneNumber, UnusableNumber, read_dialled, read_recorded
from agent.domain.profile import PROFILES, Profile
from agent.entrypoints.cli import output

if TYPE_CHECKING:
    from agent.bootstrap import Application


def settings(**overrides: str) -> Settings:
    """The configuration of this process; ``overrides`` count like variables of the environment."""
    return load_settings({**os.environ, **overrides})


def application() -> Application:
    """The wired application, with its log on stderr; use it as a context manager."""
    from agent import logs
    from agent.bootstrap import bootstrap  # takes longer to load than a command that only reads the journal has

    config = settings()
    logs.configure(config.logs.level)
    app = bootstrap(config, output.say_update)
    warn_of_exposed_key(config)
    return app


def warn_of_exposed_key(config: Settings) -> None:
    """Say on stderr when others can read the journal's key."""
    if exposed := exposed_key(config.journal.key_path):
        click.echo(f"bmn: warning: {exposed}", err=True)


def profile_option(command: Any) -> Any:
    """Add ``--profile``."""
    return click.option(
        "--profile",
        "profile_key",
        type=click.Choice(sorted(PROFILES)),
        help="Which register; default: dialling.profile of the configuration.",
    )(command)


def chosen_profile(config: Settings, key: str | None) -> Profile:
    """The profile that was asked for, or the configured one."""
    return PROFILES[key or config.dialling.profile]


class Text(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.4 on, not before
    """Something that becomes evidence: not empty, not endless, nothing that a terminal would obey."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return it without spaces around it."""
        text = str(value).strip()
        if not text or len(text) > 500 or not text.isprintable():
            self.fail("give 1 to 500 printable characters", param, ctx)
        return text


def seller_option(command: Any) -> Any:
    """Add ``--seller``."""
    return click.option(
        "--seller", required=True, help="The seller's key in the configuration, or one that it had before."
    )(command)


def seller_key(config: Settings, name: str) -> str:
    """The key of the seller that is called ``name`` now, or was once.

    Refuses one that is not configured: a misspelt name would protect nobody.
    """
    seller = config.domain_sellers().get(name)
    if seller is None:
        known = ", ".join(sorted(config.sellers)) or "none is configured"
        raise click.UsageError(f"there is no seller {name!r} (known: {known})")
    return seller.key


def consumer_number(config: Settings, text: str) -> PhoneNumber:
    """A number given as an argument."""
    return _usable(text, read_dialled(text, PROFILES[config.dialling.profile], config.dialling.pbx_prefixes))


def recorded_number(config: Settings, text: str) -> PhoneNumber:
    """A number given as an argument, to find what is on record: one that is not valid any more, too, if it is there."""

    def on_record(number: PhoneNumber) -> bool:
        from agent.adapters.journal_views import is_on_record
        from agent.adapters.sqlite_journal import SqliteJournal  # seldom needed, and slow to load

        with SqliteJournal(config.journal.path, config.journal.key_path, create=False, progress=None) as journal:
            return is_on_record(journal, number)

    profile, prefixes = PROFILES[config.dialling.profile], config.dialling.pbx_prefixes
    return _usable(text, read_recorded(text, profile, prefixes, on_record))


def _usable(text: str, number: Dialled) -> PhoneNumber:
    if isinstance(number, PhoneNumber):
        return number
    foreign = isinstance(number, UnusableNumber) and number.foreign
    why = "is of a country that the profile has no register for" if foreign else "is not a valid complete number"
    raise InputRejected(f"{text!r} {why}")
