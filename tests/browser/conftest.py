"""A whole site for each module, a browser for the session, and users who have signed in."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from agent.entrypoints.dashboard.accounts import hash_password
from deploy.lab.agent_service import AgentService, bmn
from deploy.lab.dashboard_service import DashboardService
from deploy.lab.redis_server import PrivateRedis
from tests.agi.fake_asterisk import FakeAsterisk
from tests.conftest import REDIS_CONF, write_configuration
from tests.e2e.conftest import agi_port, lab, prompts  # noqa: F401  # fixtures of the real calls

PASSWORD = "een lang wachtwoord"
WIDE = {"width": 1280, "height": 800}
NARROW = {"width": 360, "height": 740}
CHROMIUM_FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A call centre with a dashboard."""

    folder: Path
    agent: AgentService
    dashboard: DashboardService
    environment: dict[str, str]

    @property
    def agi(self) -> tuple[str, int]:
        """Where the agent listens."""
        host, _, port = str(self.agent.log("agent.started")[-1]["listen"]).rpartition(":")
        return host, int(port)

    def screen(self, number: str, campaign: str = "energy", agent: str = "agent-7") -> dict[str, str]:
        """Screen a call as Asterisk does; returns what the dialplan is told."""
        return self.script("screen", number, campaign, agent)

    def finish(self, call: str, seconds: int = 40) -> None:
        """The end of a call that was answered."""
        with FakeAsterisk.call(self.agi, "finish", call, "ANSWER", str(seconds), "16", "2", ""):
            pass

    def key(self, call: str, key: str) -> None:
        """A key of the agent in a conversation."""
        with FakeAsterisk.call(self.agi, "key", call, key) as asterisk:
            asterisk.expect("GET VARIABLE DIALSTATUS").reply("200 result=1 (ANSWER)")
            asterisk.expect_variables(BMN_KEY_RESULT="recorded").confirm()

    def script(self, name: str, *arguments: str) -> dict[str, str]:
        """One script of the agent."""
        with FakeAsterisk.call(self.agi, name, *arguments) as asterisk:
            command = asterisk.read_command()
            asterisk.confirm(command)
            asterisk.send("200 result=1\n")
        return asterisk.variables

    def bmn(self, *arguments: str) -> str:
        """Run a command of the product; returns what it printed."""
        return bmn(*arguments, environment=self.environment).stdout

    def load_register(self, text: str, days_old: int = 0) -> None:
        """Put a register in force."""
        path = self.folder / "register.csv"
        path.write_text(text)
        as_of = str(date.today() - timedelta(days=days_old))
        self.bmn("register", "import", str(path), "--as-of", as_of, "--allow-shrink", "--allow-older")


def write_users(folder: Path) -> Path:
    """A configuration with a user of each role."""
    path = write_configuration(folder)
    hashed = hash_password(PASSWORD)
    users = "".join(
        f'[dashboard.users.{name}]\npassword_hash = "{hashed}"\nrole = "{role}"\n'
        for name, role in (("vera", "viewer"), ("carla", "compliance"))
    )
    path.write_text(path.read_text() + users)
    return path


def running_site(folder: Path, agi_listen: str, **environment: str) -> Iterator[Site]:
    """``bmn serve`` and ``bmn dashboard`` on a Redis and a journal of their own."""
    with tempfile.TemporaryDirectory(prefix="bmn-") as short, PrivateRedis(Path(short), REDIS_CONF) as redis:
        environment |= {
            "BMN_CONFIG": str(write_users(folder)),
            "BMN_REDIS_URL": redis.url,
            "BMN_AGI_LISTEN": agi_listen,
        }
        with AgentService(folder, environment) as agent, DashboardService(folder, environment) as dashboard:
            yield Site(folder=folder, agent=agent, dashboard=dashboard, environment=environment)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site for the module, with a register and some calls."""
    yield from running_site(tmp_path_factory.mktemp("site"), "127.0.0.1:0")


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """A headless Chromium."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert path, "there is no Chromium: deploy/prepare chromium installs one"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(CHROMIUM_FLAGS))
        yield browser
        browser.close()
