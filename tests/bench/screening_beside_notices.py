"""Does screening suffer from notices that are open?

    .venv/bin/python -m tests.bench.screening_beside_notices [--notices 500] [--screenings 3000]

Screenings over AGI on loopback, one at a time, journal fsynced: first alone, then while that many consumers listen to
the notice, then alone again. The ratio of the p99 is the figure; the two runs alone show how much noise is in it.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
import time
from pathlib import Path

from agent import dialplan_names as names
from deploy.lab.redis_server import PrivateRedis
from tests.agi.fake_asterisk import FakeAsterisk
from tests.agi.test_screen_script import Site
from tests.conftest import REDIS_CONF

SESSION = ("SET VARIABLE", "SET VARIABLE", "STREAM FILE")
"""What a notice sends until it plays: the variables, the language, the sound."""


def measure(notices: int, screenings: int) -> list[tuple[str, float, float]]:
    """Name, p50 and p99 in milliseconds of each run."""
    with (
        tempfile.TemporaryDirectory(prefix="bmn-bench-") as name,
        PrivateRedis(Path(name), REDIS_CONF) as server,
        contextlib.ExitStack() as lines,
    ):
        site = Site(Path(name), server.url)
        with site.agent:
            site.load("0611111111\n")
            _run(site, 200)
            rows = [("alone", *_run(site, screenings))]
            for serial in range(notices):
                call = site.screen(f"06123{serial:05d}", "energy", "agent-7")["BMN_CALL"]
                line = FakeAsterisk.call(site.address, names.SCRIPT_NOTICE, call)
                lines.callback(line.hang_up)
                for command in SESSION:
                    assert line.read_command().startswith(command)
                    if command != SESSION[-1]:
                        line.send("200 result=1\n")
            rows.append((f"beside {notices} notices", *_run(site, screenings)))
            lines.close()
            rows.append(("alone again", *_run(site, screenings)))
    return rows


def _run(site: Site, count: int) -> tuple[float, float]:
    taken = []
    for serial in range(count):
        began = time.perf_counter()
        site.screen(f"06870{serial:05d}", "energy", "agent-7")
        taken.append((time.perf_counter() - began) * 1000)
    taken.sort()
    return taken[count // 2], taken[int(count * 0.99)]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--notices", type=int, default=500, help="open at once (default: %(default)s)")
    parser.add_argument("--screenings", type=int, default=3_000, help="in each run (default: %(default)s)")
    chosen = parser.parse_args()
    rows = measure(chosen.notices, chosen.screenings)
    alone = min(rows[0][2], rows[-1][2])
    print("screening, milliseconds       p50     p99   ratio of p99")  # noqa: T201  # the table
    for title, half, most in rows:
        print(f"{title:25}{half:8.2f}{most:8.2f}{most / alone:10.2f}")  # noqa: T201


if __name__ == "__main__":
    main()
