"""The words of the dashboard in Dutch and English, and which of the two somebody reads."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

_FOLDER: Final = Path(__file__).parent / "words"


class Language(StrEnum):
    """A language that the dashboard speaks; the first is for those who read neither."""

    NL = "nl"
    EN = "en"


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """One language: texts by ``section.name``, and how it writes figures and times."""

    language: Language
    texts: Mapping[str, str]
    zone: ZoneInfo

    def __call__(self, name: str, **values: object) -> str:
        """The text, with ``values`` filled in. Raises ``KeyError`` for one that is missing."""
        text = self.texts[name]
        return text.format(**values) if values else text

    def of(self, section: str, member: object) -> str:
        """A stored word in plain words; as it is stored, when a later version stored it."""
        return self.texts.get(f"{section}.{member}", str(member))

    def count(self, number: int) -> str:
        """1.234 or 1,234."""
        return f"{number:,}".replace(",", "." if self.language is Language.NL else ",")

    def decimal(self, number: float) -> str:
        """One decimal."""
        return f"{number:.1f}".replace(".", "," if self.language is Language.NL else ".")

    def moment(self, at: datetime) -> str:
        """Day and time to the second."""
        return f"{self.day(at)} {at.astimezone(self.zone):%H:%M:%S}"

    def day(self, at: datetime) -> str:
        """The day alone."""
        return f"{at.astimezone(self.zone):{'%d-%m-%Y' if self.language is Language.NL else '%Y-%m-%d'}}"

    def short_day(self, at: datetime) -> str:
        """The day without its year."""
        return f"{at:{'%d-%m' if self.language is Language.NL else '%m-%d'}}"


def read_words(zone: ZoneInfo) -> dict[Language, Words]:
    """All languages, from the files beside this module."""
    return {language: Words(language=language, texts=_texts(language), zone=zone) for language in Language}


def _texts(language: Language) -> dict[str, str]:
    sections: dict[str, dict[str, Any]] = tomllib.loads((_FOLDER / f"{language}.toml").read_text(encoding="utf-8"))
    return {f"{section}.{name}": text for section, texts in sections.items() for name, text in texts.items()}


def preferred(cookie: str | None, accepted: str) -> Language:
    """The language that was chosen, else the best of the header ``Accept-Language``."""
    if cookie in list(Language):
        return Language(cookie)
    wanted: list[tuple[float, Language]] = []
    for part in accepted.split(",")[:20]:
        tag, _, quality = part.partition(";q=")
        try:
            weight = float(quality) if quality else 1.0
        except ValueError:
            continue
        primary = tag.strip().lower().split("-")[0]
        if primary in list(Language) and weight > 0:
            wanted.append((weight, Language(primary)))
    return max(wanted, key=lambda item: item[0])[1] if wanted else Language.NL
