"""A dossier as a page that prints well: no script that runs, no request to anywhere, Dutch or English."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

from jinja2 import Environment, FileSystemLoader, StrictUndefined

LANGUAGES: Final = ("nl", "en")
_FOLDER: Final = Path(__file__).parent
_BEGINNING: Final = 1970
"""The year that a period begins in which has no beginning."""


def render(content: Mapping[str, Any]) -> bytes:
    """The page of a document's content, with an empty place for the document itself."""
    return _environment().get_template("dossier.html").render(**content, **page_words(content)).encode()


def page_words(content: Mapping[str, Any]) -> dict[str, Any]:
    """What the page needs besides the content: its words, and how it writes times, in the language of ``content``."""
    words, zone = words_of(str(content["language"])), ZoneInfo(str(content["dossier"]["timezone"]))

    def day(text: str) -> str:
        value = date.fromisoformat(text)
        return f"{value.day} {words['months'][value.month - 1]} {value.year}"

    def moment(text: str) -> str:
        local = datetime.fromisoformat(text).astimezone(zone)
        return f"{day(local.date().isoformat())} {local:%H:%M:%S %Z}"

    def beginning(text: str) -> str:
        return words["page"]["beginning"] if datetime.fromisoformat(text).year == _BEGINNING else moment(text)

    def word(value: object, kind: str) -> str:
        """The words for a member of an enumeration; what has none stays as it is stored."""
        return str(words[kind].get(str(value), value))

    def fields(details: Mapping[str, Any]) -> list[tuple[str, str]]:
        """What a record says besides, under the names that the journal has."""
        return [(name, str(value)) for name, value in details.items() if value is not None]

    return {
        "words": words["page"],
        "word": word,
        "moment": moment,
        "day": day,
        "beginning": beginning,
        "fields": fields,
    }


@functools.cache
def words_of(language: str) -> dict[str, Any]:
    """The words of a language, by the kind of what they name."""
    return tomllib.loads((_FOLDER / f"{language}.toml").read_text(encoding="utf-8"))


@functools.cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
