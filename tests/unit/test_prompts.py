"""The prompt texts: agents and consumers are told what they must be, in every language, in few words."""

import re
import string
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.domain.model import Reason, Sector, Verdict

PROMPTS = Path(__file__).resolve().parents[2] / "dialplan" / "sounds" / "prompts.toml"

BLOCK_REASONS = tuple(str(reason) for reason in Reason if reason.verdict is Verdict.BLOCK)
DIALPLAN_REASONS = ("agent_unreachable", "agent_no_verdict", "agent_timeout")
LANGUAGES = ("en", "nl")

KEYS_OF_AGENT = (
    "offered",
    "register-with-charities",
    "register-without-charities",
    "seller-optout",
    "declined",
    "voicemail",
    "undo",
    "hand-over",
)
NAME_THE_SELLER = {"notice", "menu", "chosen-seller-optout", "not-recorded"}
FOR_CONSUMERS = {
    *NAME_THE_SELLER,
    "scope",
    *(f"sector-{sector.replace('_', '-')}" for sector in Sector),
    "charities",
    "invalid-key",
    "chosen-register-all",
    "chosen-register-sector",
    "chosen-charities-yes",
    "chosen-charities-no",
    "chosen-charities-not-answered",
    "chosen-correct",
    "chosen-none",
    "goodbye",
}
FOLLOWED_BY_A_SECTOR = {"scope", "chosen-register-sector"}
LONGEST = {"consumer": 240, "agent": 100, "key": 35}
"""Characters. An agent waits about six seconds between two calls, and two while a consumer waits with him."""


def prompts() -> dict[str, dict[str, str]]:
    """All prompts by name as they stand in the file."""
    found: dict[str, dict[str, str]] = tomllib.loads(PROMPTS.read_text(encoding="utf-8"))["prompts"]
    return found


def texts() -> Iterator[tuple[str, str]]:
    """Every text with a label that says which it is."""
    for name, prompt in prompts().items():
        for language in LANGUAGES:
            yield f"{language}/{name}", prompt[language]


def keys_in(name: str, language: str) -> list[str]:
    """The keys that a text speaks of, in its order."""
    return re.findall(r"(?:[Tt]oets|[Pp]ress) (\d)\b", prompts()[name][language])


@pytest.mark.parametrize("reason", BLOCK_REASONS + DIALPLAN_REASONS)
@pytest.mark.parametrize("language", LANGUAGES)
def test_every_block_reason_has_a_text_in_every_language(reason: str, language: str) -> None:
    """A blocked agent hears why; the sound's name follows from the reason, '_' as '-'."""
    assert prompts()[f"blocked-{reason.replace('_', '-')}"][language].strip()


def test_there_is_a_text_for_a_reason_without_one_of_its_own() -> None:
    """A reason that is added later must not leave the agent in silence."""
    assert set(LANGUAGES) <= set(prompts()["blocked"])


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


def test_exactly_the_texts_of_a_seller_name_the_seller() -> None:
    """Each of the others is built once; the consumer must hear who called, and whom to ask."""
    assert {label.partition("/")[2] for label, text in texts() if "{seller}" in text} == NAME_THE_SELLER
    assert {label for label, text in texts() if "{seller}" in text} == {
        f"{language}/{name}" for language in LANGUAGES for name in NAME_THE_SELLER
    }


def test_no_text_is_too_long() -> None:
    """Nobody listens to a prompt that goes on."""
    too_long = [
        (name, language)
        for name, prompt in prompts().items()
        for language in LANGUAGES
        if len(prompt[language]) > LONGEST["key" if name.startswith("key-") else prompt["heard_by"]]
    ]
    assert too_long == []


def test_what_consumers_hear_is_marked_as_theirs_and_nothing_else_is() -> None:
    """The mark decides in which formats a prompt is built, and so whether seconds heard can be proved."""
    assert {name for name, prompt in prompts().items() if prompt["heard_by"] == "consumer"} == FOR_CONSUMERS
    assert {prompt["heard_by"] for prompt in prompts().values()} == {"agent", "consumer"}


def test_the_keys_of_agents_are_answered_each_with_its_signal() -> None:
    """Recorded or rejected is told before the words; blocked calls and consumers have no signal."""
    tones = {name: prompt["tone"] for name, prompt in prompts().items() if "tone" in prompt}
    assert tones == {f"key-{key}": "recorded" for key in KEYS_OF_AGENT} | {"key-rejected": "rejected"}


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("notice", ""),
        ("menu", "12390"),
        ("scope", "12"),
        ("charities", "12"),
        ("chosen-correct", "1"),
        ("chosen-none", ""),
    ],
)
def test_a_question_names_the_keys_that_answer_it(name: str, keys: str, language: str) -> None:
    """These and no others, in the order in which they are explained."""
    assert "".join(keys_in(name, language)) == keys


def test_a_text_that_runs_on_is_followed_by_the_name_of_a_sector() -> None:
    """The name is the end of its sentence, so it begins with a small letter."""
    assert {label.partition("/")[2] for label, text in texts() if text.endswith(":")} == FOLLOWED_BY_A_SECTOR
    names = [text for label, text in texts() if "/sector-" in label]
    assert len(names) == len(Sector) * len(LANGUAGES)
    assert [name for name in names if not name[0].islower()] == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_was_chosen_is_said_to_be_recorded_and_what_was_not_is_not(language: str) -> None:
    """A consumer must never believe that something holds which does not."""
    recorded = {"nl": "vastgelegd", "en": "recorded"}[language]
    said = {name for name in prompts() if name.startswith("chosen-") and recorded in prompts()[name][language].lower()}
    assert said == {name for name in FOR_CONSUMERS if name.startswith("chosen-")} - {"chosen-correct", "chosen-none"}
    assert {"nl": "niet worden vastgelegd", "en": "could not be recorded"}[language] in prompts()["not-recorded"][
        language
    ]


def test_consumers_are_addressed_politely_in_dutch() -> None:
    """Never je or jij."""
    informal = {"je", "jij", "jou", "jouw", "jullie"}
    assert [label for label, text in texts() if informal & set(re.findall(r"\w+", text.lower()))] == []


def test_every_text_is_whole_sentences_of_words() -> None:
    """Abbreviations, missing full stops and digits other than one key are read out wrongly by a synthesiser."""
    strange = [
        label
        for label, text in texts()
        if not text.endswith((".", "?", ":"))
        or text != " ".join(text.split())
        or any(character.isdigit() for character in re.sub(r"\b([Tt]oets|[Pp]ress) \d\b", "", text))
        or any(word.isupper() and len(word) > 1 for word in text.split())
    ]
    assert strange == []


def test_the_technical_failures_say_whom_to_tell_or_to_try_again() -> None:
    """An agent who cannot help it must know what to do next, in Dutch above all."""
    technical = (*BLOCK_REASONS[BLOCK_REASONS.index("unknown_campaign") :], *DIALPLAN_REASONS)
    for reason in technical:
        text = prompts()[f"blocked-{reason.replace('_', '-')}"]["nl"]
        assert "Waarschuw uw" in text or "opnieuw" in text, reason
