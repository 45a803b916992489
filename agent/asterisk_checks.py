"""Whether Asterisk has our dialplan and our keys, can run them, and asks the service that runs here."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from agent.asterisk_endpoints import check_endpoints
from agent.domain.condition import Asterisk, AsteriskUnavailable
from agent.site import Finding, Site, State

_GLOBAL: Final = re.compile(r"^\s*(BMN_\w+)\s*=(.*)$", re.MULTILINE)
_MODULE: Final = re.compile(r"^(\w+)\.so .*\s\d+\s+Running\b", re.MULTILINE)
_AGI: Final = re.compile(r"agi://(.+):(\d+)/?")
_TIMEOUT: Final = re.compile(r"0*([.][5-9][0-9]*|[1-9]([.][0-9]*)?|10([.]0*)?)")
"""As in ``bmn-screen``: 0.5 to 10."""
_KEPT_IN: Final = re.compile(r"Local/[^/]*|(?i:local)/.*/[^/]*n[^/]*")
"""A Local channel to which the dialplan adds ``/n``, or that has it."""
_LOCAL_CONTEXT: Final = re.compile(r"(?i:local)/[^@]*@([^/]+).*")
_DIAL: Final = re.compile(r"\d+\. Dial\((.*)\)\s+\[", re.MULTILINE)
_OPTIONS: Final = re.compile(r"[^,]*,[^,]*,([^,]*).*")
"""Of the arguments of Dial(), once what stands in brackets is taken out."""
_BRACKETS: Final = re.compile(r"\$?\{[^{}]*\}|\$?\[[^\[\]]*\]|\([^()]*\)")
_ANYWHERE: Final = ("0.0.0.0", "::")  # noqa: S104  # compared with, not listened on
_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1", "[::1]")


def check_asterisk(site: Site) -> Iterator[Finding]:
    """By its console."""
    if site.asterisk is None:
        todo = "run bmn doctor where Asterisk is, or give --asterisk-command"
        what = "was not looked at: there is no command asterisk here"
        yield Finding(check="asterisk", state=State.WARNING, what=what, todo=todo)
        return
    try:
        looks = (_contexts, _features, _modules, _globals)
        found = [finding for look in looks for finding in look(site, site.asterisk)]
    except AsteriskUnavailable as error:
        todo = "start Asterisk, or run bmn doctor as a user that may use its console"
        yield Finding(check="asterisk", state=State.PROBLEM, what=f"cannot be asked: {error}", todo=todo)
        return
    yield from found
    if not found:
        yield Finding(
            check="asterisk", state=State.OK, what="has our contexts, keys and globals, and asks this service"
        )


def _contexts(site: Site, asterisk: Asterisk) -> Iterator[Finding]:
    missing = [
        name for name in site.dialplan.contexts if f"[ Context '{name}'" not in asterisk.ask(f"dialplan show {name}")
    ]
    if missing:
        todo = "#include extensions_bmn.conf in extensions.conf, then: asterisk -rx 'dialplan reload'"
        what = f"does not have the context{'s' if len(missing) > 1 else ''} {', '.join(missing)}"
        yield Finding(check="asterisk", state=State.PROBLEM, what=what, todo=todo)


def _features(site: Site, asterisk: Asterisk) -> Iterator[Finding]:
    known = set(re.findall(r"^\s*(bmn-[\w-]+)\s", asterisk.ask("features show"), re.MULTILINE))
    missing = [name for name in site.dialplan.features if name not in known]
    if missing:
        todo = "#include features_bmn.conf in features.conf, then: asterisk -rx 'module reload features'"
        what = f"does not have the agents' key{'s' if len(missing) > 1 else ''} {', '.join(missing)}"
        yield Finding(check="asterisk", state=State.PROBLEM, what=what, todo=todo)


def _modules(site: Site, asterisk: Asterisk) -> Iterator[Finding]:
    running = {*_MODULE.findall(asterisk.ask("module show"))}
    missing = [name for name in site.dialplan.modules if name not in running]
    if missing:
        todo = "load them, in modules.conf too: the end of a call and the agents' keys would not be recorded"
        what = f"does not run what our dialplan calls: {', '.join(missing)}"
        yield Finding(check="asterisk", state=State.PROBLEM, what=what, todo=todo)


def _globals(site: Site, asterisk: Asterisk) -> Iterator[Finding]:
    values = {name: value.strip() for name, value in _GLOBAL.findall(asterisk.ask("dialplan show globals"))}
    missing = [name for name in site.dialplan.globals if name not in values]
    if missing:
        todo = "#include globals_bmn.conf in extensions.conf, before [globals], then: asterisk -rx 'dialplan reload'"
        what = f"does not have the global{'s' if len(missing) > 1 else ''} {', '.join(missing)}"
        yield Finding(check="asterisk", state=State.PROBLEM, what=what, todo=todo)
    yield from _asks_elsewhere(site, values.get(site.dialplan.agi_global, ""))
    yield from _default_campaign(site, values.get(site.dialplan.campaign_global, ""))
    yield from _screening_limit(site, values)
    yield from _local_trunk(site, values)
    yield from _redirections(site, asterisk, values)
    prefix, suffix = values.get(site.dialplan.prefix_global, ""), values.get(site.dialplan.suffix_global, "")
    yield from check_endpoints(asterisk, prefix, suffix, site.dialplan.way_in)


def _asks_elsewhere(site: Site, agi: str) -> Iterator[Finding]:
    if not agi.startswith("agi:"):  # missing, which is told; or classic AGI scripts, by their folder
        return
    (host, port), name = site.listen, site.dialplan.agi_global
    match = _AGI.fullmatch(agi)
    same_host = match is not None and (match[1] == host or host in _ANYWHERE or {match[1], host} <= {*_LOOPBACK})
    if match is not None and same_host and int(match[2]) == port:
        return
    what = f"asks {agi} ({name}), and the service of this configuration listens on {host}:{port}"
    todo = f"set {name} in your [globals], or agi.listen"
    yield Finding(check="asterisk", state=State.PROBLEM, what=what, todo=todo)


def _default_campaign(site: Site, name: str) -> Iterator[Finding]:
    if name and name not in site.campaigns:
        what = f"gives calls that name none the campaign {name!r}, which is not configured"
        todo = f"set {site.dialplan.campaign_global} to one of {', '.join(sorted(site.campaigns)) or 'your campaigns'}"
        yield Finding(check="asterisk", state=State.PROBLEM, what=what, todo=todo)


def _screening_limit(site: Site, values: Mapping[str, str]) -> Iterator[Finding]:
    name = site.dialplan.timeout_global
    if name in values and not _TIMEOUT.fullmatch(values[name]):
        what = f"has {name} = {values[name]!r}, which is no number between 0.5 and 10: it counts as 3 seconds"
        yield Finding(check="asterisk", state=State.WARNING, what=what, todo=f"set {name} in your [globals]")


def _local_trunk(site: Site, values: Mapping[str, str]) -> Iterator[Finding]:
    """The dialplan adds ``/n``, but not to other options."""
    prefix, suffix = (values.get(name, "") for name in (site.dialplan.prefix_global, site.dialplan.suffix_global))
    if prefix.lower().startswith("local/") and not _KEPT_IN.fullmatch(prefix + suffix):
        what = f"dials by a Local channel without option n ({prefix}…{suffix}): it is taken out of an answered call"
        todo = f"add n to the options in {site.dialplan.suffix_global}, or no notice is played"
        yield Finding(check="asterisk", state=State.PROBLEM, what=what, todo=todo)


def _redirections(site: Site, asterisk: Asterisk, values: Mapping[str, str]) -> Iterator[Finding]:
    """Behind a Local channel it is the site's own Dial() that a network's SIP 302 comes to."""
    prefix, suffix = (values.get(name, "") for name in (site.dialplan.prefix_global, site.dialplan.suffix_global))
    found = _LOCAL_CONTEXT.fullmatch(prefix + suffix)
    if found and any(map(_follows, _DIAL.findall(asterisk.ask(f"dialplan show {found[1]}")))):
        what = f"calls whatever number the network redirects to (SIP 302): Dial() in {found[1]} has no option i"
        todo = "add i to the options there, for nobody screens that number"
        yield Finding(check="asterisk", state=State.PROBLEM, what=what, todo=todo)


def _follows(arguments: str) -> bool:
    """Whether a Dial() surely follows a redirection; options that are worked out in the call may hold anything."""
    before, plain = "", arguments
    while plain != before:
        before, plain = plain, _BRACKETS.sub(lambda found: "" if found[0].startswith("(") else "?", plain)
    options = _OPTIONS.fullmatch(plain)
    return options is None or not {*options[1]} & {"i", "?"}
