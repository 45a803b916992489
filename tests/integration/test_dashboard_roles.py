"""Who sees which numbers on the dashboard, and what is recorded of it."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from agent.domain.deadline import Deadline
from agent.domain.errors import JournalUnavailable
from agent.domain.journal_events import Event, EventType
from agent.evidence_document import check
from tests.integration.test_dashboard import DIGITS, PAGES, REGISTERED, Person, Site, make_site, site, token

__all__ = ["make_site", "site"]


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
