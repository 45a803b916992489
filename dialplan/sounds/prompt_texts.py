"""The prompt texts: reads `prompts.toml` into values and reports every mistake in it at once.

No audio here; `sound_files.py` speaks, `sound_jobs.py` decides what to speak.
"""

import re
import string
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

SELLER_FIELD = "seller"
"""The one placeholder that a text may hold, written `{seller}`."""

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_SELLER_KEY = re.compile(r"[a-z0-9][a-z0-9_-]*")
_Word = TypeVar("_Word", bound=StrEnum)
_VOICE_RANGES = {"words_per_minute": (80, 450), "pitch": (0, 99), "word_gap_ms": (0, 500)}


class Listener(StrEnum):
    """Who hears a prompt."""

    AGENT = "agent"
    CONSUMER = "consumer"


class Tone(StrEnum):
    """The signal that a prompt begins with."""

    RECORDED = "recorded"
    REJECTED = "rejected"


class PromptFileError(Exception):
    """A TOML file of ours is wrong; the message has one sentence for each mistake, on lines of their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Voice:
    """How espeak-ng speaks one language."""

    language: str
    name: str
    words_per_minute: int
    pitch: int
    word_gap_ms: int
    respell: tuple[tuple[str, str], ...]

    def spelling_of(self, text: str) -> str:
        """The text as this voice must be given it, its mispronounced words spelt otherwise."""
        for word, spelling in self.respell:
            text = re.sub(rf"\b{re.escape(word)}\b", spelling, text)
        return text


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """One text in one language. Its sound is `<language>/bmn/<name>`."""

    name: str
    language: str
    text: str
    heard_by: Listener
    tone: Tone | None
    seller: str = ""
    """The company that the text names, once it is filled in."""

    @property
    def label(self) -> str:
        """What people call it in lines and messages."""
        return f"{self.language}/{self.name}"

    @property
    def names_seller(self) -> bool:
        """Whether the text holds `{seller}`, so that it needs a sound per seller."""
        return SELLER_FIELD in _fields(self.text)

    def for_seller(self, key: str, name: str) -> "Prompt":
        """The same prompt with a seller's name filled in, and its key in the sound's name."""
        text = self.text.format(**{SELLER_FIELD: name})
        return replace(self, name=f"{self.name}-{key}", text=text, seller=name)


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptFile:
    """All of `prompts.toml`: voices by language, and every prompt in every language."""

    voices: Mapping[str, Voice]
    prompts: tuple[Prompt, ...]


def read_prompt_file(path: Path) -> PromptFile:
    """Read and check the file. Raises PromptFileError with every mistake in it."""
    content = _load(path)
    problems = [
        f"unknown key '{key}'; the file has 'languages' and 'prompts'"
        for key in content.keys() - {"languages", "prompts"}
    ]
    voices = {code: _voice(code, table, problems) for code, table in _tables(content, "languages", problems).items()}
    prompts = [
        prompt
        for name, table in _tables(content, "prompts", problems).items()
        for prompt in _prompts(name, table, tuple(voices), problems)
    ]
    if problems:
        raise PromptFileError("\n".join(f"{path.name}: {problem}." for problem in problems))
    return PromptFile(voices=voices, prompts=tuple(prompts))


def read_sellers(path: Path) -> dict[str, str]:
    """Seller names by key from the `[sellers.<key>] name = …` tables of the agent's settings file."""
    problems: list[str] = []
    sellers: dict[str, str] = {}
    for key, table in _tables(_load(path), "sellers", problems).items():
        name = table.get("name")
        if not _SELLER_KEY.fullmatch(key):
            problems.append(f"'sellers.{key}' cannot be part of a file name; use a-z, 0-9, '-' and '_'")
        elif not isinstance(name, str) or not name.strip():
            problems.append(f"'sellers.{key}' needs a 'name', as a text")
        else:
            sellers[key] = name
    if problems:
        raise PromptFileError("\n".join(f"{path.name}: {problem}." for problem in problems))
    return sellers


