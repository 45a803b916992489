"""Every fault at every step of every AGI script, against the real service on a real Redis and journal.

All cells are run beside each other before the first test looks at them, so that the whole table takes seconds.
"""

from __future__ import annotations

import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from agent import dialplan_names as names
from deploy.lab.redis_server import PrivateRedis
from tests.agi.fake_asterisk import environment
from tests.agi.fault_rules import RULES, Cell, Records, read_journal
from tests.agi.fault_table import ENVIRONMENT, FAULTS, Fault, Line, Session, run
from tests.agi.open_connections import open_connections
from tests.agi.test_screen_script import Site
from tests.conftest import REDIS_CONF
from tests.waiting import until

SCRIPTS = (
    names.SCRIPT_SCREEN,
    names.SCRIPT_NOTICE,
    names.SCRIPT_KEY,
    names.SCRIPT_FINISH,
    names.SCRIPT_LEFT,
    names.SCRIPT_HEALTH,
)
ARGUMENTS = {
    names.SCRIPT_KEY: ("offered", names.CONNECTED),
    names.SCRIPT_FINISH: ("ANSWER", "12", "16", "2", "agent"),
    names.SCRIPT_LEFT: ("consumer", "1.78"),
}
"""What follows the id of the call."""
AT_ONCE = 48
LONGEST_S = 12.0
"""A consumer has 5 seconds for a key; nothing else that is here may take as long."""
SERVE = """
from agent.adapters.agi_channel import AgiChannel
from agent.entrypoints import cli
AgiChannel.stream_file.__kwdefaults__["limit_ms"] = 1000  # two minutes: what a notice may last
cli.main()
"""


class Table:
    """A service, and the cells that were run against it."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.cells: dict[tuple[str, str], list[tuple[int, str, Future[Cell]]]] = defaultdict(list)
        self.recorded: dict[str, Session] = {}
        self.journal: Records = {}
        self.threads = 0
        """How many the service has when it is at rest."""
        self._serial = count(1)

    def run(self) -> None:
        """Record each script, then run every cell."""
        stall = next(fault for fault in FAULTS if fault.name == "stall")
        with ThreadPoolExecutor(AT_ONCE) as pool:
            # Every worker, and every spare that takes a stalled one's place, is there and has its connections.
            list(pool.map(lambda _: self._run(names.SCRIPT_SCREEN, stall, 0), range(AT_ONCE)))
            for _ in range(40):
                self.site.screen("0612349999", "energy", "agent-7")
            for script in SCRIPTS:
                cell = self._run(script)
                self.recorded[script] = cell.session
            self.settle()
            self.threads = self.thread_count()
            for script in SCRIPTS:
                steps = [(ENVIRONMENT, ""), *enumerate(self.recorded[script].commands)]
                for fault in FAULTS:
                    for step, command in steps:
                        future = pool.submit(self._run, script, fault, step)
                        self.cells[script, fault.name].append((step, command, future))
        self.settle()
        self.journal = read_journal(self.site.folder / "journal.db")

    def settle(self) -> None:
        """Return when every session is over, and what it had for the journal is on disk."""
        until(lambda: not self.connections(), timeout_s=30)
        self.site.screen("0612349999", "energy", "agent-7")

    def log_of(self, cell: Cell) -> list[dict[str, Any]]:
        """What the service logged of a cell's channel."""
        return [line for line in self.site.agent.log() if line.get("uniqueid") == cell.uniqueid]

    def thread_count(self) -> int:
        """Threads of the service now."""
        return sum(1 for _ in Path(f"/proc/{self.site.agent.pid}/task").iterdir())

    def connections(self) -> list[str]:
        """Those of Asterisk that the service still holds."""
        return open_connections(self.site.agent.pid, self.site.address[1])

    def _run(self, script: str, fault: Fault | None = None, step: int = ENVIRONMENT) -> Cell:
        serial = next(self._serial)
        number, uniqueid, call = f"06123{serial:05d}", f"1795465755.{serial}", ""
        arguments: tuple[str, ...] = (number, "energy", "agent-7")
        if script != names.SCRIPT_SCREEN:
            call = self._allowed(number, uniqueid)
            arguments = (call, *ARGUMENTS.get(script, ()))
            if script == names.SCRIPT_LEFT:  # a notice is still to follow
                ended = (call, "ANSWER", "12", "16", "2", "transferred")
                run(Line.connect(self.site.address, environment(names.SCRIPT_FINISH, *ended, uniqueid=uniqueid)))
        line = Line.connect(self.site.address, environment(script, *arguments, uniqueid=uniqueid, type="PJSIP"))
        return Cell(step=step, uniqueid=uniqueid, call=call, session=run(line, fault, step))

    def _allowed(self, number: str, uniqueid: str) -> str:
        """The id of a call that may be dialled, on the channel ``uniqueid``."""
        lines = environment(names.SCRIPT_SCREEN, number, "energy", "agent-7", uniqueid=uniqueid)
        line = Line.connect(self.site.address, lines)
        run(line)
        assert line.dials, f"no cell of its own: {line.fake.variables}"
        return line.fake.variables[names.BMN_CALL]


