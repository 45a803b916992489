"""Register files, whatever their packing, encoding and layout; ``open_register_file`` finds out what is not said.

Each layout is a module of its own (``layout.Layout``). Files are read a few megabytes at a time, as columns.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Final

from agent.adapters.register_files.area_number import AREA_CHANGES, AREA_NUMBER
from agent.adapters.register_files.blocks import read_block
from agent.adapters.register_files.changes import CHANGES
from agent.adapters.register_files.layout import Layout
from agent.adapters.register_files.lines import ENCODINGS, Lines, read_lines
from agent.adapters.register_files.number_blocked import NUMBER_BLOCKED
from agent.adapters.register_files.number_date import NUMBER_DATE
from agent.adapters.register_files.plain import PLAIN
from agent.adapters.register_files.streams import Source, open_source
from agent.domain.errors import InputRejected
from agent.domain.ports import RegisterBlock
from agent.domain.profile import Profile

__all__ = [
    "DELIMITERS",
    "ENCODINGS",
    "LAYOUTS",
    "FileOptions",
    "OpenedRegisterFile",
    "open_register_file",
    "reopen_register_file",
]

LAYOUTS: Final = {
    layout.name: layout for layout in (AREA_CHANGES, AREA_NUMBER, NUMBER_DATE, CHANGES, NUMBER_BLOCKED, PLAIN)
}
"""By name, the more particular ones first."""

DELIMITERS: Final = {"comma": ",", "semicolon": ";", "tab": "\t", "pipe": "|"}
"""By name, the likelier ones first."""

_SAMPLE: Final = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class FileOptions:
    """What the operator says of a file; what is None is found out."""

    layout: str | None = None
    encoding: str | None = None
    delimiter: str | None = None
    """Its name in ``DELIMITERS``."""
    changes: bool | None = False
    """Whether a list of changes is wanted; None takes what there is."""


@dataclass(frozen=True, slots=True)
class OpenedRegisterFile:
    """A register file whose layout is known; see ``agent.domain.ports.RegisterFile``."""

    source: Source
    encoding: str | None
    layout: Layout
    delimiter: str

    @property
    def name(self) -> str:
        """The file's name, without its folder."""
        return self.source.name

    @property
    def location(self) -> str:
        """The file's absolute path; ``-`` for standard input."""
        return self.source.location

    @property
    def sha256(self) -> str:
        """Of the file as it is, packed or not."""
        return self.source.sha256

    @property
    def bytes(self) -> int:
        """Of the file as it is, packed or not."""
        return self.source.size

    @property
    def reading(self) -> dict[str, str | None]:
        """The fields of ``FileOptions``."""
        (delimiter,) = [name for name, char in DELIMITERS.items() if char == self.delimiter]
        return {"layout": self.layout.name, "encoding": self.encoding, "delimiter": delimiter}

    def blocks(self, profile: Profile) -> Iterator[RegisterBlock]:
        """See ``agent.domain.ports.RegisterFile``."""
        with self.source.contents() as contents:
            lines = read_lines(contents, self.name, self.encoding)
            first = next((block for block in lines if len(block.texts)), None)
            if first is None:
                return
            if self._is_header(first.texts[0]):
                first = Lines(first.texts[1:], first.numbers[1:], first.offset)
            for block in chain([first], lines):
                yield read_block(block, self.layout.fields(block.texts, self.delimiter), profile)

    def _is_header(self, line: str) -> bool:
        words = re.sub(r'[\s"]', "", line.lower().replace(self.delimiter, ","))
        return words in {self.layout.header, self.layout.header.partition(",")[0]}


def open_register_file(path: Path, options: FileOptions | None = None) -> OpenedRegisterFile:
    """Hash the file (``-`` is standard input) and find its layout. Raises ``InputRejected`` when it is none of ours."""
    said = options or FileOptions()
    source = open_source(path)
    with source.contents() as contents:
        blocks = read_lines(contents, source.name, said.encoding)
        sample = list(islice((text for block in blocks for text in block.texts[:_SAMPLE]), _SAMPLE))
    layouts = [LAYOUTS[said.layout]] if said.layout else [item for item in LAYOUTS.values() if _wanted(item, said)]
    delimiters = [DELIMITERS[said.delimiter]] if said.delimiter else list(DELIMITERS.values())
    layout, delimiter = _find([line for line in sample if re.search("[0-9]", line)] or sample, layouts, delimiters)
    if layout.changes and said.changes is False:
        raise InputRejected(f"{source.name} is a list of changes: load it with bmn register delta")
    if said.changes and not layout.changes:
        raise InputRejected(
            f"{source.name} is not a list of changes (+number,blocked or -number, or area,number,A or D): "
            "load a whole register with bmn register import"
        )
    return OpenedRegisterFile(source, said.encoding, layout, delimiter)


def reopen_register_file(path: str, reading: Mapping[str, str | None] | None) -> OpenedRegisterFile:
    """Open a file to be read as it was once, or as it may be where ``reading`` is None."""
    return open_register_file(Path(path), FileOptions(**(reading or {}), changes=None))


def _wanted(layout: Layout, said: FileOptions) -> bool:
    """``+316…,all`` is an entry of a register as well as an addition, so that must be known."""
    return layout is not CHANGES or said.changes is True


def _find(sample: list[str], layouts: list[Layout], delimiters: list[str]) -> tuple[Layout, str]:
    """The first layout, and delimiter, that most lines have; headers are not among them."""
    if len(layouts) > 1 and any(line.lstrip('"').startswith("-") for line in sample):
        return CHANGES, delimiters[0]
    for layout in layouts:
        for delimiter in delimiters:
            pattern = re.compile(layout.pattern.replace(",", re.escape(delimiter)))
            if 2 * sum(pattern.fullmatch(line) is not None for line in sample) > len(sample):
                return layout, delimiter
    return layouts[-1], delimiters[0]
