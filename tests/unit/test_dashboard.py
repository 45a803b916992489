"""The parts of the dashboard that need no site: words, throttle, sessions, charts, settings."""

from __future__ import annotations

import re
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.config_dashboard import Role
from agent.domain.call_story import NOTICE_NOT_DUE, NOTICE_TO_FOLLOW, NoticeResult
from agent.domain.choice import Charities, Scope
from agent.domain.errors import ConfigurationError
from agent.domain.model import DeliveryFailure, Reason, Verdict
from agent.domain.phone_number import mask_within
from agent.domain.profile import NL_BMNR
from agent.domain.registration import Action, Due, RegistrationState
from agent.entrypoints.dashboard import accounts, app
from agent.entrypoints.dashboard.accounts import Accounts, User, hash_password
from agent.entrypoints.dashboard.charts import nice_top, stacked
from agent.entrypoints.dashboard.language import Language, preferred, read_words
from agent.entrypoints.dashboard.pages.charts import PERIODS
from agent.entrypoints.dashboard.pages.register import Age, Freshness
from agent.entrypoints.dashboard.sessions import Sessions
from agent.entrypoints.dashboard.throttle import FREE_PER_ADDRESS, FREE_PER_USER, Throttle
from agent.register_status import RegisterStatus
from tests.conftest import CONFIGURATION
from tests.unit.test_config import load

HERE = Path(app.__file__).parent
WORDS = read_words(ZoneInfo("Europe/Amsterdam"))
SHOWN: dict[str, type[StrEnum]] = {
    "verdicts": Verdict,
    "reasons": Reason,
    "deliveries": DeliveryFailure,
    "notices": NoticeResult,
    "states": RegistrationState,
    "actions": Action,
    "charities": Charities,
    "scopes": Scope,
    "roles": Role,
    "dues": Due,
    "freshness": Freshness,
    "languages": Language,
}
WRITTEN = ("0612345678", "06-12 34 56 78", "+31 (6) 12345678", "0031612345678")
PASSWORD = "een lang wachtwoord"
TEMPLATES = {path.name for path in HERE.rglob("*.html")}
HASH = hash_password(PASSWORD)
USERS = f'[dashboard.users.anna]\npassword_hash = "{HASH}"\nrole = "compliance"\n'


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """Now."""
        return self.now


# --- words


@pytest.mark.parametrize("language", Language)
@pytest.mark.parametrize(
    ("section", "member"),
    [(section, str(member)) for section, members in SHOWN.items() for member in members]
    + [("notices", NOTICE_NOT_DUE), ("notices", NOTICE_TO_FOLLOW), *(("periods", period) for period in PERIODS)],
)
def test_every_stored_word_is_said_in_plain_words(language: Language, section: str, member: str) -> None:
    """In both languages; what is stored is for programs."""
    text = WORDS[language](f"{section}.{member}")
    assert text
    assert "_" not in text


def test_both_languages_have_the_same_texts_with_the_same_blanks() -> None:
    """Nothing is half translated."""
    dutch, english = WORDS[Language.NL].texts, WORDS[Language.EN].texts
    assert dutch.keys() == english.keys()
    for name in dutch:
        assert re.findall(r"\{\w+\}", dutch[name]) == re.findall(r"\{\w+\}", english[name]), name


def test_every_text_that_a_page_asks_for_is_there_and_no_other() -> None:
    """A text that is missing would be an error page; one that nobody shows is a burden."""
    sources = [*HERE.rglob("*.html"), *HERE.rglob("*.py")]
    sections = "|".join({name.split(".")[0] for name in WORDS[Language.NL].texts})
    literal = re.compile(rf"""\"((?:{sections})\.[a-z0-9_]+)\"""")
    asked = {name for path in sources for name in literal.findall(path.read_text())} - TEMPLATES
    walked = {name for name in WORDS[Language.NL].texts if name.split(".")[0] in {*SHOWN, "periods", "nav"}}
    assert asked - WORDS[Language.NL].texts.keys() == set()
    assert WORDS[Language.NL].texts.keys() - asked - walked == set()


def test_the_language_is_the_chosen_one_else_the_best_that_the_browser_names() -> None:
    """Dutch for who reads neither."""
    assert preferred("en", "nl") is Language.EN
    assert preferred(None, "en-GB,nl;q=0.5") is Language.EN
    assert preferred("xx", "de, en;q=0.3, nl;q=0.8") is Language.NL
    assert preferred(None, "fr") is Language.NL
    assert preferred(None, "en;q=0, nl;q=x") is Language.NL


