"""The command ``bmn``. Each command parses, calls one use case, and shows what it says."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from importlib import import_module
from typing import Final

import click

from agent.domain.errors import BmnError, ConfigurationError, InputRejected

EXIT_CODES: Final = {
    0: "done",
    1: "the answer is no: blocked, broken chain, stale or no register, nothing to remove, a problem found",
    2: "wrong usage or configuration",
    3: "a needed service is unavailable",
    4: "the input was rejected and nothing was changed",
    5: "the service ended itself: start it again",
    130: "interrupted",
}

_COMMANDS: Final = {
    "agi": ("agent.entrypoints.cli.agi", "agi", "Answer one AGI script on stdin and stdout."),
    "customer": ("agent.entrypoints.cli.customer", "customer", "A seller's own customers, with the sale as evidence."),
    "dashboard": ("agent.entrypoints.cli.dashboard", "dashboard", "Show calls, register and evidence in a browser."),
    "doctor": ("agent.entrypoints.cli.doctor", "doctor", "Check this site, and say what to do."),
    "evidence": (
        "agent.entrypoints.cli.evidence",
        "evidence",
        "Everything on one number in one document, with its proof.",
    ),
    "explain": ("agent.entrypoints.cli.explain", "explain", "Tell why a number may be dialled or not."),
    "journal": (
        "agent.entrypoints.cli.journal",
        "journal",
        "Check the evidence, and let go what is past its retention.",
    ),
    "log": ("agent.entrypoints.cli.log", "log", "Show screened calls: what was blocked, what was dialled, and why."),
    "optout": ("agent.entrypoints.cli.optout", "optout", "Consumers who object to one seller."),
    "rebuild": ("agent.entrypoints.cli.rebuild", "rebuild", "Fill Redis again from the journal and the register file."),
    "register": ("agent.entrypoints.cli.register", "register", "Load the do-not-call register, or roll a load back."),
    "registrations": (
        "agent.entrypoints.cli.registrations",
        "registrations",
        "Consumers who asked to be entered in the register.",
    ),
    "screen": ("agent.entrypoints.cli.screen", "screen", "Decide now whether a number may be dialled."),
    "scrub": ("agent.entrypoints.cli.scrub", "scrub", "Take out of a call file who may not be called."),
    "serve": ("agent.entrypoints.cli.serve", "serve", "Run the FastAGI service that Asterisk asks."),
}


_CAN_WAIT: Final = frozenset({"evidence", "journal", "rebuild", "register", "scrub"})
"""Commands that may work for long; a call cannot wait."""


def give_way() -> None:
    """Let whoever answers calls go first, from before the libraries are loaded."""
    with contextlib.suppress(OSError):
        os.nice(10)


def outlive_hangup() -> None:
    """Let no hang-up end this process: Asterisk sends SIGHUP to a script also when its session is over.

    What was reported to it must reach the disk all the same. From before the libraries are loaded.
    """
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


class _LazyGroup(click.Group):
    """Imports a command when it is used: a classic AGI script must not wait for the parts of the others."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        if cmd_name in _CAN_WAIT:
            give_way()
        if cmd_name == "agi":
            outlive_hangup()
        module, attribute, _ = _COMMANDS[cmd_name]
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, _, summary) in sorted(_COMMANDS.items())])


@click.command(
    cls=_LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="\b\nExit codes:\n" + "\n".join(f"  {code}  {meaning}" for code, meaning in EXIT_CODES.items()),
)
@click.version_option(package_name="bel-me-niet-agent")
def bmn() -> None:
    """Screens outbound calls against the do-not-call register, and keeps the evidence.

    The configuration is ./bmn.toml, or the file that BMN_CONFIG names; BMN_SECTION__KEY in the environment overrides
    one value of it.

    \b
    First steps:
      bmn register import numbers.csv --as-of 2026-11-01
      bmn screen 0612345678 --campaign energy-autumn
      bmn serve
    """


def main() -> None:
    """Run the command and leave with its exit code."""
    _fill_standard_streams()
    try:
        code = bmn.main(standalone_mode=False)
    except (click.exceptions.Abort, KeyboardInterrupt):
        click.echo("bmn: interrupted", err=True)
        code = 130
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except InputRejected as error:
        _complain(error, error.problems, error.total)
        code = 4
    except ConfigurationError as error:
        _complain(error, error.problems, len(error.problems))
        code = 2
    except BmnError as error:
        _complain(error, (), 0)
        code = 3
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else the flush at the end complains again
        code = 0
    except OSError as error:
        click.echo(f"bmn: {error.strerror or error}", err=True)
        code = 3
    sys.exit(code)


def _fill_standard_streams() -> None:
    """Have nothing read or printed where a standard stream was closed before this process started.

    Else there would be no such stream, and the next file or socket of ours would take its number.
    """
    if None in (sys.stdin, sys.stdout, sys.stderr):
        while (number := os.open(os.devnull, os.O_RDWR)) < 3:  # the lowest that is free
            os.set_inheritable(number, True)
        os.close(number)
        sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115  # descriptors, for good
        sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
        sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115


def _complain(error: BmnError, problems: tuple[str, ...], total: int) -> None:
    notes = tuple(getattr(error, "__notes__", ()))
    if "--json" in sys.argv:
        report = {"error": str(error), "problems": problems, "problems_total": total, "notes": notes}
        click.echo(json.dumps(report, ensure_ascii=False))
    click.echo(f"bmn: {error}", err=True)
    for problem in problems:
        click.echo(f"  {problem}", err=True)
    if total > len(problems):
        click.echo(f"  … and {total - len(problems):,} more", err=True)
    for note in notes:
        click.echo(f"  {note}", err=True)
