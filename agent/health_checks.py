"""Whether this site can screen calls and play what it must: one small check after another, each with what to do.

A new check is a function from ``Site`` to findings, and a place in ``CHECKS``. Nothing here changes anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from agent.choices import UNDO
from agent.domain.choice import AGENT_KEYS
from agent.domain.dialogue import prompt_names
from agent.domain.errors import ConfigurationError, JournalUnavailable, LookupUnavailable
from agent.domain.model import Campaign, Reason, Verdict
from agent.domain.ports import Generations, ListServer, SoundFault, SoundFaults
from agent.domain.profile import Profile

_WARN_AT: Final = 0.75
"""Share of a register's period after which a new load is due."""
_IMPORT: Final = "bmn register import FILE --as-of DATE"
_BUILD: Final = "dialplan/sounds/build --sellers bmn.toml, or correct sounds.path"
_WORDS: Final = {
    SoundFault.MISSING: "is missing",
    SoundFault.UNREADABLE: "is no readable WAV file",
    SoundFault.WRONG_FORMAT: "is not 8 kHz, mono, 16-bit",
    SoundFault.SILENT: "is silent",
    SoundFault.OTHER_FORMAT: "is there in another format too, so that what was heard of it cannot be proved",
}


class State(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one check found."""

    check: str
    state: State
    what: str
    todo: str = ""
    """What the operator can do; empty when all is well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What the checks look at."""

    campaigns: Mapping[str, Campaign]
    profiles: Mapping[str, Profile]
    journal_opens: Callable[[], bool]
    """False when there is no journal yet. Raises ``JournalUnavailable``."""
    server: ListServer
    generations: Generations
    sounds: SoundFaults
    dialplan_reasons: Sequence[str]
    """Reasons with which the dialplan itself blocks."""
    clock: Callable[[], datetime]


def check_site(site: Site) -> tuple[Finding, ...]:
    """Run every check."""
    return tuple(finding for check in CHECKS for finding in check(site))


def agent_prompt_names(dialplan_reasons: Iterable[str]) -> tuple[str, ...]:
    """Every sound file that an agent may hear, by name."""
    blocking = [reason for reason in Reason if reason.verdict is Verdict.BLOCK]
    words = [
        *(f"blocked_{reason}" for reason in (*blocking, *dialplan_reasons)),
        *(f"key_{key}" for key in (*sorted(AGENT_KEYS), UNDO, "hand_over", "rejected")),
    ]
    return ("blocked", *(word.replace("_", "-") for word in words))


def mistakes(error: ConfigurationError) -> tuple[Finding, ...]:
    """A configuration that cannot be read, so that nothing else can be checked."""
    todo = "correct the configuration"
    found = error.problems or (str(error),)
    return tuple(Finding(check="configuration", state=State.PROBLEM, what=what, todo=todo) for what in found)


def _check_configuration(site: Site) -> Iterator[Finding]:
    if not site.campaigns:
        yield Finding(
            check="configuration",
            state=State.PROBLEM,
            what="no campaign is configured, so every call is blocked (unknown_campaign)",
            todo="add [sellers.KEY] and [campaigns.KEY], as in deploy/sample/bmn.toml",
        )
        return
    sellers = {campaign.seller.key for campaign in site.campaigns.values()}
    what = f"{len(site.campaigns)} campaign(s) of {len(sellers)} seller(s)"
    yield Finding(check="configuration", state=State.OK, what=what)


def _check_journal(site: Site) -> Iterator[Finding]:
    try:
        opens = site.journal_opens()
    except JournalUnavailable as error:
        todo = "put back the journal and its key, or correct journal.path and journal.key_file"
        yield Finding(check="journal", state=State.PROBLEM, what=str(error), todo=todo)
        return
    if opens:
        yield Finding(check="journal", state=State.OK, what="opens, and the key is its own")
    else:
        todo = "bmn serve begins one; if there should be one already, correct journal.path"
        yield Finding(check="journal", state=State.WARNING, what="there is none yet", todo=todo)


def _check_redis(site: Site) -> Iterator[Finding]:
    try:
        site.server.require_no_eviction()
        packed = site.server.packs_our_sets()
    except LookupUnavailable as error:
        todo = "start Redis with the settings of deploy/redis.conf, or correct redis.url"
        yield Finding(check="redis", state=State.PROBLEM, what=str(error), todo=todo)
        return
    yield Finding(check="redis", state=State.OK, what="answers, and never evicts our numbers")
    if packed is None:
        what = "does not tell set-max-intset-entries, for CONFIG is forbidden"
    elif not packed:
        what = "set-max-intset-entries is too low: the register takes many times the memory"
    else:
        return
    todo = "set it to 10000 or more, as in deploy/redis.conf"
    yield Finding(check="redis", state=State.WARNING, what=what, todo=todo)


def _check_register(site: Site) -> Iterator[Finding]:
    used = [(site.profiles[campaign.profile], campaign.purpose) for campaign in site.campaigns.values()]
    needed = {profile.key: profile for profile, purpose in used if purpose not in profile.exempt_purposes}
    for profile in needed.values():
        try:
            yield _register_finding(site, profile)
        except LookupUnavailable:
            what, todo = f"{profile.key}: not known while Redis does not answer", "see what redis needs"
            yield Finding(check="register", state=State.PROBLEM, what=what, todo=todo)


def _register_finding(site: Site, profile: Profile) -> Finding:
    generation = site.generations.current(profile.key)
    if generation is None:
        what = f"{profile.key}: none is loaded, so calls that need it are blocked (register_missing)"
        return Finding(check="register", state=State.PROBLEM, what=what, todo=_IMPORT)
    period = timedelta(days=profile.load_valid_days)
    age = profile.age(generation, site.clock())
    what = (
        f"{profile.key}: {generation.count:,} numbers as of {generation.as_of}, "
        f"{age / timedelta(days=1):.1f} of {profile.load_valid_days} days old"
    )
    if age > period:
        what += ", so calls that need it are blocked (register_stale)"
        return Finding(check="register", state=State.PROBLEM, what=what, todo=_IMPORT)
    if age >= period * _WARN_AT:
        return Finding(check="register", state=State.WARNING, what=what, todo=_IMPORT)
    return Finding(check="register", state=State.OK, what=what)


def _check_consumer_sounds(site: Site) -> Iterator[Finding]:
    needed: dict[str, dict[str, None]] = {}
    for campaign in site.campaigns.values():
        profile = site.profiles[campaign.profile]
        if campaign.purpose in profile.notice_purposes:
            names = prompt_names(profile.notice, campaign)
            needed.setdefault(campaign.language, {}).update(dict.fromkeys(names))
    for language, wanted in needed.items():
        yield from _sound_findings(site, language, wanted, "consumers hear", State.PROBLEM, set(SoundFault))


def _check_agent_sounds(site: Site) -> Iterator[Finding]:
    names = agent_prompt_names(site.dialplan_reasons)
    for language in dict.fromkeys(campaign.language for campaign in site.campaigns.values()):
        serious = set(SoundFault) - {SoundFault.OTHER_FORMAT}  # nobody has to prove what an agent heard
        yield from _sound_findings(site, language, names, "agents hear", State.WARNING, serious)


def _sound_findings(
    site: Site, language: str, names: Iterable[str], whose: str, state: State, serious: set[SoundFault]
) -> Iterator[Finding]:
    faults = {name: site.sounds.fault(name, language) for name in names}
    bad = {name: fault for name, fault in faults.items() if fault in serious}
    if faults and all(fault is SoundFault.MISSING for fault in faults.values()):
        what = f"{language}: none of the {len(faults)} prompts that {whose} is there"
        yield Finding(check="sounds", state=state, what=what, todo=_BUILD)
        return
    for name, fault in bad.items():
        todo = "remove the other files of that name" if fault is SoundFault.OTHER_FORMAT else _BUILD
        yield Finding(check="sounds", state=state, what=f"{language}/bmn/{name}.wav {_WORDS[fault]}", todo=todo)
    if faults and not bad:
        what = f"{language}: all {len(faults)} prompts that {whose} are there and audible"
        yield Finding(check="sounds", state=State.OK, what=what)


CHECKS: Final[tuple[Callable[[Site], Iterator[Finding]], ...]] = (
    _check_configuration,
    _check_journal,
    _check_redis,
    _check_register,
    _check_consumer_sounds,
    _check_agent_sounds,
)
"""In the order in which they are shown."""
