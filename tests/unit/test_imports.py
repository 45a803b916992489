"""Imports point one way: entrypoints -> bootstrap -> use cases -> domain, and adapters -> domain."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

AGENT = Path(__file__).parent.parent.parent / "agent"
MODULES = sorted(AGENT.rglob("*.py"))

MAY_IMPORT = {
    "domain": {"domain"},
    "use cases": {"domain", "use cases"},
    "adapters": {"domain", "adapters"},
    "config": {"domain", "config"},
    "logs": {"domain", "logs"},
    "dialplan_names": set[str](),
    "metrics": {"domain", "use cases", "metrics"},
    "state_metrics": {"domain", "use cases"},
    "bootstrap": {"domain", "use cases", "adapters", "config", "logs", "metrics", "bootstrap"},
    "entrypoints": {
        *("domain", "use cases", "adapters", "config", "logs", "metrics", "state_metrics", "dialplan_names"),
        *("bootstrap", "entrypoints"),
    },
}
SINGLE = {"config", "logs", "metrics", "state_metrics", "dialplan_names", "bootstrap"}
PURE = {"phonenumbers"}
"""The one library that the domain may use: it is data and pure functions."""
STANDARD_FOR_DOMAIN = {
    "collections", "contextlib", "dataclasses", "datetime", "enum", "hashlib", "hmac", "re", "time", "types", "typing",
    "unicodedata", "zoneinfo", "__future__",
}  # fmt: skip


def layer(module: str) -> str:
    """The layer of ``agent.…``."""
    parts = module.split(".")
    if len(parts) == 1:
        return "use cases"
    if parts[1].startswith("config_"):
        return "config"
    return parts[1] if parts[1] in {"domain", "adapters", "entrypoints", *SINGLE} else "use cases"


def imported(path: Path) -> set[str]:
    """Every module that ``path`` imports, also inside functions."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module is not None
            names.update(
                f"{node.module}.{alias.name}"
                if (AGENT.parent / node.module.replace(".", "/")).is_dir()
                else node.module
                for alias in node.names
            )
    return names


def module_name(path: Path) -> str:
    """Dotted."""
    return ".".join(path.relative_to(AGENT.parent).with_suffix("").parts).removesuffix(".__init__")


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_imports_point_inwards(path: Path) -> None:
    """A wrong arrow is a wrong design."""
    own = layer(module_name(path))
    wrong = {name for name in imported(path) if name.split(".")[0] == "agent" and layer(name) not in MAY_IMPORT[own]}
    assert not wrong, f"{module_name(path)} ({own}) imports {sorted(wrong)}"


@pytest.mark.parametrize("path", [path for path in MODULES if layer(module_name(path)) == "domain"], ids=module_name)
def test_the_domain_is_pure(path: Path) -> None:
    """No network, no disk, no framework."""
    outside = {name.split(".")[0] for name in imported(path)} - {"agent"} - PURE - STANDARD_FOR_DOMAIN
    assert not outside


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_modules_stay_readable(path: Path) -> None:
    """At 400 lines a module is split by subject."""
    assert len(path.read_text().splitlines()) < 400


@pytest.mark.parametrize("command", ["serve", "agi", "screen", "log"])
def test_what_must_start_at_once_leaves_the_big_libraries_alone(command: str) -> None:
    """Those of loads and scrubs take half a second, and start threads that would take the service's signals."""
    code = f"import sys, agent.bootstrap, agent.entrypoints.cli.{command}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"polars", "numpy", "duckdb"} & set(loaded)
