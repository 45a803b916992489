"""The prompts that consumers hear, built once for the session."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.conftest import write_configuration

SOUNDS = Path(__file__).parents[2] / "dialplan" / "sounds"


@pytest.fixture(scope="session")
def prompts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The prompts of the tests' sellers."""
    folder = tmp_path_factory.mktemp("prompts")
    config = write_configuration(folder)
    subprocess.run([SOUNDS / "build", "--sellers", config, "--out", folder / "audio"], check=True, capture_output=True)
    return folder / "audio"
