"""A site where all is well, and what can be wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from agent.domain.condition import (
    AsteriskUnavailable,
    Audited,
    JournalCondition,
    SellersOnRecord,
    ServerMemory,
    ServiceUnavailable,
    Undelivered,
    Waiting,
)
from agent.domain.errors import JournalOutdated, JournalUnavailable, LookupUnavailable
from agent.domain.model import Generation
from agent.domain.phone_number import NUMBERING
from agent.domain.ports import SoundFault
from agent.domain.profile import PROFILES
from agent.entrypoints.expected_dialplan import EXPECTED
from agent.health_checks import check_site
from agent.site import Finding, Site, State
from tests.unit.builders import NOW, a_campaign, a_generation


class Server:
    """A Redis that is well, unless told otherwise."""

    def __init__(
        self,
        *,
        packs: bool | None = True,
        fails: str = "",
        ahead: timedelta = timedelta(),
        used: int = 100_000_000,
        limit: int = 0,
    ) -> None:
        self._packs = packs
        self._fails = fails
        self._ahead = ahead
        self._memory = ServerMemory(used=used, limit=limit or 8_000_000_000, limited=limit > 0)

    def require_no_eviction(self) -> None:
        """As told."""
        if self._fails:
            raise LookupUnavailable(self._fails)

    def packs_our_sets(self) -> bool | None:
        """As told."""
        return self._packs

    def memory(self) -> ServerMemory:
        """As told."""
        self.require_no_eviction()
        return self._memory

    def time(self) -> datetime:
        """As told."""
        self.require_no_eviction()
        return NOW + self._ahead


class Generations:
    """One load of the register, or none, or no answer."""

    def __init__(self, generation: Generation | None, *, fails: bool = False) -> None:
        self._generation = generation
        self._fails = fails

    def current(self, profile: str) -> Generation | None:
        """As told."""
        if self._fails:
            raise LookupUnavailable("away")
        return self._generation

    def memory(self, generation: str) -> int | None:
        """As much as a real register takes."""
        return 40_000_000


FEATURES_SHOWN = "\n".join(f"{name:32} no def   *7" for name in EXPECTED.features)
GLOBALS_SHOWN = """   BMN_AGI=agi://127.0.0.1:4573
   BMN_SCREEN_TIMEOUT=3
   BMN_DIAL_PREFIX=PJSIP/
   BMN_DIAL_SUFFIX=@trunk
   BMN_DIAL_TIMEOUT=60
   BMN_CAMPAIGN=
"""


MODULES_SHOWN = "\n".join(
    f"{name}.so{'':20} Something of Asterisk   0          Running          core" for name in EXPECTED.modules
)
DIALPLAN_SHOWN = """[ Context 'team' created by 'pbx_config' ]
  Include =>        'phones'                                      [pbx_config]

[ Context 'phones' created by 'pbx_config' ]
  '_X.' =>          1. Goto(bmn-outbound,${EXTEN},1)              [extensions.conf:9]

[ Context 'lobby' created by 'pbx_config' ]
  'bmn-outbound-x' => 1. Hangup()                                 [extensions.conf:9]
