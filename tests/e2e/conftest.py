"""One lab for the session; for each test a Redis, a journal and an agent of its own behind it."""

from __future__ import annotations

import json
import socket
import sqlite3
import subprocess
import tempfile
import wave
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from deploy.lab import Lab
from deploy.lab.agent_service import AgentService, bmn
from deploy.lab.redis_server import PrivateRedis
from tests.conftest import REDIS_CONF, write_configuration

SOUNDS = Path(__file__).parents[2] / "dialplan" / "sounds"
KEPT_S = {"blocked-unsupported-country": 60.0, "notice-acme": 3.0}
"""Seconds of a prompt that are kept, where what is heard is compared with it; else half a second."""
QUESTIONS = ("menu-", "scope", "sector-", "charities", "chosen-correct")
QUESTION_S = 0.1
"""Of questions: a key counts once a question was heard, and most tests are not about that."""


@pytest.fixture(scope="session")
def agi_port() -> int:
    """A port for the agent, known to the dialplan before the agent runs."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@pytest.fixture(scope="session")
def prompts() -> Iterator[Path]:
    """The prompts of the tests' sellers as a site builds them, most of them cut short to save time."""
    with tempfile.TemporaryDirectory(prefix="bmn-prompts-") as folder:
        built, cut = Path(folder, "built"), Path(folder, "cut")
        config = write_configuration(Path(folder))
        subprocess.run([SOUNDS / "build", "--sellers", config, "--out", built], check=True, capture_output=True)
        for path in built.glob("*/bmn/*.wav"):
            kept_s = QUESTION_S if path.stem.startswith(QUESTIONS) else KEPT_S.get(path.stem, 0.5)
            copy_prompt(path, cut / path.relative_to(built), seconds=kept_s)
        yield cut


@pytest.fixture(scope="session")
def lab(agi_port: int, prompts: Path) -> Iterator[Lab]:
    """Two Asterisks with the product's dialplan and prompts."""
    with tempfile.TemporaryDirectory(prefix="bmn-lab-") as folder:
        agi = f"agi://127.0.0.1:{agi_port}"
        with Lab(Path(folder), agi=agi, sounds=[prompts]) as lab:
            yield lab


@contextmanager
def prompts_of_length(prompts: Path, seconds: float, *stems: str) -> Iterator[None]:
    """Some prompts of that length, for the time of the block."""
    cut = [path for stem in stems for path in prompts.glob(f"*/bmn/{stem}.wav")]
    assert cut
    kept = {path: path.read_bytes() for path in cut}
    try:
        for path in cut:
            copy_prompt(prompts.parent / "built" / path.relative_to(prompts), path, seconds)
        yield
    finally:
        for path, content in kept.items():
            path.write_bytes(content)


def copy_prompt(source: Path, target: Path, seconds: float) -> None:
    """Copy the first ``seconds`` of a .wav file."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(source)) as built, wave.open(str(target), "wb") as copy:
        frames = min(built.getnframes(), int(built.getframerate() * seconds))
        copy.setparams(built.getparams())
        copy.writeframes(built.readframes(frames))


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A call centre: its lists, its journal and its agent."""

    folder: Path
    redis: PrivateRedis
    agent: AgentService
    environment: dict[str, str]

    def bmn(self, *arguments: str) -> str:
        """Run a command of the product; returns what it printed."""
        return bmn(*arguments, environment=self.environment).stdout

    def load_register(self, text: str, as_of: date | None = None) -> None:
        """Put a register in force by the command line."""
        path = self.folder / "register.csv"
        path.write_text(text)
        self.bmn("register", "import", str(path), "--as-of", str(as_of or date.today()), "--allow-shrink")

    def last_verdict(self) -> dict[str, Any]:
        """The newest screening in the journal."""
        return self.verdicts()[-1]

    def records(self, *types: str) -> list[dict[str, Any]]:
        """The bodies of the journal's records of these types, read as anybody could, in order."""
        with closing(sqlite3.connect(f"file:{self.folder / 'journal.db'}?mode=ro", uri=True)) as journal:
            rows = journal.execute("SELECT type, body FROM records ORDER BY seq").fetchall()
        return [{"type": kind, **json.loads(body)} for kind, body in rows if kind in types]

    def verdicts(self) -> list[dict[str, Any]]:
        """All screenings in the journal."""
        return [json.loads(line) for line in self.bmn("log", "--json").splitlines()]


@pytest.fixture
def site(tmp_path: Path, agi_port: int, prompts: Path) -> Iterator[Site]:
    """A running site with an empty Redis: load a register first."""
    environment = {
        "BMN_CONFIG": str(write_configuration(tmp_path)),
        "BMN_AGI_LISTEN": f"127.0.0.1:{agi_port}",
        "BMN_REDIS__LOOKUP_TIMEOUT_MS": "300",
        "BMN_SOUNDS__PATH": str(prompts),
    }
    with tempfile.TemporaryDirectory(prefix="bmn-") as folder, PrivateRedis(Path(folder), REDIS_CONF) as redis:
        environment["BMN_REDIS_URL"] = redis.url
        with AgentService(tmp_path, environment) as agent:
            yield Site(folder=tmp_path, redis=redis, agent=agent, environment=environment)
