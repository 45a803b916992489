"""``bmn dashboard`` as a process: how it starts, what it refuses, how it stops."""

from __future__ import annotations

import http.client
import socket
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from argon2 import PasswordHasher

from deploy.lab.agent_service import bmn
from deploy.lab.dashboard_service import DashboardService
from tests.conftest import write_configuration
from tests.integration.test_cli import BMN
from tests.integration.test_dashboard import HASH

USER = f'[dashboard.users.anna]\npassword_hash = "{HASH}"\nrole = "compliance"\n'


@pytest.fixture
def environment(tmp_path: Path, redis_url: str) -> dict[str, str]:
    """A site with a user and a journal."""
    path = write_configuration(tmp_path)
    path.write_text(path.read_text() + USER)
    values = {"BMN_CONFIG": str(path), "BMN_REDIS_URL": redis_url}
    bmn("register", "status", environment=values, check=False)
    return values


def test_a_password_becomes_a_hash_that_only_it_fits() -> None:
    """From stdin, without its line's end; a short one is refused."""
    command = [BMN, "dashboard", "hash-password"]
    done = subprocess.run(command, input="een lang wachtwoord\n", capture_output=True, text=True)
    assert done.returncode == 0
    assert PasswordHasher().verify(done.stdout.strip(), "een lang wachtwoord")
    assert "wachtwoord" not in done.stdout + done.stderr
    short = subprocess.run(command, input="kort\n", capture_output=True, text=True)
    assert (short.returncode, short.stdout) == (4, "")
    assert "12 to 1,000 characters" in short.stderr
    assert "kort" not in short.stderr


def test_its_help_teaches_how_to_begin() -> None:
    """Roles, the first user, the address."""
    told = bmn("dashboard", "--help", environment={}).stdout
    for part in ("hash-password", "[dashboard.users.anna]", "viewer", "http://127.0.0.1:8573", "behind_proxy"):
        assert part in told


def test_what_keeps_it_from_starting_is_said(environment: dict[str, str], tmp_path: Path) -> None:
    """Nobody who could sign in, no journal, a port in use, an address for all."""
    nobody = {**environment, "BMN_CONFIG": str(write_configuration(tmp_path))}
    done = bmn("dashboard", environment=nobody, check=False)
    assert (done.returncode, "add [dashboard.users.NAME]" in done.stderr) == (2, True)
    (tmp_path / "bmn.toml").write_text((tmp_path / "bmn.toml").read_text() + USER)
    done = bmn("dashboard", environment={**environment, "BMN_JOURNAL": str(tmp_path / "absent.db")}, check=False)
    assert (done.returncode, "there is no journal at" in done.stderr) == (3, True)
    assert not (tmp_path / "absent.db").exists()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        done = bmn("dashboard", "--listen", listen, environment=environment, check=False)
    assert (done.returncode, f"cannot listen on {listen} (dashboard.listen)" in done.stderr) == (2, True)
    done = bmn("dashboard", "--listen", "0.0.0.0:0", environment=environment, check=False)
    assert (done.returncode, "behind_proxy = true" in done.stderr) == (2, True)


def test_it_serves_and_stops_at_once_and_its_log_names_no_address(environment: dict[str, str], tmp_path: Path) -> None:
    """SIGTERM ends it with 0; what was asked for is in no log."""
    with DashboardService(tmp_path, environment) as dashboard:
        connection = http.client.HTTPConnection(urlsplit(dashboard.url).netloc, timeout=10)
        connection.request("GET", "/health")
        assert connection.getresponse().read() == b"ok\n"
        connection.request("GET", "/history?agent=somebody")
        answer = connection.getresponse()
        assert (answer.status, answer.getheader("server")) == (303, None)
        connection.close()
        assert dashboard.stop() == 0
        assert dashboard.log("dashboard.stopped")
    assert "somebody" not in dashboard.log_path.read_text()


def test_it_ends_when_its_journal_was_replaced(environment: dict[str, str], tmp_path: Path) -> None:
    """It would show, and record in, a file that nobody else sees; started again it has the new one."""
    with DashboardService(tmp_path, environment) as dashboard:
        journal = tmp_path / "journal.db"
        copy = tmp_path / "copy.db"
        copy.write_bytes(journal.read_bytes())
        copy.replace(journal)
        assert dashboard.ended() == 5
        assert dashboard.log("journal.replaced")
