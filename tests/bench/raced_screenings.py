"""Does an allow ever stand in the journal after what forbids it? Two services race everything that forbids a call.

    .venv/bin/python -m tests.bench.raced_screenings [--screenings 10000]

Two services on one journal and one Redis; four callers screen a few hot numbers as fast as they can. Meanwhile the same
numbers object: by a process of its own, by agents' keys in calls that were allowed, by the end of an exemption; and one
load of the register takes the place of another, with rollbacks in between. Afterwards the journal is read from its
first record to its last: at each allow, what was on record before it must permit it. Nothing else is asked: who was
first is what the journal's order says.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import socket
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from threading import Thread
from typing import Any, Final

from agent import dialplan_names as names
from agent.adapters.journal_check import verify
from agent.bootstrap import bootstrap
from agent.config import load_settings
from agent.domain.journal_events import EventType, Record
from agent.domain.phone_number import PhoneNumber
from agent.domain.seller_list_entries import Sale
from agent.domain.standing import STANDING_EVENTS, standing
from deploy.lab.agent_service import AgentService, bmn
from deploy.lab.redis_server import PrivateRedis
from tests.agi.fake_asterisk import environment
from tests.agi.test_screen_script import Site
from tests.conftest import REDIS_CONF

HOT: Final = 12
"""Numbers that are screened and object at the same time."""
CALLERS: Final = 4
KEYS: Final = ("seller_optout", "register_with_charities", "register_without_charities")
_PAUSE_S: Final = 0.004
_UNANSWERED: Final = 64
"""Between two objections: each number is screened some times before and after."""


@dataclass(slots=True)
class Hot:
    """The numbers that are raced for now, shared by everybody; each objects once and leaves."""

    next: int = HOT

    def numbers(self) -> list[str]:
        """All of them."""
        return [f"06{10_000_000 + place:08d}" for place in range(self.next - HOT, self.next)]


@dataclass(slots=True)
class Race:
    """What happened."""

    screened: int = 0
    allowed: int = 0
    objections: int = 0
    loads: int = 0
    contents: dict[str, frozenset[str]] = field(default_factory=dict)
    """Numbers (E.164) of each load, by its generation."""


class Caller:
    """Plays Asterisk for one call after the other."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._address = address

    def ask(self, script: str, *arguments: str) -> dict[str, str]:
        """One session: every command is confirmed; returns the variables that were set."""
        found: dict[str, str] = {}
        with socket.create_connection(self._address, timeout=10) as line:
            line.sendall(("\n".join(environment(script, *arguments)) + "\n\n").encode())
            with line.makefile("rb") as incoming:
                for raw in incoming:
                    command = raw.decode().rstrip("\n")
                    if command.startswith("SET VARIABLE ARRAY("):
                        names, _, values = command.removeprefix("SET VARIABLE ARRAY(").partition(') "')
                        found.update(zip(names.split(","), values.rstrip('"').split(","), strict=True))
                    line.sendall(b"200 result=1 (ANSWER)\n" if command.startswith("GET") else b"200 result=1\n")
        return found


def race(folder: Path, redis_url: str, screenings: int) -> Race:
    """Run it; the journal is in ``folder`` afterwards."""
    first = Site(folder, redis_url)
    second = AgentService(folder / "second", first.environment)
    (folder / "second").mkdir()
    found, hot = Race(), Hot()
    with first.agent, second:
        _load(first, found, frozenset())
        host, port = second.log("agent.started")[-1]["listen"].split(":")
        addresses = [first.address, (host, int(port))]
        stop: list[bool] = []
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        objector = context.Process(target=_object, args=(theirs, first.environment))
        objector.start()
        ours.recv()
        threads = [
            Thread(target=_call, args=(Caller(addresses[place % 2]), hot, found, stop, place))
            for place in range(CALLERS)
        ]
        threads.append(Thread(target=_reload, args=(first, found, hot, stop)))
        for thread in threads:
            thread.start()
        dice = random.Random(7)
        unanswered = 0
        while found.screened < screenings:
            if unanswered < _UNANSWERED:  # a pipe holds only so much in either direction
                number = hot.numbers()[0]
                hot.next += 1
                ours.send((number, dice.choice(("optout", "optout", "exemption"))))
                found.objections += 1
                unanswered += 1
            time.sleep(_PAUSE_S)
            while ours.poll():
                ours.recv()
                unanswered -= 1
        stop.append(True)
        for thread in threads:
            thread.join()
        ours.send(None)
        objector.join()
    return found


def _call(caller: Caller, hot: Hot, found: Race, stop: list[bool], seed: int) -> None:
    dice = random.Random(seed)
    while not stop:
        told = caller.ask("screen", dice.choice(hot.numbers()), "energy", "agent-7")
        found.screened += 1
        if told.get("BMN_VERDICT") == "allow":
            found.allowed += 1
            if dice.random() < 0.2:  # they talk, and the consumer objects in the call
                caller.ask("key", told["BMN_CALL"], dice.choice(KEYS), names.CONNECTED)