def _load(path: Path) -> dict[str, object]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise PromptFileError(f"{path} cannot be read: {error}.") from error
    except tomllib.TOMLDecodeError as error:
        raise PromptFileError(f"{path.name} is not valid TOML: {error}.") from error


def _tables(content: Mapping[str, object], key: str, problems: list[str]) -> dict[str, dict[str, object]]:
    found = content.get(key)
    if not isinstance(found, dict) or not found:
        problems.append(f"there is no table '{key}'")
        return {}
    tables = {name: table for name, table in found.items() if isinstance(table, dict)}
    problems += [f"'{key}.{name}' must be a table" for name in found.keys() - tables.keys()]
    return tables


def _voice(code: str, table: Mapping[str, object], problems: list[str]) -> Voice:
    where = f"languages.{code}"
    if not _NAME.fullmatch(code):
        problems.append(f"'{where}' cannot be a folder's name; use a-z, 0-9 and '-'")
    problems += [
        f"unknown key '{where}.{key}'; a language has voice, {', '.join(_VOICE_RANGES)} and respell"
        for key in table.keys() - _VOICE_RANGES.keys() - {"voice", "respell"}
    ]
    name = table.get("voice")
    if not isinstance(name, str) or not name:
        problems.append(f"'{where}.voice' must name an espeak-ng voice")
        name = ""
    numbers: dict[str, int] = {}
    for key, (lowest, highest) in _VOICE_RANGES.items():
        value = table.get(key)
        if type(value) is not int or not lowest <= value <= highest:
            problems.append(f"'{where}.{key}' must be a whole number from {lowest} to {highest}")
            value = lowest
        numbers[key] = value
    respell = table.get("respell", {})
    if not isinstance(respell, dict) or not all(isinstance(to, str) for to in respell.values()):
        problems.append(f"'{where}.respell' must be a table of words and their spellings")
        respell = {}
    return Voice(language=code, name=name, respell=tuple(sorted(respell.items())), **numbers)


def _prompts(name: str, table: Mapping[str, object], languages: tuple[str, ...], problems: list[str]) -> list[Prompt]:
    where = f"prompts.{name}"
    if not _NAME.fullmatch(name):
        problems.append(f"'{where}' cannot be a sound's name; use a-z, 0-9 and '-'")
    problems += [
        f"unknown key '{where}.{key}'; a prompt has heard_by, tone, and one text for each of {', '.join(languages)}"
        for key in sorted(table.keys() - {"heard_by", "tone", *languages})
    ]
    heard_by = _word(Listener, table.get("heard_by"), f"{where}.heard_by", problems) or Listener.CONSUMER
    tone = _word(Tone, table["tone"], f"{where}.tone", problems) if "tone" in table else None
    prompts = []
    for language in languages:
        text = table.get(language)
        if not isinstance(text, str) or not text.strip():
            problems.append(f"'{where}' has no text in '{language}'")
            continue
        try:
            strange = _fields(text) - {SELLER_FIELD}
        except ValueError:
            strange = {"unpaired brace"}
        if strange:
            problems.append(
                f"'{where}.{language}' has the placeholder {', '.join(sorted(strange))}; only {{seller}} may be used"
            )
        prompts.append(Prompt(name=name, language=language, text=text, heard_by=heard_by, tone=tone))
    return prompts


def _word(known: type[_Word], given: object, where: str, problems: list[str]) -> _Word | None:
    if given in tuple(known):
        return known(str(given))
    problems.append(f"'{where}' must be one of: {', '.join(known)}")
    return None


def _fields(text: str) -> set[str]:
    """The placeholders in a text; a conversion or format (`{seller!r}`) counts as part of the name."""
    return {
        field + (f"!{conversion}" if conversion else "") + (f":{form}" if form else "")
        for _, field, form, conversion in string.Formatter().parse(text)
        if field is not None
    }
