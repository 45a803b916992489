"""Fixtures of every level: a private Redis, and a wired application on it."""

from __future__ import annotations

import itertools
import os
import tempfile
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
import redis
from hypothesis import settings

from agent.adapters.register_files import open_register_file
from agent.bootstrap import Application, bootstrap, register_loading
from agent.config import load_settings
from agent.domain.profile import NL_BMNR
from agent.register_loading import Imported, ImportOptions
from deploy.lab.redis_server import PrivateRedis

REDIS_CONF = Path(__file__).parent.parent / "deploy" / "redis.conf"

_loads = itertools.count()

CONFIGURATION = """
[sellers.acme]
name = "Acme Energie"
[sellers.hart]
name = "Stichting Hart"
[campaigns.energy]
seller = "acme"
purpose = "commercial"
sector = "energy"
product_group = "energy-contract"
[campaigns.lab-campaign]
seller = "acme"
purpose = "commercial"
sector = "energy"
[campaigns.solar]
seller = "acme"
purpose = "commercial"
sector = "energy"
product_group = "solar-panels"
[campaigns.charity]
seller = "hart"
purpose = "charity"
[sellers.bank]
name = "De Bank"
[campaigns.loans]
seller = "bank"
purpose = "commercial"
sector = "finance"
[campaigns.survey]
seller = "acme"
purpose = "research"
"""


def pytest_configure(config: pytest.Config) -> None:
    """With CI=true nothing may be skipped. No example has a time limit of its own: the machine may be busy."""
    settings.register_profile("bmn", deadline=None)
    settings.load_profile("bmn")
    if os.environ.get("CI") == "true":
        config.pluginmanager.register(_NoSkips())


class _NoSkips:
    """Fails a run in which something was skipped, a test, a module or a subtest, and names it."""

    def __init__(self) -> None:
        self._skipped: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped and not hasattr(report, "wasxfail"):
            self._skipped.append(report.nodeid)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.skipped:
            self._skipped.append(report.nodeid)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self._skipped and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for name in self._skipped:
            terminalreporter.write_line(f"SKIPPED with CI=true, which fails the run: {name}", red=True)


@pytest.fixture(scope="session", autouse=True)
def _full_speed() -> Iterator[None]:
    """Commands that run within the process of the tests do not slow down everything that comes after them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("agent.entrypoints.cli.give_way", lambda: None)
        yield


@pytest.fixture(scope="session")
def redis_server() -> Iterator[PrivateRedis]:
    """One Redis for the session; each test that uses ``redis`` finds it empty."""
    # A socket path may be 107 bytes long, which pytest's own folders exceed.
    with tempfile.TemporaryDirectory(prefix="bmn-") as folder, PrivateRedis(Path(folder), REDIS_CONF) as server:
        yield server


@pytest.fixture
def redis_url(redis_server: PrivateRedis) -> str:
    """The URL of an empty Redis."""
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
        client.config_set("set-max-intset-entries", 10_000)
    return redis_server.url


@pytest.fixture
def own_redis() -> Iterator[PrivateRedis]:
    """A Redis of one test's own, to stop, pause and restart."""
    with tempfile.TemporaryDirectory(prefix="bmn-") as folder, PrivateRedis(Path(folder), REDIS_CONF) as server:
        yield server


def write_configuration(folder: Path) -> Path:
    """A configuration with three sellers and their campaigns."""
    path = folder / "bmn.toml"
    path.write_text(CONFIGURATION)
    return path


def wired(folder: Path, redis_url: str, **environment: str) -> Application:
    """An application with its journal in ``folder``; old loads get no time of grace."""
    set_here = {"BMN_CONFIG": str(write_configuration(folder)), "BMN_REGISTER__GRACE_MINUTES": "0"}
    return bootstrap(load_settings({**set_here, "BMN_REDIS_URL": redis_url, **environment}))


@pytest.fixture
def app(tmp_path: Path, redis_url: str) -> Iterator[Application]:
    """A wired application on an empty Redis and a new journal."""
    with wired(tmp_path, redis_url) as application:
        yield application


def load_register(app: Application, text: str, *, as_of: date | None = None, allow_shrink: bool = True) -> Imported:
    """Load ``text`` as a register file of today."""
    path = app.settings.journal.path.parent / "register.csv"
    # A register that differs each time, for exactly the same load would change nothing.
    path.write_text(text + "\n" * next(_loads))
    options = ImportOptions(as_of=as_of or date.today(), allow_shrink=allow_shrink)
    return register_loading(app).import_files(NL_BMNR, [open_register_file(path)], options, lambda *_: None)
