"""The prompt texts: every block reason can be told to an agent, in every language, in few words."""

import string
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

PROMPTS = Path(__file__).resolve().parents[2] / "dialplan" / "sounds" / "prompts.toml"

BLOCK_REASONS = (
    "registered",
    "registered_sector",
    "registered_charities",
    "seller_optout",
    "invalid_number",
    "unsupported_country",
    "unknown_campaign",
    "register_missing",
    "register_stale",
    "lookup_unavailable",
    "deadline_exceeded",
    "overloaded",
    "journal_unavailable",
    "internal_error",
)
DIALPLAN_REASONS = ("agent_unreachable", "agent_no_verdict", "agent_timeout")
LANGUAGES = ("en", "nl")

LONGEST_TEXT = 200
LONGEST_TEXT_FOR_AGENT = 100
"""About six seconds at the speed of the prompts: an agent waits for it between two calls."""


def prompts() -> dict[str, dict[str, str]]:
    """All texts by name and language, straight from the file."""
    found: dict[str, dict[str, str]] = tomllib.loads(PROMPTS.read_text(encoding="utf-8"))["prompts"]
    return found


def texts() -> Iterator[tuple[str, str]]:
    """Every text with a label that says which it is."""
    for name, by_language in prompts().items():
        for language, text in by_language.items():
            yield f"{language}/{name}", text


@pytest.mark.parametrize("reason", BLOCK_REASONS + DIALPLAN_REASONS)
@pytest.mark.parametrize("language", LANGUAGES)
def test_every_block_reason_has_a_text_in_every_language(reason: str, language: str) -> None:
    """A blocked agent hears why; the sound's name follows from the reason, '_' as '-'."""
    assert prompts()[f"blocked-{reason.replace('_', '-')}"][language].strip()


def test_there_is_a_text_for_a_reason_without_one_of_its_own() -> None:
    """A reason that is added later must not leave the agent in silence."""
    assert set(prompts()["blocked"]) == set(LANGUAGES)


def test_no_text_is_for_a_reason_that_does_not_exist() -> None:
    """A misspelt name would be built and never played."""
    known = {f"blocked-{reason.replace('_', '-')}" for reason in BLOCK_REASONS + DIALPLAN_REASONS}
    blocked = {name for name in prompts() if name.startswith("blocked-")}
    assert blocked - known == set()


def test_the_only_placeholder_is_the_seller() -> None:
    """Nothing else can be filled in when the sounds are built."""
    used = {
        (label, field)
        for label, text in texts()
        for _, field, _, _ in string.Formatter().parse(text)
        if field is not None and field != "seller"
    }
    assert used == set()


def test_no_text_for_an_agent_has_a_placeholder() -> None:
    """What an agent hears is built once, not once per seller."""
    assert [label for label, text in texts() if "/blocked" in label and "{" in text] == []


def test_no_text_is_too_long() -> None:
    """Nobody listens to a prompt that goes on."""
    assert [label for label, text in texts() if len(text) > LONGEST_TEXT] == []
    agent_texts = [(label, text) for label, text in texts() if "/blocked" in label]
    assert [label for label, text in agent_texts if len(text) > LONGEST_TEXT_FOR_AGENT] == []


def test_every_text_is_whole_sentences_of_words() -> None:
    """Digits, abbreviations and missing full stops are read out wrongly by a synthesiser."""
    strange = [
        label
        for label, text in texts()
        if not text.endswith((".", "?"))
        or text != " ".join(text.split())
        or any(character.isdigit() for character in text)
        or any(word.isupper() and len(word) > 1 for word in text.split())
    ]
    assert strange == []


def test_the_technical_failures_say_whom_to_tell_or_to_try_again() -> None:
    """An agent who cannot help it must know what to do next, in Dutch above all."""
    technical = (*BLOCK_REASONS[BLOCK_REASONS.index("unknown_campaign") :], *DIALPLAN_REASONS)
    for reason in technical:
        text = prompts()[f"blocked-{reason.replace('_', '-')}"]["nl"]
        assert "Waarschuw uw" in text or "opnieuw" in text, reason