"""
ENDPOINTS: Mapping[str, tuple[str, str]] = {
    "trunk": ("from-carrier", "auto"),
    "100": ("phones", "rfc4733"),
    "101": ("team", "info"),
    "door": ("lobby", "none"),
}
"""Context and dtmf_mode."""


class Console:
    """An Asterisk that has all that it needs, unless told otherwise."""

    def __init__(
        self,
        *,
        lacks: tuple[str, ...] = (),
        shown: str = GLOBALS_SHOWN,
        features: str = FEATURES_SHOWN,
        modules: str = MODULES_SHOWN,
        endpoints: Mapping[str, tuple[str, str]] = ENDPOINTS,
    ) -> None:
        self._lacks = lacks
        self._globals = shown
        self._features = features
        self._modules = modules
        self._endpoints = endpoints

    def ask(self, command: str) -> str:
        """As Asterisk 22 prints it."""
        match command.split():
            case ["dialplan", "show", "globals"]:
                return self._globals
            case ["dialplan", "show"]:
                return DIALPLAN_SHOWN
            case ["module", "show"]:
                return self._modules
            case ["pjsip", "show", "endpoints"]:
                return " Endpoint:  <Endpoint/CID.>  <State.>\n" + "".join(
                    f" Endpoint:  {name}/{name}      Not in use    0 of inf\n" for name in self._endpoints
                )
            case ["pjsip", "show", "endpoint", name] if name in self._endpoints:
                context, mode = self._endpoints[name]
                return f" ParameterName   : ParameterValue\n context         : {context}\n dtmf_mode       : {mode}\n"
            case ["pjsip", "show", "endpoint", name]:
                return f"Unable to find object {name}.\n"
            case ["dialplan", "show", name] if name in self._lacks:
                return f"There is no existence of '{name}' context\n"
            case ["dialplan", "show", name]:
                return f"[ Context '{name}' created by 'pbx_config' ]\n"
            case _:
                return self._features


class DeadConsole:
    """An Asterisk that does not run."""

    def ask(self, command: str) -> str:
        """As told."""
        raise AsteriskUnavailable("Unable to connect to remote asterisk")


def nobody() -> bool:
    """A service that does not run."""
    raise ServiceUnavailable("Connection refused")


def a_condition(**changes: object) -> Callable[[], JournalCondition]:
    """A journal that is well, unless told otherwise."""
    well = {
        "problem": "",
        "checked": 1_000,
        "unended": 0,
        "newest_at": NOW,
        "writable": True,
        "exposed": (),
        "free_bytes": 50_000_000_000,
    }
    return lambda: JournalCondition(**{**well, **changes})  # type: ignore[arg-type]


def waiting(changes: int, age: timedelta | None) -> Callable[[], Waiting]:
    """An outbox with so many changes."""
    return lambda: Waiting(changes=changes, since=None if age is None else NOW - age)


def undelivered(*ages: timedelta) -> Callable[[], list[Undelivered]]:
    """Registrations of so long ago, due after ten days."""
    return lambda: [Undelivered(due=NOW - age + timedelta(days=10)) for age in ages]


def an_outbox_that_fails() -> Waiting:
    """As when Redis holds the lists of another journal."""
    raise LookupUnavailable("Redis holds the lists of another journal")


def an_old_journal() -> bool:
    """As when the software was replaced under a running service."""
    raise JournalOutdated("journal j.db is of an older version of this software")


class Sounds:
    """Prompts that are sound but for some, by ``language/name``."""

    def __init__(self, faults: Mapping[str, SoundFault] | None = None, *, default: SoundFault | None = None) -> None:
        self._faults = faults or {}
        self._default = default
        self.asked: list[str] = []

    def fault(self, name: str, language: str) -> SoundFault | None:
        """As told."""
        self.asked.append(f"{language}/{name}")
        return self._faults.get(f"{language}/{name}", self._default)


def a_journal_that_fails() -> bool:
    """As when its key is gone."""
    raise JournalUnavailable("journal j.db exists but its key does not")


def a_site(**changes: object) -> Site:
    """A site where all is well."""
    well = {
        "campaigns": {"energy": a_campaign()},
        "profiles": PROFILES,
        "journal_opens": lambda: True,
        "journal_condition": a_condition(),
        "waiting": waiting(0, None),
        "undelivered": undelivered(),
        "sellers_on_record": lambda: SellersOnRecord(unassigned=(), idle=()),
        "unread": lambda profile: "",
        "service_numbering": lambda: NUMBERING,
        "numbering": NUMBERING,
        "asterisk": Console(),
        "service_is_well": lambda: True,
        "listen": ("127.0.0.1", 4573),
        "synchronised": lambda: True,
        "in_force": lambda _: None,
        "audited": lambda: Audited(losses=frozenset(), expiring=0),
        "server": Server(),
        "generations": Generations(a_generation()),
        "sounds": Sounds(),
        "dialplan": EXPECTED,
        "clock": lambda: NOW,
    }
    return Site(**{**well, **changes})  # type: ignore[arg-type]


def ailments(site: Site) -> list[Finding]:
    """All that is not well."""
    return [finding for finding in check_site(site) if finding.state is not State.OK]


def the_ailment(site: Site) -> Finding:
    """The only thing that is not well."""
    (finding,) = ailments(site)
    return finding
