"""A classic AGI script whose stderr nobody reads: Asterisk sees the end of its session all the same."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from agent import dialplan_names as names
from tests.agi.fake_asterisk import environment
from tests.agi.test_classic_screen import BMN
from tests.agi.test_screen_script import Site
from tests.unit.test_line_writer import Pipe
from tests.waiting import until

ENDS_WITHIN_S = 10.0
CONFIRMED = "200 result=1\n" * 3


@pytest.fixture
def site(tmp_path: Path, redis_url: str) -> Site:
    """A site with a register, and without the service."""
    site = Site(tmp_path, redis_url, BMN_AGI__CLASSIC_DEADLINE_MS="20000", BMN_AGI__READ_TIMEOUT_MS="500")
    site.load("0611111111\n")
    return site


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    """Full, and nobody reads it."""
    with closing(Pipe()) as pipe:
        pipe.fill()
        yield pipe


def ended(reading: int) -> bool:
    """Whether the script has closed its output; takes what it has said."""
    with suppress(BlockingIOError):
        return not os.read(reading, 65536)
    return False


def request(*arguments: str) -> str:
    """The environment of a session."""
    return "\n".join([*environment("bmn", *arguments, classic=True), "", ""])


def starts(site: Site, pipe: Pipe, said: str, event: str, **settings: str) -> None:
    """Start a script that logs ``event``, and see its session end while it waits to log that."""
    with subprocess.Popen(
        [BMN, "agi", names.SCRIPT_SCREEN],
        env={**os.environ, **site.environment, **settings},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=pipe.writing,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        reading = process.stdout.fileno()
        os.set_blocking(reading, False)
        try:
            process.stdin.write(said.encode())
            process.stdin.flush()
            until(lambda: ended(reading), ENDS_WITHIN_S)
            assert process.poll() is None, "it still has something to log"
            pipe.read(f'"{event}"')
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("said", "settings"),
    [
        (CONFIRMED, {}),
        ("", {}),
        ("200 result=1\n", {}),
        (CONFIRMED, {"BMN_AGI__CLASSIC_DEADLINE_MS": "1"}),
    ],
    ids=["a verdict", "a channel that is silent", "a verdict that is not confirmed", "overdue"],
)
def test_a_session_is_over_before_its_verdict_is_logged(
    site: Site, pipe: Pipe, said: str, settings: dict[str, str]
) -> None:
    """The process waits for the reader of its log; the call does not."""
    starts(site, pipe, request("0612349999", "energy", "agent-7") + said, "call.screened", **settings)


def test_what_is_no_session_is_over_before_that_is_logged(site: Site, pipe: Pipe) -> None:
    """What does not speak AGI is not answered, and does not wait either."""
    starts(site, pipe, "nonsense\n\n", "session.aborted")
