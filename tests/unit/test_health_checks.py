"""What the doctor finds: each check against values, and that every problem says what to do."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from agent.dialplan_names import DIALPLAN_REASONS
from agent.domain.dialogue import NL_BMNR_NOTICE, prompt_names
from agent.domain.errors import ConfigurationError, JournalUnavailable, LookupUnavailable
from agent.domain.model import Generation, Purpose, Sector
from agent.domain.ports import Progress, SoundFault
from agent.domain.profile import PROFILES
from agent.health_checks import Finding, Site, State, agent_prompt_names, check_site, mistakes
from tests.unit.builders import NOW, a_campaign, a_generation

PROMPTS = Path(__file__).resolve().parents[2] / "dialplan" / "sounds" / "prompts.toml"


class Server:
    """A Redis that is well, unless told otherwise."""

    def __init__(self, *, packs: bool | None = True, fails: str = "") -> None:
        self._packs = packs
        self._fails = fails

    def require_no_eviction(self) -> None:
        """As told."""
        if self._fails:
            raise LookupUnavailable(self._fails)

    def packs_our_sets(self) -> bool | None:
        """As told."""
        return self._packs


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

    def kept(self, profile: str) -> tuple[Generation, ...]:
        """Nobody asks."""
        raise NotImplementedError

    def load(self, generation: Generation, lists: object, progress: Progress) -> None:
        """A doctor changes nothing."""
        raise NotImplementedError

    def free(self, profile: str, retired: object) -> None:
        """A doctor changes nothing."""
        raise NotImplementedError


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
        "server": Server(),
        "generations": Generations(a_generation()),
        "sounds": Sounds(),
        "dialplan_reasons": DIALPLAN_REASONS,
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


def test_a_healthy_site_has_nothing_to_do() -> None:
    """Every check says that it looked."""
    findings = check_site(a_site())
    assert {finding.state for finding in findings} == {State.OK}
    assert {finding.check for finding in findings} == {"configuration", "journal", "redis", "register", "sounds"}
    assert [finding.todo for finding in findings if finding.todo] == []


@pytest.mark.parametrize(
    ("changes", "check", "state", "what"),
    [
        ({"campaigns": {}}, "configuration", State.PROBLEM, "no campaign is configured"),
        ({"journal_opens": a_journal_that_fails}, "journal", State.PROBLEM, "its key does not"),
        ({"journal_opens": lambda: False}, "journal", State.WARNING, "there is none yet"),
        ({"server": Server(fails="may evict")}, "redis", State.PROBLEM, "may evict"),
        ({"server": Server(packs=False)}, "redis", State.WARNING, "set-max-intset-entries is too low"),
        ({"server": Server(packs=None)}, "redis", State.WARNING, "does not tell set-max-intset-entries"),
        ({"generations": Generations(None)}, "register", State.PROBLEM, "register_missing"),
        ({"generations": Generations(None, fails=True)}, "register", State.PROBLEM, "not known"),
    ],
)
def test_each_ailment_is_found_alone_and_says_what_to_do(
    changes: dict[str, object], check: str, state: State, what: str
) -> None:
    """One thing wrong, one finding."""
    found = the_ailment(a_site(**changes))
    assert (found.check, found.state) == (check, state)
    assert what in found.what
    assert found.todo


@pytest.mark.parametrize(
    ("as_of", "state"),
    [
        (date(2026, 11, 23), State.OK),
        (date(2026, 11, 3), State.OK),  # 20.5 days
        (date(2026, 11, 2), State.WARNING),  # 21.5 days
        (date(2026, 10, 27), State.WARNING),  # 27.5 days
        (date(2026, 10, 26), State.PROBLEM),  # 28.5 days
    ],
)
def test_the_register_warns_from_three_quarters_of_its_period(as_of: date, state: State) -> None:
    """Of 28 days; past them calls are blocked."""
    (found,) = [
        finding
        for finding in check_site(a_site(generations=Generations(a_generation(as_of))))
        if finding.check == "register"
    ]
    assert found.state is state
    assert ("register_stale" in found.what) is (state is State.PROBLEM)
    assert bool(found.todo) is (state is not State.OK)


def test_campaigns_outside_the_register_need_neither_it_nor_a_notice() -> None:
    """Market research can go on without a load."""
    survey = a_campaign(Purpose.RESEARCH, sector=None)
    sounds = Sounds()
    assert ailments(a_site(campaigns={"survey": survey}, generations=Generations(None), sounds=sounds)) == []
    assert "nl/blocked" in sounds.asked
    assert [name for name in sounds.asked if "notice" in name] == []


@pytest.mark.parametrize("fault", SoundFault)
def test_a_bad_prompt_of_consumers_is_a_problem(fault: SoundFault) -> None:
    """Whatever is wrong with it."""
    found = the_ailment(a_site(sounds=Sounds({"nl/notice-acme": fault})))
    assert (found.check, found.state) == ("sounds", State.PROBLEM)
    assert "nl/bmn/notice-acme.wav" in found.what
    assert found.todo


@pytest.mark.parametrize("fault", set(SoundFault) - {SoundFault.OTHER_FORMAT})
def test_a_bad_prompt_of_agents_is_a_warning(fault: SoundFault) -> None:
    """The call goes well without it."""
    found = the_ailment(a_site(sounds=Sounds({"nl/key-rejected": fault})))
    assert (found.check, found.state) == ("sounds", State.WARNING)
    assert "nl/bmn/key-rejected.wav" in found.what


def test_agents_may_hear_another_format() -> None:
    """Nothing has to be proved of it, and 16 kHz sounds better."""
    faults = {f"nl/{name}": SoundFault.OTHER_FORMAT for name in agent_prompt_names(DIALPLAN_REASONS)}
    assert ailments(a_site(sounds=Sounds(faults))) == []


def test_a_folder_without_prompts_is_one_finding_for_each_listener() -> None:
    """Not sixty lines that say the same."""
    found = ailments(a_site(sounds=Sounds(default=SoundFault.MISSING)))
    assert [finding.state for finding in found] == [State.PROBLEM, State.WARNING]
    assert [finding.what[:20] for finding in found] == ["nl: none of the 16 p", "nl: none of the 27 p"]


def test_each_language_and_seller_is_looked_at() -> None:
    """A prompt of one seller says nothing of another's; what several campaigns share is asked once."""
    hart = replace(a_campaign(Purpose.CHARITY), seller=replace(a_campaign().seller, key="hart"), language="en")
    solar = a_campaign(key="solar")
    sounds = Sounds()
    check_site(a_site(campaigns={"energy": a_campaign(), "charity": hart, "solar": solar}, sounds=sounds))
    assert {"nl/notice-acme", "nl/sector-energy", "en/menu-hart", "en/sector-charities"} <= set(sounds.asked)
    assert {"en/notice-acme", "nl/notice-hart", "nl/sector-charities"} & set(sounds.asked) == set()
    assert len(sounds.asked) == len(set(sounds.asked))


