"""The manifest: which audio files there are, what is in them and what made them.

`OUT/manifest.json` has one record per audio file. Its SHA-256, samples and milliseconds are what the evidence
of a call refers to, so it describes the very bytes on disk, holds no date, and is written after them.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

MANIFEST_VERSION = 1
_NAME = "manifest.json"


class ManifestError(Exception):
    """The manifest on disk cannot be read; the message says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SoundRecord:
    """One audio file.

    `file` is relative to OUT; `source` is `recording`, or the synthesiser and its version.
    """

    file: str
    name: str
    language: str
    rate_hz: int
    samples: int
    milliseconds: int
    sha256: str
    source: str
    recording_sha256: str | None
    text: str
    text_sha256: str
    recipe_sha256: str


Records = Mapping[str, SoundRecord]
"""Records by `file`."""


def read_manifest(out: Path) -> Records:
    """The records in OUT; none when nothing was built yet. Raises ManifestError."""
    path = out / _NAME
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        records = [SoundRecord(**record) for record in content["files"]]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ManifestError(f"{path} cannot be read ({error}); remove it to build everything anew") from error
    return {record.file: record for record in records}


def write_manifest(out: Path, records: Records) -> None:
    """Replace the manifest in one step, unless it says the same already."""
    files = [asdict(records[file]) for file in sorted(records)]
    content = {"version": MANIFEST_VERSION, "files": files}
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    path = out / _NAME
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return
    out.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".manifest.{os.getpid()}.json")
    new.write_text(text, encoding="utf-8")
    new.replace(path)
