"""How long from an agent's key to "recorded", and to a block by a second agent process?

    .venv/bin/python -m tests.bench.effective_at_once [--times N]

Two services share a journal and a Redis. A key is pressed in a call on the one; the other is asked for the same number
again and again from that moment on. AGI over TCP on loopback, journal fsynced; no Asterisk in between.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from pathlib import Path

from agent import dialplan_names as names
from deploy.lab.agent_service import AgentService
from deploy.lab.redis_server import PrivateRedis
from tests.agi.fake_asterisk import FakeAsterisk
from tests.agi.test_screen_script import Site
from tests.conftest import REDIS_CONF


class SecondSite(Site):
    """Another service on the journal and Redis of a first."""

    def __init__(self, folder: Path, first: Site) -> None:
        self.folder = folder
        self.environment = first.environment
        self.agent = AgentService(folder, first.environment)


def measure(times: int) -> tuple[list[float], list[float], float]:
    """Milliseconds from key to ``recorded`` and from key to blocked, sorted; and those of one screening."""
    with tempfile.TemporaryDirectory(prefix="bmn-bench-") as name:
        folder = Path(name)
        (folder / "second").mkdir()
        with PrivateRedis(folder, REDIS_CONF) as server:
            first = Site(folder, server.url)
            second = SecondSite(folder / "second", first)
            with first.agent, second.agent:
                first.load("0611111111\n")
                for warm_up in range(50):
                    second.screen(f"06870{warm_up:05d}", "energy", "")
                began = time.perf_counter()
                for again in range(50):
                    second.screen(f"06870{again:05d}", "energy", "")
                screening = (time.perf_counter() - began) / 50 * 1000
                rows = [_once(first, second, f"06123{serial:05d}") for serial in range(times)]
    return sorted(row[0] for row in rows), sorted(row[1] for row in rows), screening


def _once(first: Site, second: Site, number: str) -> tuple[float, float]:
    call = first.screen(number, "energy", "agent-7")["BMN_CALL"]
    recorded: list[float] = []
    began = time.perf_counter()

    def press() -> None:
        with FakeAsterisk.call(first.address, names.SCRIPT_KEY, call, "seller_optout", names.CONNECTED) as asterisk:
            assert "recorded" in asterisk.read_command()
            recorded.append(time.perf_counter() - began)
            asterisk.send("200 result=1\n")

    pressing = threading.Thread(target=press)
    pressing.start()
    while second.screen(number, "energy", "")["BMN_VERDICT"] != "block":
        assert time.perf_counter() - began < 10
    blocked = time.perf_counter() - began
    pressing.join()
    return recorded[0] * 1000, blocked * 1000


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=200, help="how many keys (default: %(default)s)")
    times = parser.parse_args().times
    recorded, blocked, screening = measure(times)
    print(f"{times} keys; milliseconds             p50     p99     max")  # noqa: T201  # the table
    for title, values in (("key to 'recorded'", recorded), ("key to blocked on the second", blocked)):
        half, most = values[len(values) // 2], values[int(len(values) * 0.99)]
        print(f"{title:32}{half:8.1f}{most:8.1f}{values[-1]:8.1f}")  # noqa: T201
    print(f"{'one screening, for comparison':32}{screening:8.1f}")  # noqa: T201


if __name__ == "__main__":
    main()
