"""Scrub a call file against a register of synthetic Dutch numbers, beside a DuckDB anti-join of the same two files.

    .venv/bin/python -m tests.bench.scrub [--numbers 10000000] [--rows 1000000]

One row in ten is of a registered number. The register is loaded beforehand, as at a site; DuckDB reads it from its
file, as it would have to. Ours normalises every number, asks all lists, writes both files and the certificate, with
fsync and journal; DuckDB compares the texts as they are and writes the rows that stay. Both must find the same rows.
"""

from __future__ import annotations

import argparse
import random
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import duckdb

from agent.adapters.call_file import open_call_file
from agent.adapters.call_file_layout import LayoutOptions
from agent.adapters.register_files import open_register_file
from agent.adapters.scrub_files import ScrubFiles
from agent.bootstrap import Application, bootstrap, register_loading, scrubbing
from agent.config import load_settings
from agent.domain.profile import NL_BMNR
from agent.register_loading import ImportOptions
from deploy.lab.redis_server import PrivateRedis
from tests.bench.import_register import REDIS_CONF, dutch_numbers
from tests.conftest import write_configuration

REGISTERED_SHARE = 0.1
TOWNS = ("Ede", "Urk", "Zwolle", "Groningen", "Bergen op Zoom", "Den Haag")


def write_files(folder: Path, numbers: int, rows: int, *, quoted: bool) -> None:
    """``register.txt``, and ``calls.csv`` with names, numbers and towns."""
    dice = random.Random(2)
    registered = round(rows * REGISTERED_SHARE)
    all_numbers = dutch_numbers(numbers + rows - registered)
    register, others = all_numbers[:numbers], all_numbers[numbers:]
    called = dice.sample(register, registered) + others
    dice.shuffle(called)
    (folder / "register.txt").write_text("\n".join(register) + "\n")
    quote = '"' if quoted else ""
    lines = (f"{place};{quote}Klant {place}{quote};{number};{TOWNS[place % 6]}" for place, number in enumerate(called))
    (folder / "calls.csv").write_text("id;name;phone;town\n" + "\n".join(lines) + "\n")


def scrub(app: Application, folder: Path) -> Any:
    """Ours; returns the certificate."""
    calls = open_call_file(folder / "calls.csv", LayoutOptions(), NL_BMNR)
    outputs = ScrubFiles(calls.path, folder / "ours.csv", folder / "removed.csv", folder / "cert.json", force=True)
    return scrubbing(app).scrub(app.campaigns["energy"], calls, outputs, lambda *_: None)


def anti_join(folder: Path) -> None:
    """DuckDB's, with a fresh database and all cores."""
    with duckdb.connect() as database:
        database.execute(
            f"""COPY (SELECT calls.* FROM read_csv('{folder}/calls.csv', all_varchar=true) calls
                ANTI JOIN read_csv('{folder}/register.txt', header=false, all_varchar=true, names=['number']) register
                ON calls.phone = register.number) TO '{folder}/duckdb.csv' (HEADER, DELIMITER ';')"""
        )


def measure(numbers: int, rows: int, folder: Path, *, quoted: bool = False, runs: int = 3) -> Iterator[tuple[str, str]]:
    """Name and figure of each measurement; the best of ``runs``, which take turns."""
    write_files(folder, numbers, rows, quoted=quoted)
    config = write_configuration(folder)
    with PrivateRedis(folder, REDIS_CONF) as server:
        settings = load_settings({"BMN_CONFIG": str(config), "BMN_REDIS_URL": server.url})
        with bootstrap(settings) as app:
            register = open_register_file(folder / "register.txt")
            register_loading(app).import_files(NL_BMNR, [register], ImportOptions(as_of=date.today()), lambda *_: None)
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            yield "rows, against numbers", f"{rows:,}, {numbers:,}"
            ours: list[float] = []
            theirs: list[float] = []
            for _ in range(runs):
                began = time.monotonic()
                certificate = scrub(app, folder)
                ours.append(time.monotonic() - began)
            after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            for _ in range(runs):
                began = time.monotonic()
                anti_join(folder)
                theirs.append(time.monotonic() - began)
    yield "rows removed", f"{certificate['removed']['rows']:,}"
    kept = [
        set(path.read_text().replace('"', "").splitlines()) for path in (folder / "ours.csv", folder / "duckdb.csv")
    ]
    yield "same rows as DuckDB", "yes" if kept[0] == kept[1] else "NO"
    yield "bmn scrub, s (each run)", f"{min(ours):.2f} ({', '.join(f'{took:.2f}' for took in ours)})"
    yield "DuckDB anti-join, s (each run)", f"{min(theirs):.2f} ({', '.join(f'{took:.2f}' for took in theirs)})"
    yield "ratio of the best", f"{min(ours) / min(theirs):.2f}"
    yield "peak MiB before and after the scrubs", f"{before / 1024:,.0f}, {after / 1024:,.0f}"


def _kept(path: Path) -> set[str]:
    """The rows, whether quoted or not."""
    return set(path.read_text().replace('"', "").splitlines())


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--numbers", type=int, default=10_000_000, help="in the register (default: %(default)s)")
    parser.add_argument("--rows", type=int, default=1_000_000, help="in the call file (default: %(default)s)")
    parser.add_argument("--quoted", action="store_true", help="names in quotation marks, which takes the longer way")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bmn-bench-") as folder:
        for name, figure in measure(arguments.numbers, arguments.rows, Path(folder), quoted=arguments.quoted):
            sys.stdout.write(f"{name:40} {figure}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
