"""``bmn dashboard``."""

from __future__ import annotations

import sys
from typing import Final

import click

from agent import logs
from agent.bootstrap import bootstrap
from agent.domain.errors import InputRejected
from agent.entrypoints.cli import context

_SHORTEST: Final = 12


@click.group(invoke_without_command=True)
@click.option("--listen", metavar="HOST:PORT", help="Overrides dashboard.listen of the configuration.")
@click.pass_context
def dashboard(ctx: click.Context, listen: str | None) -> None:
    """Show calls, the register and the evidence in a browser, until SIGTERM or Ctrl-C.

    \b
    bmn dashboard hash-password             asks for a password, and prints what the configuration wants:
        [dashboard.users.anna]
        password_hash = "$argon2id$..."
        role = "compliance"                 or "viewer", who never sees a number in full
    bmn dashboard                           then open http://127.0.0.1:8573

    A viewer watches calls, searches, and sees charts, agents, register and registrations, all with masked numbers.
    Compliance may also ask for numbers in full and export evidence; the journal records each time who did.

    It is a process of its own beside bmn serve, and reads the same journal. It speaks plain HTTP, so it listens on
    this machine alone; for others put a proxy with HTTPS before it (dashboard.behind_proxy). Exit code 5 when it ended
    itself because the journal at its path is another one than it has open: start it again.
    """
    if ctx.invoked_subcommand is not None:
        return
    config = context.settings(**({"BMN_DASHBOARD__LISTEN": listen} if listen else {}))
    logs.configure(config.logs.level)
    from agent.entrypoints.dashboard.server import serve

    with bootstrap(config, create_journal=False) as app:
        context.warn_of_exposed_key(config)
        code = serve(app)
    sys.exit(code)


@dashboard.command("hash-password", short_help="Print the hash of a password, for the configuration.")
def hash_password() -> None:
    """Ask for a password (or read one line from stdin) and print its argon2 hash.

    The password itself is nowhere kept.
    """
    from agent.entrypoints.dashboard.accounts import LONGEST_PASSWORD
    from agent.entrypoints.dashboard.accounts import hash_password as hashed

    if sys.stdin.isatty():
        password = str(click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    if not _SHORTEST <= len(password) <= LONGEST_PASSWORD:
        raise InputRejected(f"a password has {_SHORTEST} to {LONGEST_PASSWORD:,} characters")
    click.echo(hashed(password))
