"""Everything that a register of national size has to hold, measured one after the other, and one table at the end.

    .venv/bin/python -m tests.bench.national_scale [--quick]

Ten million Dutch-like and 230 million US-like numbers loaded, a call file of a million rows scrubbed, and calls
screened while loads come and go: a quarter of an hour on two cores. ``--quick`` shows on a thousandth of it that it
works; its figures mean nothing.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """What a figure should be."""

    measurement: str
    row: str
    most: float | None = None
    least: float | None = None

    def holds(self, value: float) -> bool:
        """Whether ``value`` is within it."""
        return (self.most is None or value <= self.most) and (self.least is None or value >= self.least)

    def __str__(self) -> str:
        return f"<= {self.most:g}" if self.most is not None else f">= {self.least:g}"


DUTCH, AMERICAN, SCRUB, LOADS, BIG_LOADS = "Dutch register", "US register", "scrub", "loads", "loads of 10 million"

COMMANDS: Final = {
    DUTCH: ("import_register", "--numbers", "10000000"),
    AMERICAN: ("import_register", "--us", "--numbers", "230000000"),
    SCRUB: ("scrub", "--numbers", "10000000", "--rows", "1000000"),
    LOADS: ("screening_beside_loads", "--numbers", "1000000", "--seconds", "60"),
    BIG_LOADS: ("screening_beside_loads", "--numbers", "10000000", "--seconds", "60"),
}
QUICK: Final = {
    DUTCH: ("import_register", "--numbers", "10000"),
    AMERICAN: ("import_register", "--us", "--numbers", "230000"),
    SCRUB: ("scrub", "--numbers", "10000", "--rows", "1000"),
    LOADS: ("screening_beside_loads", "--numbers", "1000", "--seconds", "4"),
    BIG_LOADS: ("screening_beside_loads", "--numbers", "10000", "--seconds", "4"),
}

AIMS: Final = (
    Aim(measurement=DUTCH, row="Redis, bytes/number", most=4),
    Aim(measurement=DUTCH, row="import / redis-cli, one SADD a number", least=0.5),
    Aim(measurement=DUTCH, row="p99 of lookups during the import, ratio", most=3),
    Aim(measurement=AMERICAN, row="Redis, bytes/number", most=3),
    Aim(measurement=SCRUB, row="ratio of the best", most=2),
    Aim(measurement=LOADS, row="wrong verdicts", most=0),
    Aim(measurement=LOADS, row="errors", most=0),
    Aim(measurement=LOADS, row="p99 of screening beside loads, ratio", most=3),
    Aim(measurement=BIG_LOADS, row="wrong verdicts", most=0),
    Aim(measurement=BIG_LOADS, row="errors", most=0),
    Aim(measurement=BIG_LOADS, row="p99 of screening beside loads, ratio", most=3),
)


def run(arguments: tuple[str, ...]) -> dict[str, str]:
    """Run one measurement, showing its table; its rows by name."""
    command = [sys.executable, "-m", f"tests.bench.{arguments[0]}", *arguments[1:]]
    rows = {}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            show("  " + line.rstrip())
            name, _, figure = line.strip().partition("   ")
            rows[name.strip()] = figure.strip()
    if process.returncode != 0:
        raise SystemExit(f"tests.bench.{arguments[0]} ended with {process.returncode}")
    return rows


def number(figure: str) -> float:
    """The first number in a figure."""
    found = re.search(r"[0-9][0-9,]*(?:\.[0-9]+)?", figure)
    assert found is not None, figure
    return float(found[0].replace(",", ""))


def show(line: str) -> None:
    """On standard output, at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    """Print all tables, and the one with the aims. Ends with 1 when one is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a thousandth of it")
    quick = parser.parse_args().quick
    rows = {}
    for name, arguments in (QUICK if quick else COMMANDS).items():
        show(f"{name}: {' '.join(arguments)}")
        rows[name] = run(arguments)
    show(f"\n{'':22}{'':44}{'aim':>10}{'seen':>10}")
    missed = 0
    for aim in AIMS:
        value = number(rows[aim.measurement][aim.row])
        missed += not aim.holds(value)
        word = "" if aim.holds(value) else "  missed"
        show(f"{aim.measurement:22}{aim.row:44}{aim!s:>10}{value:>10.2f}{word}")
    sys.exit(1 if missed and not quick else 0)


if __name__ == "__main__":
    main()