def test_figures_and_days_are_written_as_the_language_does() -> None:
    """1.234,5 or 1,234.5."""
    dutch, english = WORDS[Language.NL], WORDS[Language.EN]
    assert (dutch.count(1234567), english.count(1234567)) == ("1.234.567", "1,234,567")
    assert (dutch.decimal(2.55), english.decimal(2.0)) == ("2,5", "2.0")
    assert dutch.of("reasons", "of_a_later_version") == "of_a_later_version"


# --- signing in


def test_guessing_is_slowed_down_more_and_more_for_a_user() -> None:
    """And the right password at last forgets it."""
    clock = Clock()
    throttle = Throttle(clock)
    waits = []
    for attempt in range(FREE_PER_USER + 12):
        waits.append(throttle.wait_s("anna", f"10.0.0.{attempt}"))
        clock.now += waits[-1]
        throttle.attempt("anna", f"10.0.0.{attempt}")
    assert waits[:FREE_PER_USER] == [0] * FREE_PER_USER
    assert waits[FREE_PER_USER:] == sorted(waits[FREE_PER_USER:])
    assert (waits[FREE_PER_USER], waits[-1]) == (2, 300)
    assert throttle.wait_s("other", "10.9.9.9") == 0
    throttle.succeeded("anna", "10.9.9.9")
    assert throttle.wait_s("anna", "10.9.9.9") == 0


def test_guessing_many_names_from_one_address_is_slowed_down_too() -> None:
    """A whole /64 of IPv6 is one address; after a quarter of an hour without attempts all is forgotten."""
    clock = Clock()
    throttle = Throttle(clock)
    for attempt in range(FREE_PER_ADDRESS):
        assert throttle.wait_s(f"user{attempt}", "2001:db8::1") == 0
        throttle.attempt(f"user{attempt}", f"2001:db8::{attempt:x}")
    assert throttle.wait_s("anna", "2001:db8::ffff") > 0
    assert throttle.wait_s("anna", "2001:db8:0:1::1") == 0
    clock.now += 900
    assert throttle.wait_s("anna", "2001:db8::ffff") == 0


def test_a_session_ends_when_it_is_idle_and_at_last_whatever_happens() -> None:
    """Idle 10, in all 25 seconds."""
    clock = Clock()
    sessions = Sessions(longest_s=25, idle_s=10, clock=clock)
    secret = sessions.begin(User(name="anna", role=Role.VIEWER))
    for _ in range(2):
        clock.now += 9
        assert sessions.find(secret) is not None
    clock.now += 6
    assert sessions.find(secret, use=False) is not None
    clock.now += 1
    assert sessions.find(secret) is None, "in all"
    secret = sessions.begin(User(name="anna", role=Role.VIEWER))
    clock.now += 9
    assert sessions.find(secret, use=False) is not None
    clock.now += 1
    assert sessions.find(secret) is None, "idle: looking on was no use of it"
    assert sessions.find("") is None


def test_sessions_are_bounded_and_a_number_has_one_word_in_each() -> None:
    """The oldest goes; a word of one session means nothing in another."""
    sessions = Sessions(longest_s=25, idle_s=10, clock=Clock())
    first, *others = [sessions.begin(User(name="anna", role=Role.VIEWER)) for _ in range(1001)]
    assert sessions.find(first) is None
    session, other = sessions.find(others[0]), sessions.find(others[1])
    assert session
    assert other
    word = session.hide("+31612345678")
    assert session.hide("+31612345678") == word
    assert session.hidden(word) == "+31612345678"
    assert other.hidden(word) is None
    assert "612345678" not in word


