"""An hour of everything at once, with things that die: do the journal and the callers' own count agree to the record?

    .venv/bin/python -m tests.bench.mixed_load [--minutes 60]

Two services on one journal and one Redis. Callers screen, press agents' keys, hold the notice with consumers who press
keys, and report the end of each call; another process loads the register again and again. One service is stopped or
killed (kill -9) at random and started again, and so is Redis. The other service lives all the time: its memory, its
threads and its handles are looked at.

Each caller writes down what it was told and what it is in doubt of, because the line broke. Afterwards every verdict,
key, answer, notice and end that was confirmed must be in the journal exactly once, and nothing may be there that is
neither confirmed nor in doubt.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Final

from agent import dialplan_names as names
from agent.adapters.journal_check import verify
from agent.domain.choice import AGENT_KEYS
from deploy.lab.agent_service import AgentService, bmn
from deploy.lab.redis_server import PrivateRedis
from tests.agi.fake_asterisk import environment
from tests.agi.test_screen_script import Site
from tests.conftest import REDIS_CONF, write_configuration

CALLERS: Final = 6
NUMBERS: Final = 400_000
"""So many that most calls are to somebody who has not objected yet."""
_LOAD_EVERY_S: Final = 20.0
_TROUBLE_EVERY_S: Final = (4.0, 20.0)
_SAMPLE_EVERY_S: Final = 5.0
_ANSWER_S: Final = 15.0


@dataclass(slots=True)
class Ledger:
    """What the callers know. ``told`` was confirmed on both sides; ``doubtful`` may be on record or not."""

    told: Counter[tuple[str, ...]] = field(default_factory=Counter)
    doubtful: Counter[tuple[str, ...]] = field(default_factory=Counter)
    calls: int = 0
    broken: int = 0
    lock: Lock = field(default_factory=Lock)

    def add(self, fact: tuple[str, ...], *, sure: bool) -> None:
        """One fact."""
        with self.lock:
            (self.told if sure else self.doubtful)[fact] += 1


class Line:
    """The Asterisk side of one AGI session: confirms everything, and hears prompts as long as they are."""

    def __init__(self, address: tuple[str, int], dice: random.Random) -> None:
        self._address = address
        self._dice = dice
        self._packets = 0

    def ask(self, script: str, *arguments: str, leaves: bool = False) -> tuple[dict[str, str], list[str], bool]:
        """The variables that were set, the prompts that were asked for, and whether the session came to its end."""
        found: dict[str, str] = {}
        prompts: list[str] = []
        try:
            with socket.create_connection(self._address, timeout=_ANSWER_S) as line:
                line.sendall(("\n".join(environment(script, *arguments)) + "\n\n").encode())
                with line.makefile("rb") as incoming:
                    for raw in incoming:
                        if not raw.endswith(b"\n"):
                            return found, prompts, False
                        command = raw.decode().rstrip("\n")
                        reply = self._reply(command, found, prompts, leaves=leaves)
                        if reply is None:
                            return found, prompts, False
                        line.sendall(reply.encode() + b"\n")
        except OSError:
            return found, prompts, False
        return found, prompts, True

    def _reply(self, command: str, found: dict[str, str], prompts: list[str], *, leaves: bool) -> str | None:
        if command.startswith("SET VARIABLE ARRAY("):
            keys, _, values = command.removeprefix("SET VARIABLE ARRAY(").partition(') "')
            found.update(zip(keys.split(","), values.rstrip('"').split(","), strict=True))
        if command.startswith("GET VARIABLE"):
            return f"200 result=1 ({self._variable(command.split(' ', 2)[2])})"
        if command.startswith("STREAM FILE"):
            prompts.append(command.split(" ")[2])
            self._packets += 500
            if leaves and len(prompts) > 1 and self._dice.random() < 0.2:
                return None  # the consumer hangs up, and Asterisk lets go
            return f"200 result=0 endpos={60 * 8_000}"
        if command.startswith("WAIT FOR DIGIT"):
            digit = self._dice.choice("0122312  ")
            return f"200 result={ord(digit) if digit != ' ' else 0}"
        return "200 result=1"

    def _variable(self, name: str) -> str:
        return str(self._packets) if "txcount" in name or "rxcount" in name else ""


class Load:
    """The callers, the loads and the trouble."""

    def __init__(self, folder: Path, redis: PrivateRedis, prompts: Path) -> None:
        self.folder = folder
        self.redis = redis
        settings = {"BMN_SOUNDS__PATH": str(prompts), "BMN_AGI__SHUTDOWN_GRACE_MS": "3000"}
        self.steady = Site(folder, redis.url, **settings)
        (folder / "shaky").mkdir()
        self.shaky = AgentService(folder / "shaky", self.steady.environment)
        self.ledger = Ledger()
        self.stop = Event()
        self.troubles: Counter[str] = Counter()
        self.kills: list[tuple[float, float]] = []
        """When each kill -9 of the agent began and was over, by the monotonic clock."""
        self.samples: list[tuple[float, int, int, int]] = []
        self.loads = 0

    def run(self, seconds: float) -> None:
        """Everything at once."""
        with self.steady.agent, self.shaky:
            self._load()
            threads = [Thread(target=self._calls, args=(seed,)) for seed in range(CALLERS)]
            threads += [Thread(target=self._loads), Thread(target=self._samples)]
            for thread in threads:
                thread.start()
            until = time.monotonic() + seconds
            dice = random.Random(11)
            while time.monotonic() < until:
                time.sleep(min(dice.uniform(*_TROUBLE_EVERY_S), max(0.0, until - time.monotonic())))
                self._trouble(dice)
            self.stop.set()
            for thread in threads:
                thread.join()
            self.shaky.stop()
            self.steady.agent.stop()

    def _trouble(self, dice: random.Random) -> None:
        kind = dice.choice(("kill -9 the agent", "restart the agent", "restart the agent", "kill -9 Redis"))
        self.troubles[kind] += 1
        if kind == "kill -9 Redis":
            self.redis.stop()
            self.redis.start()
            with suppress(RuntimeError):
                bmn("rebuild", environment=self.steady.environment)
            return
        if kind == "kill -9 the agent":
            began = time.monotonic()
            self.kills.append((began, math.inf))
            self.shaky.kill()
            self.kills[-1] = (began, time.monotonic())
        else:
            self.shaky.stop()
        self.shaky.start()

    def _address(self, dice: random.Random) -> tuple[str, int]:
        if dice.random() < 0.5:
            return self.steady.address
        host, port = self.shaky.log("agent.started")[-1]["listen"].split(":")
        return host, int(port)

    def _calls(self, seed: int) -> None:
        dice = random.Random(seed)
        while not self.stop.is_set():
            self._call(dice, f"06{10_000_000 + dice.randrange(NUMBERS):08d}")

    def _call(self, dice: random.Random, number: str) -> None:
        """One call, from its verdict to its end."""
        ledger = self.ledger
        ledger.calls += 1
        told, _, ended = Line(self._address(dice), dice).ask("screen", number, "energy", "agent-7")
        call, verdict = told.get(names.BMN_CALL, ""), told.get(names.BMN_VERDICT, "")
        if not call:
            ledger.broken += 1
            ledger.add(("screened",), sure=False)
            return
        ledger.add(("verdict", call, verdict), sure=ended)
        if verdict != "allow":
            return
        for key in dice.sample(sorted(AGENT_KEYS), dice.randrange(3)):
            told, ended = self._asked(dice, "key", call, key, names.CONNECTED)
            if not ended or told.get(names.BMN_KEY_RESULT) == "recorded":
                ledger.add(("key", call, key), sure=ended)
        if dice.random() < 0.3:
            told, prompts, ended = Line(self._address(dice), dice).ask("notice", call, leaves=True)
            if told.get(names.BMN_NOTICE_RESULT) == "heard":
                ledger.add(("heard", call), sure=True)
            elif prompts:
                ledger.add(("heard", call), sure=False)
            del ended
        _, ended = self._asked(dice, "finish", call, "ANSWER", "31", "16", "2", "")
        ledger.add(("end", call), sure=ended)

    def _asked(self, dice: random.Random, script: str, *arguments: str) -> tuple[dict[str, str], bool]:
        """The variables that were set, and whether the session came to its end.

        An agent that is killed before it has said a word closes the line as one that has nothing to say.
        """
        began = time.monotonic()
        told, _, ended = Line(self._address(dice), dice).ask(script, *arguments)
        over = time.monotonic()
        killed = any(begin <= over and began <= end for begin, end in self.kills)
        return told, ended and (bool(told) or not killed)

    def _loads(self) -> None:
        while not self.stop.wait(_LOAD_EVERY_S):
            self._load()

    def _load(self) -> None:
        path = self.folder / "register.txt"
        path.write_text("\n".join(f"06{20_000_000 + n:08d}" for n in range(2_000)) + "\n" * (self.loads + 1))
        options = ("--as-of", str(date.today()), "--allow-shrink")
        done = bmn("register", "import", str(path), *options, environment=self.steady.environment, check=False)
        self.loads += done.returncode == 0

    def _samples(self) -> None:
        began = time.monotonic()
        while not self.stop.wait(_SAMPLE_EVERY_S):
            status = Path(f"/proc/{self.steady.agent.pid}/status").read_text()
            facts = dict(line.split(":", 1) for line in status.splitlines())
            handles = sum(1 for _ in Path(f"/proc/{self.steady.agent.pid}/fd").iterdir())
            rss = int(facts["VmRSS"].split()[0])
            self.samples.append((time.monotonic() - began, rss, int(facts["Threads"]), handles))


def disagreements(path: Path, ledger: Ledger) -> Iterator[str]:
    """Each fact that was confirmed and is not on record once, and each record that nobody knows of."""
    found = _on_record(path)
    for fact, count in ledger.told.items():
        if found[fact] != count and not (fact in ledger.doubtful and found[fact] > count):
            yield f"{' '.join(fact)}: {count} told, {found[fact]} on record"
    unknown = Counter({fact: count for fact, count in found.items() if fact not in ledger.told})
    in_doubt = ledger.doubtful[("screened",)]
    for fact, count in unknown.items():
        if fact in ledger.doubtful and count <= ledger.doubtful[fact]:
            continue
        if fact[0] == "verdict" and in_doubt > 0:
            in_doubt -= 1  # the line broke before the caller heard its id
            continue
        yield f"{' '.join(fact)}: nobody was told, {count} on record"


def _on_record(path: Path) -> Counter[tuple[str, ...]]:
    """The last verdict of each call, keys, notices that were heard, ends."""
    found: Counter[tuple[str, ...]] = Counter()
    verdicts: dict[str, str] = {}
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as journal:
        rows = journal.execute(
            "SELECT type, body FROM records WHERE type IN "
            "('call.screened', 'choice.recorded', 'notice.played', 'call.finished') ORDER BY seq"
        )
        for kind, text in rows:
            body: Mapping[str, str] = json.loads(text)
            call = body["call"]
            if kind == "call.screened":
                verdicts[call] = body["verdict"]
            elif kind == "choice.recorded" and body["source"] == "agent_key":
                found["key", call, body["answer"]] += 1
            elif kind == "notice.played" and body["result"] == "heard":
                found["heard", call] = 1
            elif kind == "call.finished":
                found["end", call] += 1
    found.update(("verdict", call, verdict) for call, verdict in verdicts.items())
    return found


def measure(seconds: float) -> Iterator[tuple[str, str]]:
    """Name and figure of each measurement."""
    with tempfile.TemporaryDirectory(prefix="bmn-") as name:
        folder = Path(name)
        (folder / "redis").mkdir()
        prompts = _built_prompts(folder)
        with PrivateRedis(folder / "redis", REDIS_CONF) as redis:
            load = Load(folder, redis, prompts)
            load.run(seconds)
        path = folder / "journal.db"
        ledger = load.ledger
        wrong = list(disagreements(path, ledger))
        yield "calls", f"{ledger.calls:,} in {seconds / 60:.1f} minutes, {ledger.broken:,} without an answer"
        yield "facts that were confirmed", f"{ledger.told.total():,}"
        yield "facts in doubt", f"{ledger.doubtful.total():,}"
        yield "loads", str(load.loads)
        yield "troubles", ", ".join(f"{count} times {kind}" for kind, count in sorted(load.troubles.items()))
        yield "disagreements", str(len(wrong))
        yield "the first of them", "; ".join(wrong[:5]) or "-"
        check = verify(path, folder / "journal.db.key", lambda *_: None)
        yield "journal", check.problem or f"whole, {check.records:,} records"
        yield from _resources(load.samples)


def _resources(samples: list[tuple[float, int, int, int]]) -> Iterator[tuple[str, str]]:
    """Of the service that lived all the time: medians of the second tenth and of the last."""
    tenth = max(1, len(samples) // 10)
    early, late = samples[tenth : 2 * tenth] or samples[:1], samples[-tenth:]
    for place, name, unit in ((1, "memory", "kB"), (2, "threads", ""), (3, "handles", "")):
        first, last = (sorted(sample[place] for sample in some)[len(some) // 2] for some in (early, late))
        yield f"{name}, early and late", f"{first:,} {unit} -> {last:,} {unit} ({last / first:.2f})"


def _built_prompts(folder: Path) -> Path:
    """The prompts of the tests' sellers, as a site builds them."""
    build = Path(__file__).parents[2] / "dialplan" / "sounds" / "build"
    config = write_configuration(folder)
    subprocess.run([build, "--sellers", config, "--out", folder / "audio"], check=True, capture_output=True)
    return folder / "audio"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60, help="default: %(default)s")
    for name, figure in measure(parser.parse_args().minutes * 60):
        sys.stdout.write(f"{name:32} {figure}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
