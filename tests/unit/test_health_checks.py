"""What the doctor finds: each check against values, and that every problem says what to do."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest

from agent.dialplan_names import DIALPLAN_REASONS
from agent.domain.condition import Audited, Loss
from agent.domain.dialogue import NL_BMNR_NOTICE, prompt_names
from agent.domain.errors import ConfigurationError
from agent.domain.model import Purpose, Sector
from agent.domain.ports import SoundFault
from agent.health_checks import agent_prompt_names, check_site, mistakes
from agent.site import State
from tests.unit.builders import NOW, a_campaign, a_generation
from tests.unit.healthy_site import (
    ENDPOINTS,
    FEATURES_SHOWN,
    GLOBALS_SHOWN,
    MODULES_SHOWN,
    Console,
    DeadConsole,
    Generations,
    Server,
    Sounds,
    a_condition,
    a_journal_that_fails,
    a_site,
    ailments,
    an_old_journal,
    an_outbox_that_fails,
    nobody,
    the_ailment,
    undelivered,
    waiting,
)

PROMPTS = Path(__file__).resolve().parents[2] / "dialplan" / "sounds" / "prompts.toml"


def a_trunk(prefix: str = "PJSIP/", suffix: str = "@trunk", *, mode: str = "auto", timeout: str = "3") -> Console:
    """An Asterisk that dials so."""
    changes = {
        "PREFIX=PJSIP/": f"PREFIX={prefix}",
        "SUFFIX=@trunk": f"SUFFIX={suffix}",
        "TIMEOUT=3": f"TIMEOUT={timeout}",
    }
    shown = GLOBALS_SHOWN
    for old, new in changes.items():
        shown = shown.replace(old, new)
    return Console(shown=shown, endpoints={**ENDPOINTS, "trunk": ("from-carrier", mode)})


@pytest.mark.parametrize(
    "well",
    [
        a_trunk("PJSIP/trunk/sip:", "@10.0.0.1"),
        a_trunk("Local/", "@out"),
        a_trunk("Local/", "@out/n"),
        a_trunk("local/0", "@out/mn"),
        a_trunk("DAHDI/g1/", ""),
        a_trunk(timeout="0.5"),
        a_trunk(timeout="10"),
    ],
)
def test_ways_to_dial_that_are_well(well: Console) -> None:
    """Where there is no PJSIP endpoint to look at none is looked at."""
    assert ailments(a_site(asterisk=well)) == []


def test_a_healthy_site_has_nothing_to_do() -> None:
    """Every check says that it looked."""
    findings = check_site(a_site())
    assert {finding.state for finding in findings} == {State.OK}
    assert {finding.check for finding in findings} == {
        *("configuration", "journal", "sellers", "redis", "lists", "outbox", "register", "registrations"),
        *("calls", "clock", "sounds", "asterisk", "service"),
    }
    assert [finding.todo for finding in findings if finding.todo] == []


def test_a_registration_with_more_than_three_days_left_is_not_due_soon() -> None:
    """As on the dashboard and in the metrics."""
    assert ailments(a_site(undelivered=undelivered(timedelta(days=6.9)))) == []


def an_audit(*losses: Loss, expiring: int = 0) -> Audited:
    """What was found missing."""
    return Audited(losses=frozenset(losses), expiring=expiring)


@pytest.mark.parametrize(
    ("changes", "check", "state", "what"),
    [
        ({"campaigns": {}}, "configuration", State.PROBLEM, "no campaign is configured"),
        ({"journal_opens": a_journal_that_fails}, "journal", State.PROBLEM, "its key does not"),
        ({"journal_opens": lambda: False}, "journal", State.WARNING, "there is none yet"),
        ({"server": Server(fails="may evict")}, "redis", State.PROBLEM, "may evict"),
        ({"journal_opens": an_old_journal}, "journal", State.WARNING, "older version"),
        ({"journal_condition": a_condition(problem="record 9 was altered")}, "journal", State.PROBLEM, "record 9"),
        (
            {"journal_condition": a_condition(unended=3)},
            "calls",
            State.WARNING,
            "3 allowed calls",
        ),
        ({"journal_condition": a_condition(writable=False)}, "journal", State.PROBLEM, "cannot be written"),
        ({"journal_condition": a_condition(exposed=("j.db",))}, "journal", State.WARNING, "others can read j.db"),
        ({"journal_condition": a_condition(free_bytes=900_000_000)}, "journal", State.WARNING, "900 MB left"),
        ({"journal_condition": a_condition(free_bytes=90_000_000)}, "journal", State.PROBLEM, "90 MB left"),
        ({"journal_condition": a_condition(newest_at=NOW + timedelta(minutes=1))}, "clock", State.PROBLEM, "set back"),
        ({"journal_condition": a_condition(newest_at=NOW + timedelta(days=1))}, "clock", State.PROBLEM, "trust-clock"),
        ({"synchronised": lambda: False}, "clock", State.WARNING, "not synchronised"),
        ({"synchronised": lambda: None}, "clock", State.WARNING, "does not say"),
        ({"server": Server(ahead=timedelta(seconds=20))}, "clock", State.WARNING, "20 s ahead"),
        ({"server": Server(ahead=timedelta(hours=-2))}, "clock", State.PROBLEM, "7200 s behind"),
        ({"server": Server(limit=130_000_000)}, "redis", State.WARNING, "maxmemory is 130 MB"),
        ({"server": Server(used=7_970_000_000)}, "redis", State.WARNING, "the machine has 8,000 MB"),
        ({"waiting": waiting(3, timedelta(seconds=5))}, "outbox", State.WARNING, "3 changes not in Redis"),
        ({"waiting": waiting(1, timedelta(minutes=2))}, "outbox", State.PROBLEM, "1 change not in Redis"),
        ({"waiting": an_outbox_that_fails}, "outbox", State.PROBLEM, "another journal"),
        ({"undelivered": undelivered(timedelta(days=8))}, "registrations", State.WARNING, "1 registration due soon"),
        ({"undelivered": undelivered(timedelta(days=7.1))}, "registrations", State.WARNING, "1 registration due soon"),
        ({"undelivered": undelivered(timedelta(days=11))}, "registrations", State.PROBLEM, "past the time"),
        ({"service_is_well": nobody}, "service", State.WARNING, "127.0.0.1:4573"),
        ({"service_is_well": lambda: False}, "service", State.PROBLEM, "degraded"),
        ({"asterisk": None}, "asterisk", State.WARNING, "not looked at"),
        ({"asterisk": DeadConsole()}, "asterisk", State.PROBLEM, "Unable to connect"),
        ({"asterisk": Console(lacks=("bmn-key",))}, "asterisk", State.PROBLEM, "the context bmn-key"),
        ({"asterisk": Console(lacks=("bmn-key", "bmn-finish"))}, "asterisk", State.PROBLEM, "contexts bmn-key, bmn"),
        (
            {"asterisk": Console(features=FEATURES_SHOWN.replace("bmn-undo ", "my-undo "))},
            "asterisk",
            State.PROBLEM,
            "the agents' key bmn-undo",
        ),
        (
            {"asterisk": Console(shown=GLOBALS_SHOWN.replace("SUFFIX", "S"))},
            "asterisk",
            State.PROBLEM,
            "BMN_DIAL_SUFFIX",
        ),
        ({"asterisk": Console(shown=GLOBALS_SHOWN.replace(":4573", ":4574"))}, "asterisk", State.PROBLEM, ":4574"),
        (
            {"asterisk": Console(shown=GLOBALS_SHOWN.replace("127.0.0.1", "10.0.0.9"))},
            "asterisk",
            State.PROBLEM,
            "10.0",
        ),
        (
            {"asterisk": Console(shown=GLOBALS_SHOWN.replace("CAMPAIGN=", "CAMPAIGN=enrgy"))},
            "asterisk",
            State.PROBLEM,
            "'enrgy'",
        ),
        (
            {"asterisk": Console(modules=MODULES_SHOWN.replace("app_originate", "app_"))},
            "asterisk",
            State.PROBLEM,
            "app_or",
        ),
        (
            {"asterisk": Console(modules=MODULES_SHOWN.replace("Running", "Not Running"))},
            "asterisk",
            State.PROBLEM,
            "func_volume",
        ),
        ({"asterisk": a_trunk(timeout="0.")}, "asterisk", State.WARNING, "BMN_SCREEN_TIMEOUT = '0.'"),
        ({"asterisk": a_trunk(timeout="1e9")}, "asterisk", State.WARNING, "counts as 3 seconds"),
        ({"asterisk": a_trunk("Local/", "@trunk/m")}, "asterisk", State.PROBLEM, "without option n"),
        ({"asterisk": a_trunk("local/", "@trunk")}, "asterisk", State.PROBLEM, "without option n"),
        ({"asterisk": a_trunk(suffix="@other")}, "asterisk", State.PROBLEM, "no PJSIP endpoint other"),
        ({"asterisk": a_trunk("PJSIP/other/sip:", "@10.0.0.1")}, "asterisk", State.PROBLEM, "no PJSIP endpoint other"),
        ({"asterisk": a_trunk(mode="none")}, "asterisk", State.PROBLEM, "does not hear the consumers' keys"),
        ({"asterisk": a_trunk(mode="rfc4733")}, "asterisk", State.WARNING, "as RTP events, and not as tones"),
        ({"asterisk": a_trunk(mode="auto_info")}, "asterisk", State.WARNING, "as RTP events or SIP INFO"),
        ({"asterisk": a_trunk(mode="inband")}, "asterisk", State.WARNING, "as tones, and not as RTP events"),
        ({"asterisk": a_trunk(mode="info")}, "asterisk", State.WARNING, "as SIP INFO"),
        (
            {"asterisk": Console(endpoints={**ENDPOINTS, "100": ("phones", "none"), "101": ("team", "none")})},
            "asterisk",
            State.PROBLEM,
            "the agents' keys at 100, 101",
        ),
        ({"server": Server(packs=False)}, "redis", State.WARNING, "set-max-intset-entries is too low"),
        ({"server": Server(packs=None)}, "redis", State.WARNING, "does not tell set-max-intset-entries"),
        ({"audited": lambda: an_audit(Loss.LISTS)}, "lists", State.PROBLEM, "opt-outs, customers"),
        ({"audited": lambda: an_audit(Loss.REGISTER)}, "lists", State.PROBLEM, "the register in force"),
        ({"audited": lambda: an_audit(expiring=3)}, "lists", State.WARNING, "3 keys in Redis would expire"),
        ({"generations": Generations(None)}, "register", State.PROBLEM, "none is loaded"),
        ({"generations": Generations(None), "in_force": lambda _: "x"}, "register", State.PROBLEM, "Redis lost x"),
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
    ("shown", "listen"),
    [
        (GLOBALS_SHOWN.replace("127.0.0.1", "localhost"), ("127.0.0.1", 4573)),
        (GLOBALS_SHOWN, ("0.0.0.0", 4573)),
        (GLOBALS_SHOWN.replace("agi://127.0.0.1:4573", "/opt/bmn/agi"), ("127.0.0.1", 4573)),
        (GLOBALS_SHOWN.replace("CAMPAIGN=", "CAMPAIGN=energy"), ("127.0.0.1", 4573)),
    ],
)
def test_other_ways_to_ask_this_service_are_no_ailment(shown: str, listen: tuple[str, int]) -> None:
    """Loopback by another name, all addresses, classic AGI scripts, a campaign that is there."""
    assert ailments(a_site(asterisk=Console(shown=shown), listen=listen)) == []


def test_a_load_of_the_future_is_stale() -> None:
    """Nobody knows how old it is."""
    found = the_ailment(a_site(generations=Generations(a_generation(date(2026, 11, 25)))))
    assert (found.check, found.state) == ("register", State.PROBLEM)
    assert "register_stale" in found.what


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


@pytest.mark.parametrize("fault", sorted(set(SoundFault) - {SoundFault.OTHER_FORMAT}))
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
    assert [finding.what[:20] for finding in found] == [
        "nl: none of the 16 p",
        f"nl: none of the {len(agent_prompt_names(DIALPLAN_REASONS))} p",
    ]


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
