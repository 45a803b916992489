"""A whole site for each module, a browser for the session, and users who have signed in."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Request,
    ViewportSize,
    expect,
    sync_playwright,
)

from agent.entrypoints.dashboard.accounts import hash_password
from deploy.lab.agent_service import AgentService, bmn
from deploy.lab.dashboard_service import DashboardService
from deploy.lab.redis_server import PrivateRedis
from tests.agi.fake_asterisk import FakeAsterisk
from tests.conftest import REDIS_CONF, write_configuration
from tests.e2e.conftest import agi_port, lab, prompts  # noqa: F401  # fixtures of the real calls

PASSWORD = "een lang wachtwoord"
WIDE = ViewportSize(width=1280, height=800)
NARROW = ViewportSize(width=360, height=740)
PATIENCE_MS = 10_000
REGISTERED = "0612345678"
FREE = "0612349999"
REGISTER = """
number,blocked
0612345678,all
0612345679,all_except_charities
0612345680,energy
0612345681,charities
"""
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
        with FakeAsterisk.call(self.agi, "key", call, key, "connected") as asterisk:
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
    """A site for the module, with a register and calls of every kind."""
    for running in running_site(tmp_path_factory.mktemp("site"), "127.0.0.1:0"):
        make_calls(running)
        yield running


def make_calls(site: Site) -> None:
    """What a day brings: blocks for many reasons, conversations with and without an offer, choices."""
    site.load_register(REGISTER, days_old=23)
    for agent in ("anna", "anna", "bert"):
        for number in (REGISTERED, "0612345680", "0201234567"):
            site.screen(number, "energy", agent)
    for number, campaign in (("+3225551234", "energy"), ("06123", "loans"), ("0612345681", "charity"), (FREE, "nope")):
        site.screen(number, campaign, "chris")
    for index, key in enumerate(("offered", "register_with_charities", "seller_optout", None, None)):
        told = site.screen(f"06123400{index:02}", "solar", "dora")
        if key is not None:
            site.key(told["BMN_CALL"], key)
        site.finish(told["BMN_CALL"], seconds=20 + 7 * index)


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    """A headless Chromium; not for longer, for it keeps this thread's event loop to itself."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert path, "there is no Chromium: deploy/prepare chromium installs one"
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(CHROMIUM_FLAGS))
        yield browser
        browser.close()


class Desk:
    """Somebody at a browser; whatever the browser complains of, or asks of another host, fails the test."""

    def __init__(self, browser: Browser, site: Site, viewport: ViewportSize, language: str) -> None:
        self.site = site
        self.complaints: list[str] = []
        self.foreign: list[str] = []
        self.context: BrowserContext = browser.new_context(viewport=viewport, locale=language, accept_downloads=True)
        self.context.set_default_timeout(PATIENCE_MS)
        self.page: Page = self.context.new_page()
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", self._hear)
        self.page.on("request", self._see)

    def _hear(self, message: ConsoleMessage) -> None:
        refused = "Failed to load resource" in message.text  # an error page; the tests look at those themselves
        if message.type in ("error", "warning") and not refused:
            self.complaints.append(message.text)

    def _see(self, request: Request) -> None:
        if not request.url.startswith(self.site.dashboard.url):
            self.foreign.append(request.url)

    def go(self, path: str) -> Page:
        """Open a page."""
        self.page.goto(self.site.dashboard.url + path)
        return self.page

    def sign_in(self, name: str, password: str = PASSWORD) -> Page:
        """Fill in the form."""
        self.go("/sign-in")
        self.page.fill("#name", name)
        self.page.fill("#password", password)
        self.page.click("button.primary")
        return self.page

    def rows(self) -> list[str]:
        """The calls in the table, as text."""
        return [" ".join(text.split()) for text in self.page.locator("#calls tr").all_inner_texts()]


@pytest.fixture
def open_desk(chromium: Browser, site: Site) -> Iterator[Callable[..., Desk]]:
    """Opens browsers, each with cookies of its own; wide and in English unless it is told."""
    desks: list[Desk] = []

    def open_(name: str | None = None, *, viewport: ViewportSize = WIDE, language: str = "en-GB") -> Desk:
        desk = Desk(chromium, site, viewport, language)
        desks.append(desk)
        if name:
            desk.sign_in(name)
            desk.page.wait_for_selector("nav a[aria-current=page]")
        return desk

    yield open_
    for desk in desks:
        desk.context.close()
    assert [desk.complaints for desk in desks if desk.complaints] == []
    assert [desk.foreign for desk in desks if desk.foreign] == []


def keep_picture(page: Page, name: str) -> None:
    """Save what the page looks like in the folder that BMN_SCREENSHOTS names."""
    if folder := os.environ.get("BMN_SCREENSHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=Path(folder) / f"{name}.png")
