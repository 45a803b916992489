"""`bmn doctor` beside a real Asterisk: what its console says is read as it is meant."""

from __future__ import annotations

import json
import shlex
from typing import Any

from deploy.lab import Lab
from deploy.lab.agent_service import bmn
from tests.e2e.conftest import Site


def found(site: Site, lab: Lab) -> list[dict[str, Any]]:
    """What it says of Asterisk and of the service."""
    done = bmn(
        "doctor", "--json", "--asterisk-command", shlex.join(lab.pbx.program), environment=site.environment, check=False
    )
    return [finding for finding in json.loads(done.stdout) if finding["check"] in ("asterisk", "service")]


def test_a_real_asterisk_with_our_dialplan_is_well(site: Site, lab: Lab) -> None:
    """Contexts, keys and globals are there, and it asks the service of this configuration, which has no register."""
    asterisk, service = found(site, lab)
    assert (asterisk["state"], asterisk["todo"]) == ("ok", "")
    assert "answers on 127.0.0.1" in service["what"]


def test_what_a_real_asterisk_lacks_is_told(site: Site, lab: Lab) -> None:
    """A context that was taken out, and a global that points elsewhere, until the next reload."""
    lab.pbx.command("dialplan remove context bmn-key")
    lab.pbx.command("dialplan set global BMN_AGI agi://127.0.0.1:9")
    try:
        told = " ".join(finding["what"] for finding in found(site, lab))
        assert "does not have the context bmn-key" in told
        assert "asks agi://127.0.0.1:9" in told
    finally:
        lab.pbx.command("dialplan reload")
