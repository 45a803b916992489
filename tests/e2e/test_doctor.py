"""`bmn doctor` beside a real Asterisk: what its console says is read as it is meant."""

from __future__ import annotations

import json
import re
import shlex
from typing import Any

from agent.entrypoints.expected_dialplan import EXPECTED
from deploy.lab import Lab
from deploy.lab.agent_service import bmn
from tests.e2e.conftest import Site
from tests.e2e.dialplan import steps


def found(site: Site, lab: Lab) -> list[dict[str, Any]]:
    """What it says of Asterisk and of the service."""
    done = bmn(
        "doctor", "--json", "--asterisk-command", shlex.join(lab.pbx.program), environment=site.environment, check=False
    )
    return [finding for finding in json.loads(done.stdout) if finding["check"] in ("asterisk", "service")]


def told(site: Site, lab: Lab) -> str:
    """The same in one text."""
    return " ".join(finding["what"] for finding in found(site, lab))


def test_a_real_asterisk_with_our_dialplan_is_well(site: Site, lab: Lab) -> None:
    """Contexts, keys and globals are there, and it asks the service of this configuration, which has no register."""
    asterisk, service = found(site, lab)
    assert (asterisk["state"], asterisk["todo"]) == ("ok", "")
    assert "answers on 127.0.0.1" in service["what"]


def test_each_module_that_our_dialplan_calls_is_looked_for(lab: Lab) -> None:
    """Every application and function of every step, as Asterisk itself says who provides it."""
    used: set[str] = set()
    for step in steps(lab):
        functions = re.findall(r"(?:\$\{|\bSet\()([A-Z_]{2,})\(", f"{step.application}({step.arguments})")
        used |= {f"function {name}" for name in functions}
        used |= {f"application {name}" for name in (step.application, *re.findall(r"\?([A-Z]\w+)\(", step.arguments))}
    shown = [lab.pbx.command(f"core show {what}") for what in sorted(used)]
    provided = [re.findall(r"^\[Provided By\]\n(\S+)", text, re.MULTILINE) for text in shown]
    modules = {module for found in provided for module in found} - {"builtin"}
    assert modules in ({*EXPECTED.modules}, set()), "older Asterisks do not say"


def test_keys_that_asterisk_cannot_hear_are_told(site: Site, lab: Lab) -> None:
    """A trunk that hears RTP events alone, a trunk that there is not, and phones that are not heard at all."""
    lab.pbx.command("dialplan set global BMN_DIAL_SUFFIX @phone-included")
    assert "hears the consumers' keys as RTP events" in told(site, lab)
    lab.pbx.command("dialplan set global BMN_DIAL_SUFFIX @no-such-trunk")
    assert "has no PJSIP endpoint no-such-trunk" in told(site, lab)
    lab.pbx.command("dialplan reload")
    phones = lab.pbx.directory / "etc/pjsip.conf"
    before = phones.read_text()
    phones.write_text(before.replace("context = from-agents", "dtmf_mode = none\ncontext = from-agents"))
    lab.pbx.command("module reload res_pjsip.so")
    try:
        assert "does not hear the agents' keys at agent-phones, phone-included" in told(site, lab)
    finally:
        phones.write_text(before)
        lab.pbx.command("module reload res_pjsip.so")


def test_a_local_trunk_that_follows_a_redirection_is_told(site: Site, lab: Lab) -> None:
    """SIP 302 comes to the site's own Dial() there, which needs option i."""
    lab.pbx.command("dialplan set global BMN_DIAL_PREFIX Local/")
    try:
        lab.pbx.command("dialplan set global BMN_DIAL_SUFFIX @lab-trunk-follows")
        assert "Dial() in lab-trunk-follows has no option i" in told(site, lab)
        lab.pbx.command("dialplan set global BMN_DIAL_SUFFIX @lab-trunk")
        assert "no option i" not in told(site, lab)
    finally:
        lab.pbx.command("dialplan reload")


def test_what_a_real_asterisk_lacks_is_told(site: Site, lab: Lab) -> None:
    """A context that was taken out, and a global that points elsewhere, until the next reload."""
    lab.pbx.command("dialplan remove context bmn-key")
    lab.pbx.command("dialplan set global BMN_AGI agi://127.0.0.1:9")
    try:
        assert "does not have the context bmn-key" in told(site, lab)
        assert "asks agi://127.0.0.1:9" in told(site, lab)
    finally:
        lab.pbx.command("dialplan reload")
