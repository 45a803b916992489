"""Import a register of synthetic Dutch numbers and print bytes a number, and numbers a second.

    .venv/bin/python -m tests.bench.import_register [--numbers 10000000]

Dutch-like: six in ten are mobile numbers, spread evenly over 061 to 065; the others are geographic, in the quarter of
the blocks of 10,000 that we call given out. The yardstick for memory is one flat set of the same numbers (measured on
up to a million of them).
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

import redis

from agent.adapters.register_files import open_register_file
from agent.bootstrap import bootstrap
from agent.config import load_settings
from agent.domain.profile import NL_BMNR
from agent.registers import ImportOptions
from deploy.lab.redis_server import PrivateRedis

REDIS_CONF = Path(__file__).parents[2] / "deploy" / "redis.conf"
AREAS = (10, 13, 15, 20, 23, 24, 26, 30, 33, 35, 36, 38, 40, 43, 45, 46, 50, 53, 55, 58, *range(70, 80))
FLAT_SAMPLE = 1_000_000


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


def measure(count: int, folder: Path) -> Iterator[tuple[str, str]]:
    """Name and figure of each measurement."""
    numbers = dutch_numbers(count)
    path = folder / "register.txt"
    path.write_text("\n".join(numbers))
    (folder / "bmn.toml").touch()
    with PrivateRedis(folder, REDIS_CONF) as server, redis.Redis.from_url(server.url) as client:
        yield "numbers", f"{count:,}"
        empty = _used(client)
        settings = load_settings({"BMN_CONFIG": str(folder / "bmn.toml"), "BMN_REDIS_URL": server.url})
        steps: dict[str, float] = {}
        with bootstrap(settings) as app:
            began = time.monotonic()
            app.registers.import_files(
                NL_BMNR,
                [open_register_file(path)],
                ImportOptions(as_of=date.today()),
                lambda step, done, total: steps.update({step: time.monotonic() - began}),
            )
            took = time.monotonic() - began
        packed = (_used(client) - empty) / count
        yield "import, validated, numbers/s", f"{count / took:,.0f} ({took:.1f} s)"
        yield "  of which reading and validating, s", f"{steps['reading']:.1f}"
        yield "  of which writing to Redis, s", f"{steps['loading'] - steps['reading']:.1f}"
        yield "memory of the import, peak MiB", f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f}"
        yield "Redis, bytes/number", f"{packed:.2f}"
        client.flushall()
        empty = _used(client)
        sample = numbers[:FLAT_SAMPLE]
        for start in range(0, len(sample), 10_000):
            client.sadd("flat", *("+31" + number[1:] for number in sample[start : start + 10_000]))
        flat = (_used(client) - empty) / len(sample)
        yield "Redis, bytes/number in one flat set", f"{flat:.1f}"
        yield "ratio packed / flat", f"{packed / flat:.3f}"


def _used(client: Any) -> int:
    return int(client.info("memory")["used_memory"])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--numbers", type=int, default=10_000_000, help="how many (default: %(default)s)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bmn-bench-") as folder:
        for name, figure in measure(arguments.numbers, Path(folder)):
            sys.stdout.write(f"{name:40} {figure}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
