"""Which Asterisk the lab runs."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from .errors import LabError

GET_ASTERISK = Path(__file__).resolve().parent / "get-asterisk"


@dataclass(frozen=True, slots=True, kw_only=True)
class AsteriskBuild:
    """An Asterisk to run, as `get-asterisk` found or made it."""

    executable: Path
    version: str
    modules_dir: Path
    data_dir: Path
    sounds_dir: Path

    @classmethod
    def find(cls) -> AsteriskBuild:
        """Ask `get-asterisk`, whose progress goes to our stderr; LabError when it fails."""
        found = subprocess.run([GET_ASTERISK], stdout=subprocess.PIPE, text=True)
        if found.returncode != 0:
            raise LabError(f"get-asterisk failed with exit code {found.returncode}, see above")
        return cls.read(Path(found.stdout.strip()))

    @classmethod
    def read(cls, executable: Path) -> AsteriskBuild:
        """Read the `asterisk.env` beside the executable."""
        lines = (executable.parent / "asterisk.env").read_text().splitlines()
        values = dict(line.split("=", 1) for line in lines)
        return cls(
            executable=executable,
            version=values["version"],
            modules_dir=Path(values["modules_dir"]),
            data_dir=Path(values["data_dir"]),
            sounds_dir=Path(values["sounds_dir"]),
        )