PATIENT = {"BMN_AGI__DEADLINE_MS": "5000", "BMN_REDIS__LOOKUP_TIMEOUT_MS": "3000"}
"""So that a machine that is busy adds no fault of its own."""


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory, prompts: Path) -> Iterator[Table]:
    """The table, run, with its service still there."""
    with tempfile.TemporaryDirectory(prefix="bmn-") as folder, PrivateRedis(Path(folder), REDIS_CONF) as redis:
        site = Site(tmp_path_factory.mktemp("site"), redis.url, BMN_SOUNDS__PATH=str(prompts), **PATIENT)
        site.agent.program = (sys.executable, "-c", SERVE, "serve")
        with site.agent:
            site.load("0611111111\n")
            table = Table(site)
            table.run()
            yield table


def test_the_steps_of_each_script_are_in_the_table(table: Table) -> None:
    """A run that goes well is the yardstick: an allow, and a notice that was heard with all its questions."""
    assert table.recorded[names.SCRIPT_SCREEN].line.dials
    notice = table.recorded[names.SCRIPT_NOTICE]
    assert len(notice.commands) > 15
    assert notice.line.confirmed == {names.BMN_NOTICE_RESULT: "heard", names.BMN_CHOICE: "register_without_charities"}
    assert table.recorded[names.SCRIPT_KEY].line.confirmed == {names.BMN_KEY_RESULT: "recorded"}
    assert table.recorded[names.SCRIPT_HEALTH].line.confirmed == {names.BMN_HEALTH: "ok"}


@pytest.mark.parametrize("fault", [fault.name for fault in FAULTS])
@pytest.mark.parametrize("script", SCRIPTS)
def test_no_fault_at_any_step_makes_dialplan_or_journal_say_what_is_not_so(
    table: Table, script: str, fault: str, subtests: pytest.Subtests
) -> None:
    """What each script may leave behind is in ``RULES``; and each session ends in bounded time."""
    cells = table.cells[script, fault]
    assert cells
    for step, command, future in cells:
        with subtests.test(f"{step}: {command or 'environment'}"):
            cell = future.result()
            assert cell.session.took_s < LONGEST_S
            assert len(cell.session.commands) > step, f"it did not come to its fault: {table.log_of(cell)}"
            RULES[script](table.journal, cell)


def test_no_worker_and_no_connection_stays_behind(table: Table) -> None:
    """After all of it the pool is as it was, and screens as before."""
    assert table.connections() == []
    until(lambda: table.thread_count() <= table.threads)
    verdicts = [table.site.screen("0612349999", "energy", "agent-7")["BMN_VERDICT"] for _ in range(40)]
    assert verdicts == ["allow"] * 40
    assert table.site.agent.log("request.failed") == []
