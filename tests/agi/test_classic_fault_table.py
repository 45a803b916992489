"""Every fault at every step of ``screen`` as a classic AGI script, over two pipes, on a real Redis and journal."""

from __future__ import annotations

import os
import tempfile
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count
from pathlib import Path

import pytest

from agent.bootstrap import Application
from agent.entrypoints.agi_scripts import AgiScripts
from agent.entrypoints.classic_agi import run_classic
from agent.entrypoints.screen_script import CLASSIC_AGI
from deploy.lab.redis_server import PrivateRedis
from tests.agi.fake_asterisk import FakeAsterisk, environment
from tests.agi.fault_rules import Cell, Records, read_journal, screened
from tests.agi.fault_table import ENVIRONMENT, FAULTS, Fault, Line, Session, run
from tests.conftest import REDIS_CONF, load_register, wired

LONGEST_S = 5.0
READ_TIMEOUT_MS = 300


class Table:
    """The script, run in this process: its signals need the main thread. Asterisk is another thread."""

    def __init__(self, app: Application) -> None:
        self.cells: dict[str, list[Cell]] = {}
        self.journal: Records = {}
        self._serial = count(1)
        self._scripts = AgiScripts(app, CLASSIC_AGI)

    def run(self) -> None:
        """Record the script, then run every cell."""
        with ThreadPoolExecutor(1) as pool:
            self.recorded = self._run(pool).session
            for fault in FAULTS:
                steps = range(ENVIRONMENT, len(self.recorded.commands))
                self.cells[fault.name] = [] if fault.sockets_only else [self._run(pool, fault, step) for step in steps]

    def _run(self, pool: ThreadPoolExecutor, fault: Fault | None = None, step: int = ENVIRONMENT) -> Cell:
        serial = next(self._serial)
        uniqueid = f"1795465755.{serial}"
        lines = environment("bmn", f"06123{serial:05d}", "energy", "agent-7", classic=True, uniqueid=uniqueid)
        (incoming, to_script), (from_script, outgoing) = os.pipe(), os.pipe()

        def hang_up() -> None:
            os.close(to_script)
            os.close(from_script)

        line = Line(FakeAsterisk(from_script, to_script, hang_up), lines)
        with os.fdopen(incoming, "rb") as stdin, os.fdopen(outgoing, "wb") as stdout:
            session: Future[Session] = pool.submit(run, line, fault, step)
            run_classic(
                self._scripts.screen,
                stdin,
                stdout,
                failed=lambda request, channel: pytest.fail("the handler must not fail"),
                deadline_ms=5_000,
                read_timeout_ms=READ_TIMEOUT_MS,
            )
        return Cell(step=step, uniqueid=uniqueid, call="", session=session.result())


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Table:
    """The table, run, and what is in the journal since."""
    home = tmp_path_factory.mktemp("site")
    with tempfile.TemporaryDirectory(prefix="bmn-") as folder, PrivateRedis(Path(folder), REDIS_CONF) as redis:
        with wired(home, redis.url, BMN_REDIS__LOOKUP_TIMEOUT_MS="3000") as app:
            load_register(app, "0611111111\n")
            table = Table(app)
            table.run()
        table.journal = read_journal(home / "journal.db")
    return table


def test_the_script_asks_before_it_records(table: Table) -> None:
    """One question, one answer; in between, the journal."""
    ask, tell = table.recorded.commands
    assert ask == "CHANNEL STATUS"
    assert tell.startswith("SET VARIABLE ARRAY(BMN_VERDICT,")
    assert table.recorded.line.dials


@pytest.mark.parametrize("fault", [fault.name for fault in FAULTS if not fault.sockets_only])
def test_no_fault_at_any_step_makes_dialplan_or_journal_say_what_is_not_so(
    table: Table, fault: str, subtests: pytest.Subtests
) -> None:
    """As over FastAGI; and no process waits for an Asterisk that is gone."""
    for cell in table.cells[fault]:
        with subtests.test(str(cell.step)):
            assert cell.session.took_s < LONGEST_S
            assert len(cell.session.commands) > cell.step, "it did not come to its fault"
            screened(table.journal, cell)


def test_an_asterisk_that_does_not_answer_the_question_gets_no_allow(table: Table) -> None:
    """Whatever it says instead: a block is on record, and none of them is an allow that nobody got."""
    for fault, cells in table.cells.items():
        for cell in cells[1:2]:
            (verdict,) = table.journal["call.screened", cell.uniqueid]
            assert (verdict["reason"] == "undelivered") == (fault != "100 Trying"), fault
