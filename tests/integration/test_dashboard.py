"""The dashboard over a real journal and a real Redis: who gets in, who sees what, and what is recorded of it."""

from __future__ import annotations

import csv
import io
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path
from urllib.parse import urlencode

import pytest
import structlog
from starlette.routing import Route
from starlette.testclient import TestClient

from agent.bootstrap import Application, bootstrap, now_utc
from agent.config import load_settings
from agent.domain.deadline import Deadline
from agent.domain.errors import JournalUnavailable
from agent.domain.journal_events import Event, EventType, JsonValue
from agent.entrypoints.dashboard.accounts import hash_password
from agent.entrypoints.dashboard.app import create_app, routes
from agent.entrypoints.dashboard.throttle import FREE_PER_USER
from agent.evidence_document import check
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


# --- roles


def pages_of(person: Person) -> Iterator[str]:
    """Everything that somebody can look at, the dossier of the registered number among it."""
    for path in (*PAGES, "/history?verdict=block", "/history/calls.csv"):
        yield person.get(path)
    yield person.post("/dossier/find", number=REGISTERED)
    yield person.post("/history/search", number=REGISTERED)
    yield person.post("/history/search", number=f"0{DIGITS}9")


@pytest.mark.parametrize("language", ["nl", "en"])
def test_a_viewer_never_sees_a_number_in_full(site: Site, language: str) -> None:
    """On no page, in neither language: also not in what somebody wrote about it, nor in the address."""
    app = site.app
    call = site.screen(REGISTERED)
    noted = Event.of(
        EventType.OPTOUT_ADDED,
        {
            "seller": "acme",
            "number": "+31612345678",
            "source": "letter",
            "note": "wrote that 06-12 34 56 78 is hers",
            "by": "root",
        },
    )
    shown = Event.of(
        EventType.NUMBER_REVEALED, {"what": "call log", "filter": "number +31612345678; since -", "count": 1, "by": "x"}
    )
    app.journal.append([noted, shown], Deadline.after_ms(5_000))
    viewer = site.person("vera", accept_language=language)
    pages = list(pages_of(viewer))
    assert any("+316*****678" in page for page in pages)
    assert any(call in page for page in pages)
    for page in pages:
        assert DIGITS not in re.sub(r"[\s().\-/]", "", re.sub(r"<[^>]+>", "", page))
        assert DIGITS not in page
    assert DIGITS not in str(viewer.client.get("/dossier").url)
    assert site.records(EventType.NUMBER_REVEALED)[1:] == [], "and nothing was recorded as if she had"


def test_a_number_stands_in_no_address(site: Site) -> None:
    """Addresses are kept by browsers and proxies."""
    person = site.person("carla")
    csrf = token(person.get("/dossier"))
    for path, field in (("/dossier/find", "number"), ("/history/search", "number")):
        answer = person.client.post(path, data={"csrf": csrf, field: REGISTERED}, follow_redirects=False)
        assert answer.status_code == 303
        assert DIGITS not in answer.headers["location"]
        page = person.client.get(answer.headers["location"]).text
        assert "+316*****678" in page


def test_a_viewer_who_asks_for_more_is_refused_with_a_sentence(site: Site) -> None:
    """Also by a form that no page showed her; and nothing is recorded as if it had been shown."""
    viewer = site.person("vera")
    word = re.findall(r'action="/dossier/([^/"]+)/', site.person("carla").post("/dossier/find", number=REGISTERED))[0]
    viewer.post("/dossier/find", number=REGISTERED)
    before = site.app.journal.head().seq
    for path in ("/history/full", "/history/calls-full.csv", f"/dossier/{word}/full", f"/dossier/{word}/document"):
        page = viewer.post(path, status=403, kind="json")
        assert "Only the role compliance may do this" in page
        assert DIGITS not in page
    assert site.app.journal.head().seq == before
    for page in pages_of(viewer):
        assert "in full" not in page.replace("Numbers are shown in full", ""), "nor is she offered it"


def test_compliance_sees_numbers_in_full_when_asked_and_the_journal_has_who(site: Site) -> None:
    """Masked until then; each time is one record, with the user's name and what was shown."""
    person = site.person("carla")
    assert DIGITS not in person.get("/history")
    assert "+31612345678" in person.post("/history/full", verdict="block")
    (revealed,) = site.records(EventType.NUMBER_REVEALED)
    assert (revealed["what"], revealed["count"], revealed["by"]) == ("call history", 1, "dashboard:carla")
    assert str(revealed["filter"]).startswith("verdict block; records ")
    page = person.post("/dossier/find", number=REGISTERED)
    assert DIGITS not in page
    word = re.findall(r'action="/dossier/([^/"]+)/full"', page)[0]
    assert "+31612345678" in person.post(f"/dossier/{word}/full")
    assert site.records(EventType.NUMBER_REVEALED)[1]["filter"] == "number +31612345678"
    full = person.post("/history/calls-full.csv")
    assert "+31612345678" in full
    assert site.records(EventType.NUMBER_REVEALED)[2]["what"] == "call history as CSV"


