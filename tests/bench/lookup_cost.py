"""What does a lookup cost, on our side and on that of Redis?

    .venv/bin/python -m tests.bench.lookup_cost [--lookups 300] [--rounds 30]

Lookups of numbers of a register in force, one after the other on one connection, in turns with a yardstick on the same
Redis: the ten bare questions that a lookup would be without sizes, rosters and policy, put together by redis-py. The
medians of the rounds and their ratio are the figures: microseconds on the wall, of this process, and of Redis.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import redis

from agent.adapters import redis_keys
from agent.adapters.redis_lists import list_names, relevant_lists
from agent.bootstrap import Application
from agent.domain.deadline import Deadline
from agent.domain.model import Campaign
from agent.domain.phone_number import PhoneNumber
from deploy.lab.redis_server import PrivateRedis
from tests.bench.import_register import dutch_numbers
from tests.conftest import REDIS_CONF, load_register, wired

_NUMBERS = 20_000
_OPTOUTS = 300
_KINDS = ("wall", "this process", "Redis")


def measure(lookups: int, rounds: int) -> Iterator[tuple[str, float, float]]:
    """Name, and microseconds of a lookup: the yardstick's and ours."""
    with (
        tempfile.TemporaryDirectory(prefix="bmn-bench-") as name,
        PrivateRedis(Path(name), REDIS_CONF) as server,
        wired(Path(name), server.url) as app,
        redis.Redis.from_url(server.url, decode_responses=True) as client,
    ):
        numbers = [PhoneNumber(digits=f"31{number[1:]}") for number in dutch_numbers(_NUMBERS)]
        load_register(app, "".join(f"0{number.digits[2:]},all\n" for number in numbers))
        for number in numbers[:_OPTOUTS]:
            app.seller_lists.add_optout("acme", number, "test", None)
        asked = random.Random(1).sample(numbers, lookups)
        ways = {"bare": _bare(app, client), "ours": _ours(app)}
        found: dict[str, list[tuple[float, ...]]] = {way: [] for way in ways}
        for _ in range(rounds):
            for way, ask in ways.items():
                found[way].append(_round(client, ask, asked))
    for place, kind in enumerate(_KINDS):
        bare_us, ours_us = (statistics.median(figures[place] for figures in one) for one in found.values())
        yield kind, bare_us, ours_us


def _round(client: Any, ask: Callable[[PhoneNumber], object], asked: list[PhoneNumber]) -> tuple[float, ...]:
    for number in asked[:20]:
        ask(number)
    before, began, own = _busy_s(client), time.perf_counter(), time.process_time()
    for number in asked:
        ask(number)
    took, own = time.perf_counter() - began, time.process_time() - own
    return tuple(seconds / len(asked) * 1e6 for seconds in (took, own, _busy_s(client) - before))


def _busy_s(client: Any) -> float:
    cpu = client.info("cpu")
    return float(cpu["used_cpu_user"] + cpu["used_cpu_sys"])


def _ours(app: Application) -> Callable[[PhoneNumber], object]:
    campaign, state = app.campaigns["energy"], app.journal.state()
    return lambda number: app.screening._lists.facts(number, campaign, state, Deadline.after_ms(5_000))


def _bare(app: Application, client: Any) -> Callable[[PhoneNumber], object]:
    campaign: Campaign = app.campaigns["energy"]
    (generation,) = [key.rpartition(":")[2] for key in client.keys("bmn:roster:g:*")]
    connection = client.connection_pool.get_connection()

    def ask(number: PhoneNumber) -> list[Any]:
        deadline = Deadline.after_ms(5_000)
        ours = chain.from_iterable(list_names(campaign))
        names = [*ours, *(f"g:{generation}:{item}" for item in relevant_lists(campaign))]
        commands = [
            ("GET", redis_keys.APPLIED),
            *(("SISMEMBER", redis_keys.list_set(number.prefix, name), number.suffix) for name in names),
            ("GET", redis_keys.current(campaign.profile)),
        ]
        connection.send_packed_command(connection.pack_commands(commands), check_health=False)
        return [connection.read_response(timeout=deadline.remaining_s()) for _ in commands]

    return ask


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lookups", type=int, default=300, help="in a round (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=30, help="default: %(default)s")
    arguments = parser.parse_args()
    sys.stdout.write(f"{'us a lookup':16}{'yardstick':>12}{'ours':>12}{'ratio':>8}\n")
    for name, bare, ours in measure(arguments.lookups, arguments.rounds):
        sys.stdout.write(f"{name:16}{bare:12.1f}{ours:12.1f}{ours / bare:8.2f}\n")


if __name__ == "__main__":
    main()
