"""Whether Asterisk can hear the keys of consumers and agents: ``dtmf_mode`` of their PJSIP endpoints.

A trunk that hears one kind of keys loses all others without a trace: the consumer presses 1 and nothing is recorded.
Agents hear a confirmation of each key, or its absence, so of their endpoints only ``none`` is a finding. SIP INFO is
heard in every mode (res_pjsip_dtmf_info); tones in the sound only with ``inband``, and with ``auto`` where the other
side offers no RTP events (res_pjsip_sdp_rtp).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from agent.domain.condition import Asterisk
from agent.site import Finding, State

_TRUNK: Final = re.compile(r"PJSIP/(?:([^/]+)/sips?:.*|[^/]*@([^/]+).*)", re.IGNORECASE)
"""``PJSIP/TRUNK/sip:NUMBER@HOST`` or ``PJSIP/NUMBER@TRUNK``."""
_ENDPOINT: Final = re.compile(r"^ Endpoint:  ([^\s/<]+)", re.MULTILINE)
_PARAMETER: Final = re.compile(r"^ (\w+) +: (.*?)\s*$", re.MULTILINE)
_CONTEXT: Final = re.compile(r"^\[ Context '([^']+)' created by .*$", re.MULTILINE)
_ASKED_AT_MOST: Final = 50
"""Endpoints of agents; they come from one template, and each is a command of its own."""
_ALL: Final = "auto"
_NONE: Final = "none"
_ONLY: Final = {
    "rfc4733": "as RTP events, and not as tones",
    "auto_info": "as RTP events or SIP INFO, and not as tones",
    "inband": "as tones, and not as RTP events",
    "info": "as SIP INFO, and not as tones or RTP events",
}
_HEAR_ALL: Final = "set dtmf_mode = auto at that endpoint"


def check_endpoints(asterisk: Asterisk, prefix: str, suffix: str, way_in: str) -> Iterator[Finding]:
    """Of the trunk that stands in ``prefix`` or ``suffix``, and of phones whose context leads to ``way_in``."""
    trunk = _trunk(prefix, suffix)
    if trunk:
        yield from _trunk_findings(trunk, _parameters(asterisk, trunk))
    deaf = [name for name in _agents(asterisk, way_in) if name != trunk]
    if deaf:
        what = f"does not hear the agents' keys at {', '.join(deaf)} (dtmf_mode = none)"
        yield Finding(check="asterisk", state=State.PROBLEM, what=what, todo="set dtmf_mode = auto there")


def _trunk(prefix: str, suffix: str) -> str:
    """The endpoint that calls leave by; empty when it is none of PJSIP, or cannot be told."""
    found = _TRUNK.fullmatch(f"{prefix}+31{suffix}")
    return (found[1] or found[2]) if found else ""


def _trunk_findings(trunk: str, parameters: dict[str, str]) -> Iterator[Finding]:
    mode = parameters.get("dtmf_mode")
    if mode is None:
        what = f"has no PJSIP endpoint {trunk}, by which calls should leave"
        todo = "correct BMN_DIAL_SUFFIX, or pjsip.conf"
        yield Finding(check="asterisk", state=State.PROBLEM, what=what, todo=todo)
    elif mode == _NONE:
        what = f"does not hear the consumers' keys: the trunk {trunk} has dtmf_mode = none"
        yield Finding(check="asterisk", state=State.PROBLEM, what=what, todo=_HEAR_ALL)
    elif mode in _ONLY:
        what = f"hears the consumers' keys {_ONLY[mode]} (the trunk {trunk} has dtmf_mode = {mode})"
        yield Finding(check="asterisk", state=State.WARNING, what=what, todo=_HEAR_ALL)


def _agents(asterisk: Asterisk, way_in: str) -> list[str]:
    """Endpoints that cannot hear a key, of those whose context leads to ``way_in``."""
    contexts = _leading_to(way_in, asterisk.ask("dialplan show"))
    names = _ENDPOINT.findall(asterisk.ask("pjsip show endpoints"))[:_ASKED_AT_MOST]
    shown = {name: _parameters(asterisk, name) for name in names}
    return [name for name, has in shown.items() if has.get("context") in contexts and has.get("dtmf_mode") == _NONE]


def _leading_to(way_in: str, dialplan: str) -> set[str]:
    """The contexts of a dialplan, as the console shows it, that name ``way_in`` or one another on the way there."""
    _, *parts = _CONTEXT.split(dialplan)
    texts = dict(zip(parts[::2], parts[1::2], strict=True))
    found = {way_in}
    while True:
        named = re.compile(rf"(?<![\w-])(?:{'|'.join(map(re.escape, found))})(?![\w-])")
        more = {name for name, text in texts.items() if named.search(text)} - found
        if not more:
            return found
        found |= more


def _parameters(asterisk: Asterisk, endpoint: str) -> dict[str, str]:
    """Its settings, as the console shows them; empty when there is no such endpoint."""
    return dict(_PARAMETER.findall(asterisk.ask(f"pjsip show endpoint {endpoint}")))