def test_the_exported_document_is_the_one_of_bmn_evidence(site: Site) -> None:
    """It holds by itself, says who made it, and the journal has it."""
    person = site.person("carla")
    word = re.findall(r'action="/dossier/([^/"]+)/full"', person.post("/dossier/find", number=REGISTERED))[0]
    for kind in ("json", "html"):
        document = check(person.post(f"/dossier/{word}/document", kind=kind).encode())
        assert (document.number.e164, document.content["by"]) == ("+31612345678", "dashboard:carla")
        assert len(document.content["dossier"]["attempts"]) == 1
        assert site.records(EventType.EVIDENCE_EXPORTED)[-1]["file"] == f"bmn-dossier.{kind}"


@pytest.mark.parametrize(
    "wrong",
    [{"reason": "nonsense"}, {"verdict": "nonsense"}, {"n": "forgotten"}, {"since": "soon"}, {"until": "2026-02-30"}],
)
def test_a_filter_that_cannot_be_read_shows_no_calls_and_is_no_export_of_all_of_them(
    site: Site, wrong: dict[str, str]
) -> None:
    """As when the number that was asked for is forgotten after a new sign-in: nothing is shown or recorded."""
    person, viewer = site.person("carla"), site.person("vera")
    before = site.app.journal.head().seq
    query = urlencode(wrong)
    for page in (
        person.post("/history/calls-full.csv", status=400, **wrong),
        person.post("/history/full", status=400, **wrong),
        viewer.get(f"/history/calls.csv?{query}", status=400),
        person.get(f"/history?{query}"),
    ):
        assert '<p class="note bad" role="alert">' in page
        assert "data-seq" not in page
        assert "No call matches" not in page
        assert "calls-full.csv" not in page
        assert "+316" not in page
    assert site.app.journal.head().seq == before


def test_the_record_of_an_export_says_what_narrowed_it(site: Site) -> None:
    """As it was understood: days as the moments at which they begin and end, the number in full."""
    person = site.person("carla")
    page = person.post("/history/search", number=REGISTERED)
    word = re.findall(r'name="n" value="([^"]+)"', page)[0]
    fields = {"since": "2026-01-05", "until": "2999-01-05", "reason": "registered", "campaign": "energy", "n": word}
    rows = list(csv.DictReader(io.StringIO(person.post("/history/calls-full.csv", **fields))))
    assert [row["number"] for row in rows] == ["+31612345678"]
    assert site.records(EventType.NUMBER_REVEALED)[-1]["filter"] == (
        "since 2026-01-04T23:00:00+00:00, until 2999-01-05T23:00:00+00:00, reason registered, campaign energy, "
        "number +31612345678"
    )


def test_a_number_in_a_name_is_masked_for_a_viewer(site: Site) -> None:
    """A campaign comes from the dialplan, an agent from a telephone: either may be a number by mistake."""
    for _ in range(2):
        screened = site.screen(REGISTERED, campaign="0687654321", agent="0611112222")
    site.screen("=0622223333")
    finished: dict[str, JsonValue] = {
        "call": site.screen("0612349999", agent="0611112222"),
        "number": "+31612349999",
        "campaign": "0687654321",
        "seller": "acme",
        "agent": "0611112222",
        "answered": True,
        "answered_s": 60,
        "offered": False,
        "voicemail": False,
        "notice": "not_played",
    }
    site.app.journal.append([Event.of(EventType.CALL_FINISHED, finished)], Deadline.after_ms(5_000))
    viewer = site.person("vera")
    pages = {path: viewer.get(path) for path in ("/", "/?show=all", "/history", "/history/calls.csv", "/agents")}
    pages["dossier"] = viewer.post("/dossier/find", number=REGISTERED)
    for path, page in {**pages, "/charts": viewer.get("/charts")}.items():
        assert "068****321" in page, path
        for number in ("0687654321", "0611112222", "0622223333"):
            assert number not in page, path
    for path, page in pages.items():
        assert "061****222" in page, path
    assert 'href="/history?campaign=energy"' in viewer.get("/charts"), "what is configured is a name"
    assert screened in site.person("carla").post("/history/calls-full.csv", campaign="0687654321")


def test_the_registrars_words_are_shown_without_a_number(site: Site) -> None:
    """He may repeat it in the reason of a rejection."""
    hand_over(site, "06-12 34 99 99 is not in use")
    page = site.person("vera").get("/registrations")
    assert "06-******** 99 is not in use" in page
    assert "12 34 99 99" not in page


