"""With CI=true nothing may be skipped: the run fails, and names what was."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SKIPPED = {
    "test": "import pytest\n\ndef test_one():\n    pytest.skip()\n\ndef test_two():\n    pass\n",
    "marked": "import pytest\n\n@pytest.mark.skipif(True, reason='none')\ndef test_one():\n    pass\n",
    "module": "import pytest\n\npytest.importorskip('no_such_module')\n",
    "subtest": "import pytest\n\ndef test_one(subtests):\n    with subtests.test():\n        pytest.skip()\n",
}


def run(folder: Path, test: str, ci: str) -> tuple[int, str]:
    """Run one test file under our conftest."""
    (folder / "test_skips.py").write_text(test)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-c", os.devnull, "--rootdir", folder, folder],
        cwd=ROOT,
        env={**os.environ, "CI": ci},
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize("test", SKIPPED.values(), ids=SKIPPED)
def test_a_skipped_test_fails_the_run_and_is_named(tmp_path: Path, test: str) -> None:
    """However it was skipped."""
    code, told = run(tmp_path, test, "true")
    assert code == 1
    assert "SKIPPED with CI=true, which fails the run: test_skips.py" in told


def test_elsewhere_a_test_may_be_skipped(tmp_path: Path) -> None:
    """On a machine without all the means."""
    assert run(tmp_path, SKIPPED["test"], "")[0] == 0


def test_a_run_without_skips_passes(tmp_path: Path) -> None:
    """Nothing else changes."""
    assert run(tmp_path, "def test_one():\n    pass\n", "true")[0] == 0
