"""Import a register of synthetic numbers and print bytes a number, numbers a second, and what screening feels of it.

    .venv/bin/python -m tests.bench.import_register [--numbers 10000000] [--us]

Dutch-like: six in ten are mobile numbers, spread evenly over 061 to 065; the others are geographic, in the quarter of
the blocks of 10,000 that we call given out. US-like (``--us --numbers 230000000``): six in ten numbers of each block of
10,000 that is given out, as ``area,number``. Yardsticks, in the same run: ``redis-cli --pipe`` of the same numbers
formatted as SADD commands, one a number and one a set of 10,000; one flat set of them, for the memory (measured on up
to a million); and a lookup of an idle Redis.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars
import redis

from agent.adapters import redis_keys
from agent.adapters.number_columns import normalise
from agent.adapters.redis_set_commands import set_commands
from agent.adapters.register_files import open_register_file
from agent.bootstrap import bootstrap, now_utc, register_loading
from agent.config import load_settings
from agent.domain.model import Blocked
from agent.domain.profile import NL_BMNR, Profile
from agent.entrypoints.cli import give_way
from agent.register_loading import ImportOptions
from deploy.lab.redis_server import PrivateRedis

REDIS_CONF: Final = Path(__file__).parents[2] / "deploy" / "redis.conf"
AREAS: Final = (10, 13, 15, 20, 23, 24, 26, 30, 33, 35, 36, 38, 40, 43, 45, 46, 50, 53, 55, 58, *range(70, 80))
FLAT_SAMPLE: Final = 1_000_000
YARDSTICK_SAMPLE: Final = 20_000_000
US: Final = replace(NL_BMNR, key="us-bench", region="US", load_valid_days=31, timezone="America/New_York")


def dutch_numbers(count: int, seed: int = 1) -> list[str]:
    """Distinct numbers in random order, as ``06…`` and ``0…``."""
    dice = random.Random(seed)
    mobile = count * 6 // 10
    numbers = [f"06{10_000_000 + number}" for number in dice.sample(range(50_000_000), mobile)]
    blocks = dice.sample(range(len(AREAS) * 1_000), len(AREAS) * 250)
    for place in dice.sample(range(len(blocks) * 10_000), count - mobile):
        area, block = divmod(blocks[place // 10_000], 1_000)
        numbers.append(f"0{AREAS[area]}{block:03d}{place % 10_000:04d}")
    dice.shuffle(numbers)
    return numbers


def write_american_numbers(count: int, path: Path, seed: int = 1) -> None:
    """``area,number`` in order, block after block of valid numbers."""
    dice = np.random.default_rng(seed)
    areas = normalise(polars.Series([f"{area}2345678" for area in range(200, 1000)]), US)
    exchanges = [(area // 10_000_000 - 1_000, number) for number in range(200, 1000) for area in areas.drop_nulls()]
    left = count
    with path.open("w") as file:
        for area, exchange in exchanges:
            if left <= 0:
                return
            taken = np.flatnonzero(dice.random(10_000) < 0.6)[:left]
            file.write("".join(f"{area},{exchange}{last:04d}\n" for last in taken.tolist()))
            left -= len(taken)
    raise ValueError(f"there are only {count - left:,} such numbers")


def measure(count: int, folder: Path, *, american: bool = False) -> Iterator[tuple[str, str]]:
    """Name and figure of each measurement."""
    path = folder / "register.txt"
    profile = US if american else NL_BMNR
    if american:
        write_american_numbers(count, path)
    else:
        path.write_text("\n".join(dutch_numbers(count)))
    (folder / "bmn.toml").touch()
    yield "numbers", f"{count:,}"
    with PrivateRedis(folder, REDIS_CONF) as server, redis.Redis.from_url(server.url) as client:
        empty = _used(client)
        idle = _lookups(server.url, 3.0 if count > 100_000 else 0.2)
        rate, steps, busy = _import(path, profile, server.url, folder)
        yield "import, validated, numbers/s", f"{count / rate:,.0f} ({rate:.1f} s)"
        yield "  minutes in all", f"{rate / 60:.2f}"
        yield "  of which reading and validating, s", f"{steps['reading']:.1f}"
        yield "  of which writing to Redis, s", f"{steps['loading'] - steps['reading']:.1f}"
        yield "memory of the import, peak MiB", f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f}"
        packed = (_used(client) - empty) / count
        yield "Redis, bytes/number", f"{packed:.2f}"
        yield "lookup p50 / p99 idle, us", f"{_at(idle, 50):.0f} / {_at(idle, 99):.0f}"
        yield "lookup p50 / p99 during the import, us", f"{_at(busy, 50):.0f} / {_at(busy, 99):.0f}"
        yield "  p99 of lookups during the import, ratio", f"{_at(busy, 99) / _at(idle, 99):.2f}"
        client.flushall()
        numbers = _column(path, profile)
        yardsticks = (("a number", _single_commands), ("a set", _set_commands))
        for name, commands in yardsticks if shutil.which("redis-cli") else ():
            sample = numbers[:YARDSTICK_SAMPLE]
            took = _pipe(folder, server.url, commands(sample))
            pace = len(sample) / took
            yield f"redis-cli --pipe, one SADD {name}, numbers/s", f"{pace:,.0f}"
            yield f"  import / redis-cli, one SADD {name}", f"{count / rate / pace:.2f}"
            client.flushall()
        flat = _flat_bytes(client, numbers)
        yield "Redis, bytes/number in one flat set", f"{flat:.1f}"
        yield "ratio packed / flat", f"{packed / flat:.3f}"


def _import(path: Path, profile: Profile, url: str, folder: Path) -> tuple[float, dict[str, float], list[float]]:
    """Seconds in all, when each step ended, and the lookups meanwhile in microseconds."""
    settings = load_settings({"BMN_CONFIG": str(folder / "bmn.toml"), "BMN_REDIS_URL": url})
    steps: dict[str, float] = {}
    results: Any = multiprocessing.get_context("spawn").Queue()
    stop: Any = multiprocessing.get_context("spawn").Event()
    screening = multiprocessing.get_context("spawn").Process(target=_look_up, args=(url, stop, results))
    screening.start()
    results.get()  # it has begun
    give_way()
    with bootstrap(settings) as app:
        began = time.monotonic()
        register_loading(app).import_files(
            profile,
            [open_register_file(path)],
            ImportOptions(as_of=profile.local_date(now_utc())),
            lambda step, done, total: steps.update({step: time.monotonic() - began}),
        )
        took = time.monotonic() - began
    stop.set()
    lookups = results.get()
    screening.join()
    return took, steps, [micros for at, micros in lookups if at >= began]


def _lookups(url: str, seconds: float) -> list[float]:
    """Lookups of an idle Redis, by a process of their own as later."""
    results: Any = multiprocessing.get_context("spawn").Queue()
    stop: Any = multiprocessing.get_context("spawn").Event()
    screening = multiprocessing.get_context("spawn").Process(target=_look_up, args=(url, stop, results))
    screening.start()
    results.get()
    time.sleep(seconds)
    stop.set()
    lookups = results.get()
    screening.join()
    return [micros for _, micros in lookups]


def _look_up(url: str, stop: Any, results: Any) -> None:
    """What screening asks, five hundred times a second: when it was asked, and the microseconds it took."""
    keys = [redis_keys.register_set(f"316{block}", "20260101T000000-0000", Blocked.ALL) for block in range(1000, 1012)]
    found: list[tuple[float, float]] = []
    with redis.Redis.from_url(url) as client:
        connection: Any = client.connection_pool.get_connection()
        command = connection.pack_commands([("SISMEMBER", key, 1) for key in keys])
        results.put(None)
        while not stop.is_set():
            began = time.monotonic()
            connection.send_packed_command(command)
            for _ in keys:
                connection.read_response()
            found.append((began, (time.monotonic() - began) * 1e6))
            time.sleep(0.002)
    results.put(found)


def _column(path: Path, profile: Profile) -> polars.Series:
    file = open_register_file(path)
    blocks = [polars.Series(block.added[Blocked.ALL]) for block in file.blocks(profile)]
    return polars.concat(blocks)


def _single_commands(numbers: polars.Series) -> Iterator[bytes]:
    """In the order of the file, as somebody would make them with a script."""
    for number in numbers:
        key = redis_keys.register_set(str(number // 10_000), "yardstick", Blocked.ALL).encode()
        member = b"%d" % (number % 10_000)
        yield b"*3\r\n$4\r\nSADD\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % (len(key), key, len(member), member)


def _set_commands(numbers: polars.Series) -> Iterator[bytes]:
    return (command for command, _ in set_commands("SADD", "yardstick", {Blocked.ALL: numbers.sort()}))


def _pipe(folder: Path, url: str, commands: Iterator[bytes]) -> float:
    """Seconds that redis-cli takes for commands that are in a file already."""
    path = folder / "commands"
    with path.open("wb") as file:
        file.writelines(commands)
    began = time.monotonic()
    with path.open("rb") as file:
        call = ["redis-cli", "-s", url.removeprefix("unix://"), "--pipe"]
        subprocess.run(call, stdin=file, stdout=subprocess.DEVNULL, check=True)
    took = time.monotonic() - began
    path.unlink()
    return took


def _flat_bytes(client: Any, numbers: polars.Series) -> float:
    empty, sample = _used(client), numbers[:FLAT_SAMPLE].to_list()
    for start in range(0, len(sample), 10_000):
        client.sadd("flat", *(f"+{number}" for number in sample[start : start + 10_000]))
    return (_used(client) - empty) / len(sample)


def _at(values: list[float], percent: int) -> float:
    return float(np.percentile(values, percent))


def _used(client: Any) -> int:
    return int(client.info("memory")["used_memory"])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--numbers", type=int, default=10_000_000, help="how many (default: %(default)s)")
    parser.add_argument("--us", action="store_true", help="US-like numbers; 230000000 is the size of that register")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bmn-bench-") as folder:
        for name, figure in measure(arguments.numbers, Path(folder), american=arguments.us):
            sys.stdout.write(f"{name:50} {figure}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
