"""The pages of the dashboard: what they find, count, warn of, and say when they cannot."""

from __future__ import annotations

import csv
import io
import re
import sqlite3
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path

from agent.bootstrap import Application
from agent.domain.deadline import Deadline
from agent.domain.journal_events import Event, EventType
from agent.domain.model import DeliveryFailure
from agent.screening import ScreenRequest
from tests.integration.test_dashboard import REGISTERED, Site, make_site, site

__all__ = ["make_site", "site"]


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


def test_a_verdict_that_was_not_confirmed_is_marked_wherever_it_is_shown(site: Site) -> None:
    """In the history and its CSV beside the verdict, in the live view as one more event, in the charts as a sum."""
    asked = ScreenRequest(number="0612349998", campaign="energy", agent="kim", source="fastagi")
    screened, _ = site.app.screening.screen(asked, Deadline.after_ms(5_000))
    viewer = site.person("vera")
    assert "were not confirmed" not in viewer.get("/charts?period=day")
    site.app.screening.undelivered(asked, screened, DeliveryFailure.LOST)
    site.app.journal.append([Event.of(EventType.AGENT_STARTED, {})], Deadline.after_ms(5_000))
    said = "not confirmed: the session broke off"
    (row,) = [row for row in viewer.get("/history").split("<tr ") if "+316*****998" in row]
    assert said in row
    rows = list(csv.DictReader(io.StringIO(viewer.get("/history/calls.csv"))))
    assert [row["undelivered"] for row in rows if row["agent"] == "kim"] == ["lost"]
    assert {row["undelivered"] for row in rows if row["agent"] != "kim"} == {""}
    (event,) = [row for row in viewer.get("/").split("<tr ") if "+316*****998" in row]
    assert ("not handed out" in event, said in event) == (True, True)
    assert "1 verdicts of this period were not confirmed" in viewer.get("/charts?period=day")
    dossier = viewer.post("/dossier/find", number="0612349998")
    assert "the session ended after the answer had left; the exchange may have it" in dossier
    assert "whether it was dialled is not known" in dossier


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