def hand_over(site: Site, rejected_because: str = "") -> None:
    """A wish of a consumer; with a reason, handed to the registrar, who rejected it."""
    common = {"call": site.screen("0612349999"), "number": "+31612349999", "campaign": "energy", "seller": "acme"}
    said = {"agent": "kim", "profile": "nl-bmnr", "sector": "energy", "source": "agent", "answer": "register"}
    site.app.journal.append([Event.of(EventType.CHOICE_RECORDED, {**common, **said})], Deadline.after_ms(5_000))
    (item,) = site.app.registrations.all()
    told = {"scope": item.wish.scope, "charities": item.wish.charities, "wished_at": item.wished_at.isoformat()}
    events = [
        Event.of(EventType.REGISTRATION_EXPORTED, {**common, **told, "batch": "b1", "action": "register"}),
        Event.of(
            EventType.REGISTRATION_ACKNOWLEDGED,
            {"call": common["call"], "batch": "b1", "accepted": False, "reason": rejected_because},
        ),
    ]
    site.app.journal.append(events if rejected_because else [], Deadline.after_ms(5_000))


@pytest.mark.parametrize(
    ("days", "words"), [(6.9, "in time"), (7.1, "within 3 days"), (9.1, "within 1 day"), (10.1, "overdue")]
)
def test_a_registration_is_as_near_its_deadline_on_the_page_as_in_the_metrics(
    site: Site, monkeypatch: pytest.MonkeyPatch, days: float, words: str
) -> None:
    """By one rule (agent.domain.registration.Due)."""
    hand_over(site)
    monkeypatch.setattr(site.app.registrations, "_clock", lambda: now_utc() + timedelta(days=days))
    assert f">{words}</span>" in site.person("vera").get("/registrations")


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


