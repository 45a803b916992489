"""What the dashboard makes of a filter that cannot be read, of numbers in names and words, and of a deadline."""

from __future__ import annotations

import csv
import io
import re
from datetime import timedelta
from urllib.parse import urlencode

import pytest

from agent.bootstrap import now_utc
from agent.domain.deadline import Deadline
from agent.domain.journal_events import Event, EventType, JsonValue
from tests.integration.test_dashboard import REGISTERED, Site, make_site, site

__all__ = ["make_site", "site"]


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
