"""How commands print: tables for people, JSON for scripts, progress where somebody watches."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from typing import Any, Final

import click

from agent.domain.ports import Progress

_LINE_EVERY_S: Final = 10.0


def json_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")(command)


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    click.echo(json.dumps(value, ensure_ascii=False, indent=2, default=_plain))


def print_json_line(value: Any) -> None:
    """One JSON document on one line, written out at once so that a reader of a pipe sees it."""
    click.echo(json.dumps(value, ensure_ascii=False, default=_plain))


def print_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A plain table; what is too wide for the terminal is folded, never cut."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*(printable(cell) for cell in row))
    terminal = sys.stdout.isatty()
    Console(width=None if terminal else 10_000, highlight=False, soft_wrap=True).print(table)


def local_time(moment: datetime) -> str:
    """A time for people: local, to the second, with its zone."""
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")


def coloured() -> bool:
    """Whether what is printed may have colours: on a terminal, unless NO_COLOR is set (no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """A bar on stderr for each step of a long piece of work; a line now and then when stderr is no terminal."""
    if not sys.stderr.isatty():
        yield _Lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description:>10}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bars:
        tasks: dict[str, TaskID] = {}

        def show(step: str, done: int, total: int | None) -> None:
            if step not in tasks:
                tasks[step] = bars.add_task(step, total=total)
            bars.update(tasks[step], completed=done, total=total)

        yield show


def say_update(step: str, done: int, total: int | None) -> None:
    """Progress of what nobody asked for and happens once, on stderr: the journal is brought up to date."""
    click.echo(f"bmn: {step}, once: {done} of {total}", err=True)


class _Lines:
    """Progress as a line every ten seconds."""

    def __init__(self) -> None:
        self._next = time.monotonic() + _LINE_EVERY_S

    def __call__(self, step: str, done: int, total: int | None) -> None:
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _LINE_EVERY_S
        share = f"{100 * done // total} %" if total else f"{done:,}"
        click.echo(f"{step}: {share}", err=True)


def printable(text: str) -> str:
    """Text that may come from outside, safe to show on a terminal."""
    return "".join(char if char.isprintable() else "?" for char in text)


def _plain(value: object) -> object:
    match value:
        case datetime() | date():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case _:
            return str(value)
