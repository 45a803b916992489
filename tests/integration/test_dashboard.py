"""The dashboard over a real journal and a real Redis: who gets in, by which forms."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog
from starlette.routing import Route
from starlette.testclient import TestClient

from agent.bootstrap import Application, bootstrap
from agent.config import load_settings
from agent.domain.deadline import Deadline
from agent.domain.journal_events import EventType
from agent.entrypoints.dashboard.accounts import hash_password
from agent.entrypoints.dashboard.app import create_app, routes
from agent.entrypoints.dashboard.throttle import FREE_PER_USER
from agent.screening import ScreenRequest
from tests.conftest import load_register, write_configuration
from tests.unit.test_dashboard import Clock

PASSWORD = "een lang wachtwoord"
HASH = hash_password(PASSWORD)
REGISTERED = "0612345678"
DIGITS = "612345678"
PAGES = ("/", "/?show=all", "/history", "/charts", "/agents", "/register", "/registrations", "/dossier")


class Person:
    """A browser with somebody behind it."""

    def __init__(self, client: TestClient) -> None:
        self.client = client

    def sign_in(self, name: str, password: str = PASSWORD, **fields: str) -> int:
        """Fill in the form; returns the status of what came."""
        page = self.client.get("/sign-in").text
        data = {"name": name, "password": password, "csrf": token(page), **fields}
        return self.client.post("/sign-in", data=data).status_code

    def get(self, path: str, status: int = 200) -> str:
        """A page."""
        answer = self.client.get(path)
        assert answer.status_code == status, answer.text
        return answer.text

    def post(self, path: str, status: int = 200, **fields: str) -> str:
        """A form, with the token of the session."""
        answer = self.client.post(path, data={"csrf": token(self.get("/dossier")), **fields})
        assert answer.status_code == status, answer.text
        return answer.text


class Site:
    """A wired application with a dashboard on it."""

    def __init__(self, app: Application, clock: Clock) -> None:
        self.app = app
        self.clock = clock
        self.asgi = create_app(app, clock)

    def person(self, name: str = "", **headers: str) -> Person:
        """A new browser; with ``name``, signed in."""
        headers = {"accept-language": "en", **{key.replace("_", "-"): value for key, value in headers.items()}}
        base = "https://bmn.example" if self.app.settings.dashboard.behind_proxy else "http://127.0.0.1:8573"
        person = Person(TestClient(self.asgi, base_url=base, headers=headers))
        if name:
            assert person.sign_in(name) == 200
        return person

    def screen(self, number: str, campaign: str = "energy", agent: str = "agent-7") -> str:
        """Screen a call; returns its id."""
        asked = ScreenRequest(number=number, campaign=campaign, agent=agent, source="fastagi")
        return self.app.screening.screen(asked, Deadline.after_ms(5_000))[0].call_id

    def records(self, event_type: EventType) -> list[dict[str, object]]:
        """What the journal holds of a type."""
        return [dict(record.body) for record in self.app.journal.records("type = ?", (event_type,))]


def token(page: str) -> str:
    """The token of the first form of a page."""
    found = re.search(r'name="csrf" value="([^"]+)"', page)
    assert found
    return found[1]


@pytest.fixture
def make_site(tmp_path: Path, redis_url: str) -> Iterator[Callable[..., Site]]:
    """Makes a site with a user of each role."""
    opened: list[Application] = []

    def make(**environment: str) -> Site:
        path = write_configuration(tmp_path)
        users = (("vera", "viewer"), ("carla", "compliance"))
        path.write_text(
            path.read_text()
            + "".join(f'[dashboard.users.{name}]\npassword_hash = "{HASH}"\nrole = "{role}"\n' for name, role in users)
        )
        app = bootstrap(load_settings({"BMN_CONFIG": str(path), "BMN_REDIS_URL": redis_url, **environment}))
        opened.append(app)
        load_register(app, f"number,blocked\n{REGISTERED},all\n")
        return Site(app, Clock())

    yield make
    for app in opened:
        app.close()


@pytest.fixture
def site(make_site: Callable[..., Site]) -> Site:
    """A site with a blocked and an allowed call."""
    site = make_site()
    site.screen(REGISTERED)
    site.screen("0612349999")
    return site


# --- the door


def test_who_has_not_signed_in_sees_nothing_but_the_form(site: Site) -> None:
    """Every route, also those that will be added: to the form, or refused; and no number, no name, no count."""
    client = site.person().client
    client.follow_redirects = False
    public = {"/sign-in", "/language", "/health"}
    walked = 0
    for route in routes():
        if isinstance(route, Route) and route.path not in public:
            for method in route.methods or ():
                answer = client.request(method, route.path.replace("{word}", "x"))
                assert answer.status_code == 303, (method, route.path)
                assert answer.headers["location"].startswith("/sign-in"), (method, route.path)
                walked += 1
    assert walked > 20
    assert client.get("/live/events", headers={"accept": "text/event-stream"}).status_code == 401


def test_the_form_lets_in_and_leads_to_where_one_wanted_to_go(site: Site) -> None:
    """With a new secret; and nowhere else than here."""
    person = site.person()
    assert "Sign in" in person.get("/charts")
    person.client.cookies.set("bmn-session", "planted", domain="127.0.0.1")
    assert person.sign_in("vera", back="/charts") == 200
    assert person.client.cookies["bmn-session"] != "planted"
    assert "<h1>Charts</h1>" in person.get("/charts")
    for elsewhere in ("//evil.example", "https://evil.example", "/\\evil.example", "/x\r\nSet-Cookie: a=b"):
        other = site.person()
        other.client.follow_redirects = False
        data = {"name": "vera", "password": PASSWORD, "csrf": token(other.get("/sign-in")), "back": elsewhere}
        assert other.client.post("/sign-in", data=data).headers["location"] == "/"


def test_a_wrong_password_and_an_unknown_name_are_told_in_the_same_words(site: Site) -> None:
    """Nobody learns which names exist."""
    told = set()
    for name in ("vera", "nobody"):
        person = site.person()
        data = {"name": name, "password": "fout", "csrf": token(person.get("/sign-in"))}
        answer = person.client.post("/sign-in", data=data)
        assert answer.status_code == 401
        assert "bmn-session" not in answer.cookies
        told.add(re.sub(r'value="[^"]*"', "", answer.text))
    assert len(told) == 1


def test_guessing_is_throttled_with_a_word_on_how_long(site: Site) -> None:
    """The right password does not help before that; afterwards it does."""
    person = site.person()
    for _ in range(FREE_PER_USER):
        assert person.sign_in("vera", "fout") == 401
    data = {"name": "vera", "password": PASSWORD, "csrf": token(person.get("/sign-in"))}
    answer = person.client.post("/sign-in", data=data)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "2")
    assert "Wait 2 seconds" in answer.text
    assert site.person().sign_in("carla") == 200, "another user is not held up"
    site.clock.now += 2
    assert person.sign_in("vera") == 200


def test_what_was_typed_as_a_name_is_in_no_log_unless_it_is_one(site: Site) -> None:
    """It may be a password, or a number."""
    for typed, logged in (("0612345678", None), ("vera", "vera")):
        for status in [401] * FREE_PER_USER + [429]:
            with structlog.testing.capture_logs() as lines:
                person = site.person()
                assert person.sign_in(typed, "fout") == status
            (refused,) = [line for line in lines if line["event"] == "sign_in.refused"]
            assert refused["user"] == logged
            assert typed == logged or typed not in str(lines)


def test_a_session_ends_idle_after_its_time_and_by_signing_out(site: Site) -> None:
    """And says so; a cookie that was kept does not bring it back."""
    person = site.person("vera")
    secret = person.client.cookies["bmn-session"]
    site.clock.now += 29 * 60
    assert "<h1>History</h1>" in person.get("/history")
    site.clock.now += 30 * 60
    assert "Your session has expired" in person.get("/history")
    person = site.person("vera")
    for _ in range(480 // 20):
        assert "<h1>History</h1>" in person.get("/history")
        site.clock.now += 20 * 60
    assert "Your session has expired" in person.get("/history"), "eight hours are the end of it"
    person = site.person("vera")
    secret = person.client.cookies["bmn-session"]
    person.post("/sign-out")
    person.client.cookies.set("bmn-session", secret, domain="127.0.0.1")
    assert "Sign in" in person.get("/history")


# --- forms and headers


def test_a_form_without_the_sessions_own_token_does_nothing(site: Site) -> None:
    """No token, a wrong one, that of another session, and a page of another host: for every form there is."""
    person, other = site.person("carla"), site.person("carla")
    foreign = token(other.get("/dossier"))
    own = token(person.get("/dossier"))
    before = site.app.journal.head().seq
    walked = 0
    for route in routes():
        if not isinstance(route, Route) or "POST" not in (route.methods or ()) or route.path == "/sign-in":
            continue
        path = route.path.replace("{word}", "x")
        for data in ({}, {"csrf": ""}, {"csrf": "x"}, {"csrf": foreign}):
            assert person.client.post(path, data=data or {"a": "b"}).status_code == 403, path
        answer = person.client.post(path, data={"csrf": own}, headers={"sec-fetch-site": "cross-site"})
        assert answer.status_code == 403, path
        walked += 1
    assert walked >= 8
    assert site.app.journal.head().seq == before
    assert "<h1>History</h1>" in person.get("/history"), "not even signed out"


def test_signing_in_needs_the_token_of_the_form(site: Site) -> None:
    """Nobody is signed in as somebody else by a page elsewhere."""
    person = site.person()
    person.get("/sign-in")
    for sent in ("", "x"):
        answer = person.client.post("/sign-in", data={"name": "vera", "password": PASSWORD, "csrf": sent})
        assert (answer.status_code, "bmn-session" in answer.cookies) == (403, False)


def test_a_form_that_is_none_of_ours_is_refused(site: Site) -> None:
    """Too long, without a length, of another kind."""
    person = site.person("vera")
    csrf = token(person.get("/dossier"))
    for answer in (
        person.client.post("/dossier/find", data={"csrf": csrf, "number": "x" * 30_000}),
        person.client.post("/dossier/find", json={"csrf": csrf}),
        person.client.post("/dossier/find", content=iter([b"csrf=", csrf.encode()])),
        person.client.post("/dossier/find", files={"csrf": csrf}),
    ):
        assert answer.status_code == 400
        assert "This request is not right" in answer.text


@pytest.mark.parametrize("path", [*PAGES, "/sign-in", "/absent", "/history/calls.csv", "/static/style.css", "/health"])
def test_every_answer_carries_the_headers(site: Site, path: str) -> None:
    """Pages with data are kept nowhere; nothing runs or loads but what is ours."""
    answer = site.person("vera").client.get(path)
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] == ("no-cache" if path.startswith("/static") else "no-store")
    if answer.headers["content-type"].startswith("text/html"):
        assert not re.search(r"""\sstyle=|\son[a-z]+=|<style|<script(?! src="/static/)|javascript:""", answer.text)
        assert not re.search(r"""(?:src|href|action)=["'](?:https?:)?//""", answer.text), "nothing of another host"


def test_behind_a_proxy_cookies_are_for_https_and_addresses_begin_where_it_says(make_site: Callable[..., Site]) -> None:
    """`__Host-`: no other host of the domain can plant them."""
    site = make_site(BMN_DASHBOARD__BEHIND_PROXY="true")
    client = site.person().client
    answer = client.get("/sign-in")
    assert re.match(r"__Host-bmn-sign-in=.*HttpOnly; Path=/; SameSite=strict; Secure", answer.headers["set-cookie"])
    data = {"name": "vera", "password": PASSWORD, "csrf": token(answer.text)}
    answer = client.post("/sign-in", data=data, follow_redirects=False)
    (cookie,) = [one for one in answer.headers.get_list("set-cookie") if "__Host-bmn-session=" in one]
    assert re.search(r"HttpOnly; Path=/; SameSite=lax; Secure", cookie)
    below = TestClient(site.asgi, base_url="https://bmn.example", root_path="/bmn")
    page = below.get("/bmn/sign-in").text
    assert 'action="/bmn/sign-in"' in page
    assert 'href="/bmn/static/style.css"' in page
