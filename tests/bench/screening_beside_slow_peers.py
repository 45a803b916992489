"""What do peers that send half a request, or never take the answer, cost the calls of others?

    .venv/bin/python -m tests.bench.screening_beside_slow_peers [--per-second 150] [--screenings 500]

A real service on a Redis and a journal of its own. Screenings over AGI on loopback, one at a time: alone, beside
connections that send the beginning of an environment and wait, so many a second, and beside whole requests whose answer
is never confirmed. The ratio of p99 to that alone is the figure, and how many were not answered by the rules.
"""

from __future__ import annotations

import argparse
import socket
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy.lab.redis_server import PrivateRedis
from tests.agi.fake_asterisk import environment
from tests.agi.test_screen_script import Site
from tests.conftest import REDIS_CONF

_OPEN_S = 2.0
HALF = "agi_network: yes\nagi_network_script: screen\n"
WHOLE = "\n".join([*environment("screen", "0611111111", "energy", "agent-1"), "", ""])


@contextmanager
def slow_peers(address: tuple[str, int], text: str, per_second: float) -> Iterator[None]:
    """So many connections a second that each send ``text``, and nothing more for two seconds."""
    ending = threading.Event()

    def connect() -> None:
        peers: deque[tuple[float, socket.socket]] = deque()
        due = time.monotonic()
        while not ending.wait(max(0.0, due - time.monotonic())):
            due += 1 / per_second
            peer = socket.create_connection(address)
            peer.sendall(text.encode())
            peers.append((time.monotonic(), peer))
            while peers and peers[0][0] < time.monotonic() - _OPEN_S:
                peers.popleft()[1].close()
        for _, peer in peers:
            peer.close()

    thread = threading.Thread(target=connect)
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join()


def measure(screenings: int, per_second: float) -> list[tuple[str, float, float, int]]:
    """Title, p50 and p99 in milliseconds, and how many were blocked for a technical reason."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="bmn-bench-") as name, PrivateRedis(Path(name), REDIS_CONF) as server:
        site = Site(Path(name), server.url)
        site.load("0611111111\n")
        with site.agent:
            _run(site, 100)
            for title, text in (("alone", ""), ("half requests", HALF), ("unconfirmed", WHOLE), ("alone again", "")):
                if text:
                    with slow_peers(site.address, text, per_second):
                        time.sleep(_OPEN_S)
                        rows.append((title, *_run(site, screenings)))
                else:
                    rows.append((title, *_run(site, screenings)))
    return rows


def _run(site: Site, count: int) -> tuple[float, float, int]:
    taken, technical = [], 0
    for serial in range(count):
        began = time.perf_counter()
        verdict = site.screen(f"06870{serial:05d}", "energy", "agent-7")
        taken.append((time.perf_counter() - began) * 1000)
        technical += verdict["BMN_REASON"] != "not_registered"
    taken.sort()
    return taken[count // 2], taken[int(count * 0.99)], technical


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--per-second", type=float, default=150.0, help="slow peers (default: %(default)s)")
    parser.add_argument("--screenings", type=int, default=500, help="in each run (default: %(default)s)")
    chosen = parser.parse_args()
    rows = measure(chosen.screenings, chosen.per_second)
    alone = min(rows[0][2], rows[-1][2])
    print("screening, milliseconds       p50     p99   ratio of p99   technical blocks")  # noqa: T201  # the table
    for title, half, most, technical in rows:
        print(f"{title:25}{half:8.2f}{most:8.2f}{most / alone:15.2f}{technical:19}")  # noqa: T201


if __name__ == "__main__":
    main()