def test_a_name_that_does_not_exist_takes_the_same_work(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One verification with the parameters of the users, whoever it is."""
    checked, real = list[str](), accounts._verified

    def counted(expected: str, password: str) -> bool:
        checked.append(expected)
        return real(expected, password)

    monkeypatch.setattr(accounts, "_verified", counted)
    known = Accounts(load(tmp_path, CONFIGURATION + USERS).dashboard.users)
    assert known.check("anna", PASSWORD) == User(name="anna", role=Role.COMPLIANCE)
    assert known.check("anna", "fout") is None
    assert known.check("nobody", PASSWORD) is None
    assert known.check("anna", PASSWORD + "x" * 2_000) is None
    parameters = {one.rsplit("$", 2)[0] for one in checked}
    assert (len(checked), parameters) == (4, {HASH.rsplit("$", 2)[0]})


# --- settings


def test_users_are_read_from_the_configuration(tmp_path: Path) -> None:
    """A viewer unless it is said."""
    settings = load(tmp_path, CONFIGURATION + USERS + f'[dashboard.users.vera]\npassword_hash = "{HASH}"\n').dashboard
    assert {name: user.role for name, user in settings.users.items()} == {"anna": Role.COMPLIANCE, "vera": Role.VIEWER}
    assert settings.listen == ("127.0.0.1", 8573)


def test_it_listens_beyond_this_machine_behind_a_proxy_alone(tmp_path: Path) -> None:
    """It speaks plain HTTP."""
    for listen in ("0.0.0.0:8573", "10.1.2.3:8573", "[::]:8573"):
        with pytest.raises(ConfigurationError) as caught:
            load(tmp_path, BMN_DASHBOARD__LISTEN=listen)
        assert "behind_proxy = true" in "\n".join(caught.value.problems)
        load(tmp_path, BMN_DASHBOARD__LISTEN=listen, BMN_DASHBOARD__BEHIND_PROXY="true")
    load(tmp_path, BMN_DASHBOARD__LISTEN="[::1]:8573")


def test_all_mistakes_of_the_dashboard_are_told_and_no_password(tmp_path: Path) -> None:
    """Somebody puts the password itself where its hash belongs."""
    text = """
    [dashboard]
    listen = "localhost"
    root_path = "bmn/"
    trusted_proxies = ["proxy.example"]
    session_minutes = 0
    [dashboard.users.anna]
    password_hash = "geheim woord"
    role = "boss"
    [dashboard.users.bert]
    """
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, text)
    told = "\n".join(caught.value.problems)
    for part in (
        "dashboard.listen: an address to listen on is HOST:PORT",
        "dashboard.root_path: a root path",
        "dashboard.trusted_proxies.0: a proxy is an address",
        "dashboard.session_minutes",
        "dashboard.users.anna.password_hash: is not an argon2id hash: make one with bmn dashboard hash-password",
        "dashboard.users.anna.role",
        "dashboard.users.bert.password_hash: is missing",
    ):
        assert part in told
    assert "geheim" not in told
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, f'[dashboard.users."Anna B"]\npassword_hash = "{HASH}"\n')
    assert "user 'Anna B': a name is" in "\n".join(caught.value.problems)


# --- figures and numbers


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)), min_size=1, max_size=40))
def test_a_chart_draws_every_figure_to_scale(figures: list[tuple[int, int]]) -> None:
    """Pieces stand on each other, none leaves the picture, and twice as many is twice as high."""
    chart = stacked(
        [str(column) for column in range(len(figures))], {"a": [a for a, _ in figures], "b": [b for _, b in figures]}
    )
    top = max(a + b for a, b in figures)
    assert sum(bar.count for bar in chart.bars) == sum(a + b for a, b in figures)
    for bar in chart.bars:
        assert 0 <= bar.y <= bar.y + bar.height <= chart.floor + 0.02
        assert chart.left <= bar.x <= bar.x + bar.width <= chart.width
        assert bar.height == pytest.approx((chart.floor - chart.scale[-1].at) * bar.count / nice_top(top), abs=0.01)


@given(st.integers(0, 10**9))
def test_a_scale_holds_the_highest_figure_in_four_whole_steps(most: int) -> None:
    """And wastes no more than it must."""
    assert nice_top(most) >= most
    assert nice_top(most) % 4 == 0
    assert nice_top(most) <= max(4, 2.5 * most)


@given(st.text(max_size=20), st.sampled_from(WRITTEN), st.text(max_size=20))
def test_a_number_is_found_in_whatever_somebody_wrote(before: str, number: str, after: str) -> None:
    """Notes hold numbers that nobody asked for."""
    digits = re.sub(r"\D", "", mask_within(f"{before} {number} {after}"))
    assert "12345678" not in digits


def test_the_page_takes_over_when_a_load_is_ageing() -> None:
    """``bmn register status`` and the page say the same of a load: the rule stands where the status is made."""
    for ageing, freshness in ((True, Freshness.AGEING), (False, Freshness.FRESH)):
        status = RegisterStatus(
            profile="nl-bmnr",
            current=None,
            valid_until=None,
            stale=False,
            age=timedelta(days=20),
            ageing=ageing,
            rejected=0,
            read_with=(),
            kept=(),
            problems=(),
        )
        assert Age.of(status, NL_BMNR).freshness is freshness