def test_every_mistake_of_the_configuration_is_a_finding() -> None:
    """And so is a file that cannot be read at all."""
    found = mistakes(ConfigurationError("2 mistakes", ("agi.workers: too few", "reddis: no such setting")))
    assert [(finding.state, finding.what) for finding in found] == [
        (State.PROBLEM, "agi.workers: too few"),
        (State.PROBLEM, "reddis: no such setting"),
    ]
    assert [finding.what for finding in mistakes(ConfigurationError("there is no file"))] == ["there is no file"]


@pytest.mark.parametrize("sector", Sector)
def test_the_prompts_that_are_looked_for_are_those_that_are_built(sector: Sector) -> None:
    """Each by who hears it; nothing is built that is never looked for."""
    prompts = tomllib.loads(PROMPTS.read_text())["prompts"]
    per_seller = {name for name, prompt in prompts.items() if "{seller}" in prompt["nl"]}
    for listener, names in (
        ("consumer", prompt_names(NL_BMNR_NOTICE, replace(a_campaign(), sector=sector))),
        ("agent", agent_prompt_names(DIALPLAN_REASONS)),
    ):
        built = {name for name, prompt in prompts.items() if prompt["heard_by"] == listener}
        others = {f"sector-{other.replace('_', '-')}" for other in set(Sector) - {sector}}
        expected = {f"{name}-acme" if name in per_seller else name for name in built - others}
        assert set(names) == expected
        assert len(names) == len(expected)
