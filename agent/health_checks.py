"""Whether this site can screen calls and play what it must: one small check after another, each with what to do.

A new check is a function from ``Site`` to findings, and a place in ``CHECKS``. Nothing here changes anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from typing import Final

from agent.asterisk_checks import check_asterisk
from agent.choices import UNDO
from agent.domain.choice import AGENT_KEYS
from agent.domain.condition import JournalCondition
from agent.domain.dialogue import prompt_names
from agent.domain.errors import ConfigurationError, JournalOutdated, JournalUnavailable, LookupUnavailable
from agent.domain.model import Reason, Verdict
from agent.domain.ports import SoundFault
from agent.domain.profile import Profile
from agent.domain.wording import counted
from agent.operating_checks import check_calls, check_clock, check_outbox, check_registrations, check_service
from agent.redis_checks import check_lists, check_redis, check_redis_memory
from agent.register_status import AGEING_AT
from agent.seller_checks import check_sellers
from agent.site import Finding, Site, State, needed_profiles

_MB: Final = 1_000_000
_DISK_LOW: Final = 1_000 * _MB
_DISK_OUT: Final = 100 * _MB
_IMPORT: Final = "bmn register import FILE --as-of DATE"
_BUILD: Final = "dialplan/sounds/build --sellers bmn.toml, or correct sounds.path"
_WORDS: Final = {
    SoundFault.MISSING: "is missing",
    SoundFault.UNREADABLE: "is no readable WAV file",
    SoundFault.WRONG_FORMAT: "is not 8 kHz, mono, 16-bit",
    SoundFault.SILENT: "is silent",
    SoundFault.OTHER_FORMAT: "is there in another format too, so that what was heard of it cannot be proved",
}


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
    what = f"{counted(len(site.campaigns), 'campaign')} of {counted(len(sellers), 'seller')}"
    yield Finding(check="configuration", state=State.OK, what=what)


def _check_journal(site: Site) -> Iterator[Finding]:
    try:
        opens = site.journal_opens()
        condition = site.journal_condition() if opens else None
    except JournalOutdated as error:
        todo = "stop the service of the older version, and start this one"
        yield Finding(check="journal", state=State.WARNING, what=str(error), todo=todo)
        return
    except JournalUnavailable as error:
        todo = "put back the journal and its key, or correct journal.path and journal.key_file"
        yield Finding(check="journal", state=State.PROBLEM, what=str(error), todo=todo)
        return
    if condition is None:
        todo = "bmn serve begins one; if there should be one already, correct journal.path"
        yield Finding(check="journal", state=State.WARNING, what="there is none yet", todo=todo)
        return
    found = list(_journal_ailments(condition))
    yield from found
    if not found:
        what = f"opens, the key is its own, and its last {counted(condition.checked, 'record')} hold"
        yield Finding(check="journal", state=State.OK, what=what)


def _journal_ailments(condition: JournalCondition) -> Iterator[Finding]:
    if condition.problem:
        todo = "bmn journal verify, and keep a copy of the file as it is"
        yield Finding(check="journal", state=State.PROBLEM, what=condition.problem, todo=todo)
    if not condition.writable:
        todo = "give the file and its folder to the user that runs bmn serve"
        what = "cannot be written by this user: every call would be blocked (journal_unavailable)"
        yield Finding(check="journal", state=State.PROBLEM, what=what, todo=todo)
    for path in condition.exposed:
        what = f"others can read {path}, which holds telephone numbers or the key"
        yield Finding(check="journal", state=State.WARNING, what=what, todo=f"chmod 600 {path}")
    if condition.free_bytes < _DISK_LOW:
        state = State.PROBLEM if condition.free_bytes < _DISK_OUT else State.WARNING
        what = f"its disk has {condition.free_bytes / _MB:,.0f} MB left; when it is full, every call is blocked"
        yield Finding(check="journal", state=state, what=what, todo="make room, or move the journal (journal.path)")


def _check_register(site: Site) -> Iterator[Finding]:
    for profile in needed_profiles(site):
        try:
            yield _register_finding(site, profile)
        except LookupUnavailable:
            what, todo = f"{profile.key}: not known while Redis does not answer", "see what redis needs"
            yield Finding(check="register", state=State.PROBLEM, what=what, todo=todo)
        yield from _unread_findings(site, profile)


def _unread_findings(site: Site, profile: Profile) -> Iterator[Finding]:
    try:
        unread = site.unread(profile.key) if site.journal_opens() else ""
    except JournalUnavailable:  # reported by the check of the journal
        return
    if unread:
        what = f"{profile.key}: {unread}, so such a number would be dialled as not registered"
        todo = "import the same file, or a newer one: bmn register import FILE --as-of DATE"
        yield Finding(check="register", state=State.WARNING, what=what, todo=todo)


def _register_finding(site: Site, profile: Profile) -> Finding:
    generation = site.generations.current(profile.key)
    if generation is None:
        return _missing_register(site, profile)
    now, period = site.clock(), timedelta(days=profile.load_valid_days)
    age = profile.age(generation, now)
    what = (
        f"{profile.key}: {generation.count:,} numbers as of {generation.as_of}, "
        f"{age / timedelta(days=1):.1f} of {profile.load_valid_days} days old"
    )
    if profile.is_stale(generation, now):
        what += ", so calls that need it are blocked (register_stale)"
        return Finding(check="register", state=State.PROBLEM, what=what, todo=_IMPORT)
    if age >= period * AGEING_AT:
        return Finding(check="register", state=State.WARNING, what=what, todo=_IMPORT)
    return Finding(check="register", state=State.OK, what=what)


def _missing_register(site: Site, profile: Profile) -> Finding:
    try:
        lost = site.in_force(profile.key) if site.journal_opens() else None
    except JournalUnavailable:  # reported by the check of the journal
        lost = None
    if lost is None:
        what = f"{profile.key}: none is loaded, so calls that need it are blocked (register_missing)"
        return Finding(check="register", state=State.PROBLEM, what=what, todo=_IMPORT)
    what = f"{profile.key}: Redis lost {lost}, so calls that need it are blocked (register_missing)"
    todo = "bmn serve loads it again by itself, unless its files are elsewhere now (its log: repair.ended): bmn rebuild"
    return Finding(check="register", state=State.PROBLEM, what=what, todo=todo)


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
    names = agent_prompt_names(site.dialplan.reasons)
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
    check_sellers,
    check_redis,
    check_redis_memory,
    check_lists,
    check_outbox,
    _check_register,
    check_calls,
    check_registrations,
    check_clock,
    _check_consumer_sounds,
    _check_agent_sounds,
    check_asterisk,
    check_service,
)
"""In the order in which they are shown."""
