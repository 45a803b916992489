"""Alert rules and dashboard: tested by promtool, and made of metrics and commands that exist."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from agent.domain.model import Reason
from agent.entrypoints.cli import bmn
from tests.metric_families import series_names

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES = DEPLOY / "prometheus" / "bmn.rules.yml"
RULE_TESTS = DEPLOY / "prometheus" / "bmn.rules.test.yml"
DASHBOARD = DEPLOY / "grafana" / "bel-me-niet.json"
OF_PROMETHEUS = {"up", "ALERTS"}
"""What Prometheus makes by itself."""
_NAME = re.compile(r"\b(?:bmn_[a-z_]+|process_[a-z_]+)\b")


@pytest.fixture(scope="module")
def promtool() -> str:
    """The installed one, or that of ``deploy/prepare promtool``."""
    cache = os.environ.get("BMN_CACHE") or Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    folder = Path(cache) if "BMN_CACHE" in os.environ else Path(cache) / "bel-me-niet-agent"
    found = shutil.which("promtool") or shutil.which("promtool", path=folder)
    if found is None:
        pytest.skip("there is no promtool: deploy/prepare promtool")
    return found


def run(*command: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run promtool."""
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True)


def rules() -> list[dict[str, str]]:
    """Each alert, with its name, expression and words: what the file says in the one form that we write it in."""
    found = []
    for text in RULES.read_text().split("- alert: ")[1:]:
        name, rest = text.split("\n", 1)
        (expression,) = re.findall(r"expr: (?:>-\n)?(.*?)\n\s+(?:for|labels):", rest, re.DOTALL)
        fields = {field: re.findall(rf'{field}: "(.*)"$', rest, re.MULTILINE) for field in ("summary", "description")}
        (severity,) = re.findall(r"severity: (\w+)", rest)
        found.append(
            {"name": name, "expr": expression, "severity": severity, **{key: one for key, (one,) in fields.items()}}
        )
    return found


RULE_LIST = rules()
PANELS = [panel for panel in json.loads(DASHBOARD.read_text())["panels"] if panel["type"] != "row"]


def dashboard_expressions() -> Iterator[str]:
    """Every expression of the dashboard, with Grafana's own variables filled in."""
    board = json.loads(DASHBOARD.read_text())
    targets = [target["expr"] for panel in board["panels"] for target in panel.get("targets", ())]
    for expression in [*targets, *(annotation["expr"] for annotation in board["annotations"]["list"])]:
        filled = expression.replace("$__rate_interval", "1m").replace("$instance", ".*").replace("$campaign", ".*")
        assert "$" not in filled, filled
        yield filled


def test_the_rules_do_what_their_tests_say(promtool: str) -> None:
    """``promtool test rules``."""
    done = run(promtool, "test", "rules", RULE_TESTS.name, cwd=RULE_TESTS.parent)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_example_of_a_configuration_is_valid(promtool: str) -> None:
    """It names the rules, too."""
    done = run(promtool, "check", "config", "prometheus.yml", cwd=RULES.parent)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(RULE_LIST)} rules found" in done.stdout


@pytest.mark.parametrize("rule", RULE_LIST, ids=lambda rule: rule["name"])
def test_every_alert_is_tested_firing_and_silent(rule: dict[str, str]) -> None:
    """By name in the rules' tests."""
    asked = f'ALERTS{{alertname="{rule["name"]}", alertstate="firing"}}'
    outcomes = re.findall(re.escape(f"expr: {asked}") + r"\n.*\n\s+exp_samples:(.*)", RULE_TESTS.read_text())
    assert "" in outcomes, "it never fires"
    if rule["name"] != "BmnNoticeNotPlayable":
        assert " []" in outcomes or rule["name"] == "BmnDown", "it is never silent"