def test_without_a_record_nothing_is_revealed(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The journal is locked by another process: a page that says so, and no number on it."""
    person = site.person("carla")
    page = person.post("/dossier/find", number=REGISTERED)
    word = re.findall(r'action="/dossier/([^/"]+)/full"', page)[0]

    def refused(*_: object) -> tuple[int, ...]:
        raise JournalUnavailable("the journal is locked")

    monkeypatch.setattr(type(site.app.journal), "append", refused)
    for path in ("/history/full", "/history/calls-full.csv", f"/dossier/{word}/full", f"/dossier/{word}/document"):
        page = person.post(path, status=503, kind="json")
        assert "the journal is locked" in page
        assert DIGITS not in page


# --- pages


def test_the_history_is_searched_filtered_and_paged(site: Site) -> None:
    """By every field; older and newer lead there and back; numbers in any spelling."""
    for index in range(120):
        site.screen("0612349999", "loans" if index % 2 else "energy", f"agent-{index % 3}")
    person = site.person("vera")

    def seqs(page: str) -> list[int]:
        return [int(seq) for seq in re.findall(r'data-seq="(\d+)"', page)]

    first = person.get("/history")
    assert len(seqs(first)) == 50
    assert "Newer" not in first
    older = person.get(html_link(first, "next"))
    oldest = person.get(html_link(older, "next"))
    assert "Older" not in oldest
    every = seqs(first) + seqs(older) + seqs(oldest)
    assert every == sorted(set(every), reverse=True)
    assert len(every) == 122
    assert seqs(person.get(html_link(oldest, "prev"))) == seqs(older)
    assert seqs(person.get(html_link(older, "prev"))) == seqs(first)
    assert len(seqs(person.get("/history?campaign=loans&agent=agent-1&verdict=allow"))) == 20
    assert len(seqs(person.get("/history?verdict=block&reason=registered&seller=acme"))) == 1
    assert len(seqs(person.post("/history/search", number="+31 (0)6-12345678"))) == 1
    today, tomorrow = date.today(), date.today() + timedelta(days=2)
    assert len(seqs(person.get(f"/history?since={today - timedelta(days=1)}&until={tomorrow}"))) == 50
    assert "No call matches" in person.get(f"/history?since={tomorrow}")
    call = re.findall(r"/history", first) and site.screen("0612340000")
    assert len(seqs(person.get(f"/history?call={call}"))) == 1


def html_link(page: str, rel: str) -> str:
    """The address of a link."""
    found = re.search(rf'rel="{rel}" href="([^"]+)"', page)
    assert found, f"no link {rel}"
    return found[1].replace("&amp;", "&")


def test_what_cannot_be_searched_for_is_said(site: Site) -> None:
    """In words, beside the form."""
    person = site.person("vera")
    assert "not a valid, complete number" in person.post("/history/search", number="06123")
    assert "“soon” is not a day" in person.get("/history?since=soon")
    assert "of an earlier session" in person.get("/history?n=forgotten")
    assert "not a valid, complete number" in person.post("/dossier/find", status=400, number="06123")
    assert "of an earlier session" in person.get("/dossier/forgotten", status=404)
    for odd in ("?before=x", "?after=99999999999999999999", "?before=-1", "?verdict=x&reason=y", "?period=x"):
        person.get("/history" + odd)
        person.get("/charts" + odd)


def test_the_csv_has_all_that_match_and_nothing_that_a_spreadsheet_would_run(site: Site) -> None:
    """Past the length of one page of the journal, too."""
    for _ in range(3):
        site.screen("0612349999", "=cmd()", "@agent")
    rows = list(csv.DictReader(io.StringIO(site.person("vera").get("/history/calls.csv"))))
    assert len(rows) == 5
    assert {row["number"] for row in rows} == {"+316*****678", "+316*****999"}
    assert not [cell for row in rows for name, cell in row.items() if name != "number" and cell[:1] in "=+-@" and cell]
    site.screen("=1+1*HYPER")
    full = csv.DictReader(io.StringIO(site.person("carla").post("/history/calls-full.csv")))
    assert {row["number"] for row in full} == {"+31612345678", "+31612349999", "'=1+1*HYPER"}
    masked = csv.DictReader(io.StringIO(site.person("vera").get("/history/calls.csv")))
    assert {row["number"] for row in masked} == {"+316*****678", "+316*****999", "'=1+****PER"}


def test_a_text_from_outside_is_shown_and_not_run(site: Site) -> None:
    """A campaign's name comes from the dialplan."""
    site.screen(REGISTERED, "<script>alert(1)</script>", '"><img src=x>')
    person = site.person("vera")
    for path in ("/", "/history", "/charts", "/agents"):
        page = person.get(path)
        assert "<script>alert" not in page
        assert "<img src=x" not in page
    assert "&lt;script&gt;alert" in person.get("/history")


def test_the_charts_have_the_figures_of_the_journal(site: Site) -> None:
    """As bars and as a table."""
    page = site.person("vera").get("/charts?period=day")
    assert len(re.findall(r'<rect class="bar-block" x=', page)) == 1
    assert re.search(r"blocked, 1</title>", page)
    assert re.search(r"allowed <strong>1</strong>", page)
    assert "50 % blocked" in page


def test_agents_who_need_attention_are_named(site: Site) -> None:
    """A blocked number dialled again; a conversation without an offer."""
    person = site.person("vera")
    page = person.get("/agents")
    assert "Nobody dialled a blocked number again" in page
    assert "The offer was logged in every conversation" in page
    site.screen(REGISTERED)
    assert re.search(r'data-label="Attempts"><strong>2</strong>', person.get("/agents"))


def test_the_register_warns_from_three_quarters_of_its_time(site: Site) -> None:
    """Fresh, ageing, stale, missing; and when Redis is away it says so."""
    person = site.person("vera")
    assert "up to date" in person.get("/register")
    for days, words in ((20, "up to date"), (22, "More than 75 %"), (29, "too old")):
        path = site.app.settings.journal.path.parent / "register.csv"
        path.write_text(f"number,blocked\n{REGISTERED},all\n" + "\n" * days)
        load_older(site.app, path, date.today() - timedelta(days=days))
        assert words in person.get("/register"), days


def load_older(app: Application, path: Path, as_of: date) -> None:
    """Load a file of an earlier day."""
    from agent.adapters.register_files import open_register_file
    from agent.bootstrap import register_loading
    from agent.domain.profile import NL_BMNR
    from agent.register_loading import ImportOptions

    options = ImportOptions(as_of=as_of, allow_shrink=True, allow_older=True)
    register_loading(app).import_files(NL_BMNR, [open_register_file(path)], options, lambda *_: None)


def test_a_journal_that_cannot_be_read_is_a_page_that_says_so(site: Site) -> None:
    """Not a trace of the program."""
    person = site.person("vera")
    with closing(sqlite3.connect(site.app.settings.journal.path)) as journal:
        journal.execute("DROP TABLE tally")
    page = person.get("/charts", status=503)
    assert "This cannot be shown now" in page
    assert "Traceback" not in page
    assert "There is no such page" in person.get("/absent", status=404)
    assert person.client.delete("/history").status_code == 405


def test_the_language_can_be_changed_and_is_kept(site: Site) -> None:
    """The browser's first; then the chosen one, on the same page."""
    person = site.person("vera", accept_language="nl,en;q=0.5")
    assert "<h1>Geschiedenis</h1>" in person.get("/history")
    page = person.post("/language", language="en", back="/history?verdict=block")
    assert "<h1>History</h1>" in page
    assert '<option value="block" selected>' in page
    assert "<h1>History</h1>" in person.get("/history")
