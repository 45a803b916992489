"""The README's tables are compared with the code, so that they stay true."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from agent import dialplan_names, logs
from agent.config import Settings
from agent.config_dashboard import UserSettings
from agent.config_sellers import CampaignSettings, SellerSettings
from agent.domain.journal_events import FIELDS, MEANINGS, EventType
from agent.domain.model import Reason, Sector, Verdict
from agent.entrypoints.cli import _COMMANDS, EXIT_CODES
from tests.metric_families import families

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
DIALPLAN = "\n".join(path.read_text() for path in sorted((ROOT / "dialplan").glob("*.conf")))


@pytest.mark.parametrize("word", [*Reason, *dialplan_names.DIALPLAN_REASONS, *EventType, *Sector, *logs.EVENTS])
def test_every_stored_word_is_in_the_readme(word: str) -> None:
    """Reasons, record types, sectors, log events."""
    assert f"`{word}`" in README


def table(header: str) -> list[list[str]]:
    """The cells of each row of the one table that begins with this header."""
    (body,) = re.findall(rf"^{re.escape(header)}\n\|[-|]+\|\n((?:\|.*\n)+)", README, re.MULTILINE)
    return [[cell.strip() for cell in row.strip("|").split(" |")] for row in body.splitlines()]


def words(cell: str) -> list[str]:
    """What is in backticks."""
    return re.findall(r"`([^`]+)`", cell)


def test_the_reasons_are_those_of_the_code() -> None:
    """In the table of rules and the sentences under it: none is missing, and none is made up, on its side."""
    rows = table("| | rule | verdict and reason |")
    verdicts = {"allow": Verdict.ALLOW, "block": Verdict.BLOCK}
    in_table = {word: verdicts[row[2].split()[0]] for row in rows for word in words(row[2])}
    after = README.split(" | otherwise |")[1].split("\n\n")[1]
    besides = dict.fromkeys(words(after), Verdict.BLOCK)
    told = in_table | besides
    assert not in_table.keys() & besides.keys()
    assert told == {
        **{str(reason): reason.verdict for reason in Reason},
        **dict.fromkeys(dialplan_names.DIALPLAN_REASONS, Verdict.BLOCK),
    }


def test_the_log_events_are_those_of_the_code() -> None:
    """Each once, and no others."""
    told = [event for row in table("| event | |") for event in words(row[0])]
    assert sorted(told) == sorted(logs.EVENTS)


def test_every_log_event_is_a_constant_that_something_logs() -> None:
    """One that nobody writes is not an event; one that is not a constant is not documented."""
    code = "\n".join(path.read_text() for path in sorted((ROOT / "agent").rglob("*.py")) if path.name != "logs.py")
    constants = {name: value for name, value in vars(logs).items() if name.isupper() and isinstance(value, str)}
    assert sorted(constants.values()) == sorted(logs.EVENTS)
    assert {name for name in constants if f"logs.{name}" not in code} == set()
    assert re.findall(r"""_?log\.(?:debug|info|warning|error)\(["']""", code) == []


def test_the_metrics_are_those_of_the_code() -> None:
    """Name, kind, labels and meaning to the letter, each once, and no others."""
    told = {
        words(name)[0]: (kind, frozenset(words(labels)), meaning)
        for name, kind, labels, meaning in table("| metric | kind | labels | |")
    }
    assert len(told) == len(table("| metric | kind | labels | |"))
    assert told == {name: (family.kind, family.labels, family.meaning) for name, family in families().items()}


def test_the_settings_are_those_of_the_code() -> None:
    """No row of the table tells of a setting that there is not."""
    told: list[str] = []
    for row in table("| setting | default | |"):
        first, *others = words(row[0])
        told += [first, *(f"{first.rpartition('.')[0]}{name}" for name in others)]
    own = [f"sellers.KEY.{name}" for name in SellerSettings.model_fields]
    own += [f"campaigns.KEY.{name}" for name in CampaignSettings.model_fields]
    own += [f"dashboard.users.NAME.{name}" for name in UserSettings.model_fields]
    assert sorted(told) == sorted([*settings_of(Settings), *own])


def test_the_alerts_are_those_of_the_rules() -> None:
    """Each once, and no others."""
    told = [alert for row in table("| alert | when |") for alert in words(row[0])]
    rules = (ROOT / "deploy/prometheus/bmn.rules.yml").read_text()
    assert sorted(told) == sorted(re.findall(r"- alert: (\w+)", rules))


def test_the_exit_codes_are_those_of_the_code() -> None:
    """Number and meaning."""
    table = dict(re.findall(r"^\| (\d+) \| ([^|]*) \|$", README, re.MULTILINE))
    assert table == {str(code): meaning for code, meaning in EXIT_CODES.items()}


@pytest.mark.parametrize("command", list(_COMMANDS))
def test_every_command_is_in_the_readme(command: str) -> None:
    """In the table of commands."""
    assert f"`bmn {command} " in README or f"`bmn {command}`" in README


DERIVED = {
    "journal.key_file": "the path with `.key`",
    "sounds.path": "`dialplan/sounds/audio` of this checkout",
}
"""Defaults that are worked out."""


def settings_of(model: type[BaseModel], prefix: str = "") -> dict[str, object]:
    """Each setting's dotted name and default."""
    found: dict[str, object] = {}
    for name, field in model.model_fields.items():
        key = prefix + (field.alias or name)
        if isinstance(field.default, BaseModel):
            found |= settings_of(type(field.default), key + ".")
        elif key not in {"sellers", "campaigns", "dashboard.users"}:
            found[key] = field.default
    return found


@pytest.mark.parametrize(("name", "default"), settings_of(Settings).items())
def test_every_setting_is_in_the_readme_with_its_default(name: str, default: object) -> None:
    """Numbers and words to the letter."""
    (cell,) = re.findall(rf"^\| `{re.escape(name)}` \| (.*?) \|", README, re.MULTILINE)
    match default:
        case (str() as host, int() as port):
            assert cell == f"`{host}:{port}`"
        case () | "":
            assert cell == "none"
        case tuple():
            assert cell == f"`{', '.join(map(str, default))}`"
        case None:
            assert cell == DERIVED[name]
        case _:
            assert cell == f"`{default}`"


@pytest.mark.parametrize(
    ("model", "table"),
    [(SellerSettings, "sellers.KEY"), (CampaignSettings, "campaigns.KEY"), (UserSettings, "dashboard.users.NAME")],
)
def test_every_setting_of_named_tables_is_in_the_readme(model: type[BaseModel], table: str) -> None:
    """Under its table's name."""
    rows = "\n".join(row for row in README.splitlines() if table in row)
    for name in model.model_fields:
        assert f".{name}`" in rows


@pytest.mark.parametrize(
    "name", [value for name, value in vars(dialplan_names).items() if name.startswith(("BMN_", "SCRIPT_"))]
)
def test_names_shared_with_the_dialplan_are_in_both(name: str) -> None:
    """One Python file, one dialplan file and the README."""
    assert name in README
    if name not in {dialplan_names.BMN_HEALTH, dialplan_names.SCRIPT_HEALTH}:  # for a site's own monitoring
        assert name in DIALPLAN


def test_the_dialplan_speaks_of_no_other_names() -> None:
    """Its globals are in the README's table; its reasons are ours."""
    defined = set(re.findall(r"^(BMN_[A-Z_]+) =", (ROOT / "dialplan/globals_bmn.conf").read_text(), re.MULTILINE))
    assert defined
    for name in defined:
        assert f"`{name}`" in README
    for reason in dialplan_names.DIALPLAN_REASONS:
        assert reason in DIALPLAN


def test_every_field_of_the_journal_has_a_meaning() -> None:
    """And no meaning is left of a field that is gone."""
    assert {field for fields in FIELDS.values() for field in fields} == set(MEANINGS)