def _object(pipe: Any, environment: dict[str, str]) -> None:
    """Another process: objections by letter, and exemptions that begin and end."""
    with bootstrap(load_settings(environment)) as app:
        pipe.send("ready")
        sale = Sale(sold_on=date(2026, 1, 5), product="Stroom", evidence=None)
        while (asked := pipe.recv()) is not None:
            number, how = PhoneNumber(digits="31" + asked[0][1:]), asked[1]
            if how == "optout":
                app.seller_lists.add_optout("acme", number, "letter", None)
            else:
                app.seller_lists.add_customers("acme", "energy-contract", [(number, sale)], "test", lambda *_: None)
                app.seller_lists.remove_customer("acme", "energy-contract", number, "left")
            pipe.send(number.e164)


def _reload(site: Site, found: Race, hot: Hot, stop: list[bool]) -> None:
    """One load after the other, each with some of the numbers that are raced for; now and then back to the last one."""
    while not stop:
        numbers = hot.numbers()
        _load(site, found, frozenset("+31" + number[1:] for number in numbers[HOT // 2 :]))
        if not stop and found.loads % 3 == 0:
            bmn("register", "rollback", environment=site.environment, check=False)
            found.loads += 1


def _load(site: Site, found: Race, numbers: frozenset[str]) -> None:
    path = site.folder / "register.txt"
    path.write_text("\n".join(["0611111111", *sorted(numbers)]) + "\n" * found.loads + "\n")
    options = ("--as-of", str(date.today()), "--allow-shrink", "--json")
    told = json.loads(bmn("register", "import", str(path), *options, environment=site.environment).stdout)
    found.contents[told["generation"]] = numbers | {"+31611111111"}
    found.loads += 1


def wrongly_allowed(path: Path, contents: dict[str, frozenset[str]]) -> Iterator[str]:
    """Each allow that the records ahead of it forbid, in a sentence."""
    said: dict[str, list[Record]] = {}
    customers: set[str] = set()
    in_force = ""
    for record in _records(path):
        body, number = record.body, str(record.body.get("number"))
        match record.type:
            case EventType.REGISTER_LOADED | EventType.REGISTER_ROLLED_BACK:
                in_force = str(body["generation"])
            case EventType.CUSTOMER_ADDED:
                customers.add(number)
            case EventType.CUSTOMER_REMOVED:
                customers.discard(number)
            case EventType.CALL_SCREENED if body["verdict"] == "allow":
                stands = standing(said.get(number, []))
                if stands.optouts.get("acme") is not None:
                    yield f"record {record.seq} allows {number}, which objected in {said[number][-1].seq}"
                if body["reason"] == "exempt_customer":
                    if number not in customers:
                        yield f"record {record.seq} allows {number} as a customer, which it is not"
                    continue
                if any(stands.registrations.values()):
                    yield f"record {record.seq} allows {number}, which was registered in a call"
                if body["generation"] != in_force:
                    yield f"record {record.seq} rests on {body['generation']}, and {in_force} was in force"
                elif number in contents[in_force]:
                    yield f"record {record.seq} allows {number}, which is in {in_force}"
            case kind if kind in STANDING_EVENTS:
                said.setdefault(number, []).append(record)


def _records(path: Path) -> Iterator[Record]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as journal:
        for seq, kind, body in journal.execute("SELECT seq, type, body FROM records ORDER BY seq"):
            yield Record(seq, _NO_TIME, EventType(kind), json.loads(body))


_NO_TIME: Any = None
"""The order is the sequence."""


def measure(screenings: int) -> Iterator[tuple[str, str]]:
    """Name and figure of each measurement."""
    with tempfile.TemporaryDirectory(prefix="bmn-") as name, PrivateRedis(Path(name), REDIS_CONF) as server:
        folder = Path(name)
        began = time.monotonic()
        found = race(folder, server.url, screenings)
        seconds = time.monotonic() - began
        path = folder / "journal.db"
        wrong = list(wrongly_allowed(path, found.contents))
        yield "screenings by two services", f"{found.screened:,}, of which {found.allowed:,} allowed"
        yield "objections and exemptions raced", f"{found.objections:,}"
        yield "loads and rollbacks raced", f"{found.loads:,}"
        yield "screenings a second", f"{found.screened / seconds:.0f}"
        yield "allows after what forbids them", str(len(wrong))
        yield "the first of them", wrong[0] if wrong else "-"
        yield "journal", verify(path, folder / "journal.db.key", lambda *_: None).problem or "whole"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--screenings", type=int, default=10_000, help="at least (default: %(default)s)")
    for name, figure in measure(parser.parse_args().screenings):
        sys.stdout.write(f"{name:40} {figure}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