def subcommand(words: list[str]) -> click.Command:
    """The command that ``bmn`` and these words begin with."""
    found: click.Command = bmn
    context = click.Context(bmn)
    while isinstance(found, click.Group) and words and not words[0].startswith("-"):
        child = found.get_command(context, words.pop(0))
        assert child is not None
        found = child
    return found


@pytest.mark.parametrize("rule", RULE_LIST, ids=lambda rule: rule["name"])
def test_every_alert_says_what_happened_and_what_to_type(rule: dict[str, str]) -> None:
    """A ``bmn`` command that exists, with options that it has."""
    assert rule["severity"] in {"critical", "warning"}
    assert rule["summary"].endswith(".")
    commands = re.findall(r"\bbmn ((?:[a-z]+ ?)+(?:--?[a-z-]+[^;.,:]*)?)", rule["description"])
    known = set(bmn.list_commands(click.Context(bmn)))
    typed = [command.split() for command in commands if command.split()[0] in known]
    assert typed
    for words in typed:
        command = subcommand(words)
        options = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("-")} <= options, (rule["name"], words)


def test_technical_blocks_alarm_for_every_reason_that_is_ours() -> None:
    """The rest have alerts of their own: register, unknown campaign, clock, and verdicts that nobody waited for."""
    (rule,) = (rule for rule in RULE_LIST if rule["name"] == "BmnTechnicalBlocks")
    (listed,) = re.findall(r'reason=~"([a-z_|]+)"', rule["expr"])
    of_the_register = {Reason.REGISTER_MISSING, Reason.REGISTER_STALE}
    elsewhere = {*of_the_register, Reason.UNKNOWN_CAMPAIGN, Reason.CLOCK_UNSOUND, Reason.UNDELIVERED}
    assert set(listed.split("|")) == {reason for reason in Reason if reason.technical} - elsewhere


def test_rules_and_dashboard_speak_of_metrics_that_exist() -> None:
    """A misspelt name would be an alert that never fires."""
    known = series_names()
    for expression in [*(rule["expr"] for rule in RULE_LIST), *dashboard_expressions()]:
        used = set(_NAME.findall(re.sub(r'"[^"]*"', '""', expression)))
        assert used <= known, expression
        assert used or re.search(r"\b(?:up|ALERTS)\{", expression), expression


def test_each_expression_of_the_dashboard_can_be_read(promtool: str, tmp_path: Path) -> None:
    """By Prometheus itself, as rules."""
    recorded = [{"record": f"check:{at}", "expr": one} for at, one in enumerate(dashboard_expressions())]
    assert len(recorded) > 40
    (tmp_path / "check.yml").write_text(json.dumps({"groups": [{"name": "dashboard", "rules": recorded}]}))
    done = run(promtool, "check", "rules", tmp_path / "check.yml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_dashboard_shows_every_metric() -> None:
    """But those that only serve others: the build, for its variable, and the age of the newest record, for an alert."""
    shown = {name for expression in dashboard_expressions() for name in _NAME.findall(expression)}
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in shown}
    all_families = {
        re.sub(r"_(bucket|sum|count)$", "", name) for name in series_names() if not name.startswith("process_")
    }
    unseen = {"bmn_build_info", "bmn_journal_last_commit_timestamp_seconds", "bmn_registrations_oldest_pending_seconds"}
    assert all_families - families == unseen


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_each_panel_has_a_place_and_a_source(panel: dict[str, Any]) -> None:
    """Within the 24 columns, and no two in one place."""
    place = panel["gridPos"]
    assert 0 <= place["x"] < place["x"] + place["w"] <= 24
    assert panel["targets"]
    assert panel["datasource"]["uid"] == "${datasource}"
    others = [other["gridPos"] for other in PANELS if other is not panel]
    for other in others:
        apart_x = place["x"] + place["w"] <= other["x"] or other["x"] + other["w"] <= place["x"]
        apart_y = place["y"] + place["h"] <= other["y"] or other["y"] + other["h"] <= place["y"]
        assert apart_x or apart_y
