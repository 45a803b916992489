"""People at work with the dashboard, in a real browser, on a real ``bmn dashboard`` beside a real ``bmn serve``."""

from __future__ import annotations

import csv
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import FREE, PATIENCE_MS, REGISTERED, WIDE, Desk, Site, keep_picture, running_site

DIGITS = "612345678"


def last_record(site: Site) -> tuple[str, str]:
    """Type and body of the journal's newest record."""
    with closing(sqlite3.connect(f"file:{site.folder / 'journal.db'}?mode=ro", uri=True)) as journal:
        found = journal.execute("SELECT type, body FROM records ORDER BY seq DESC LIMIT 1").fetchone()
    return str(found[0]), str(found[1])


# --- signing in


def test_signing_in_and_out(open_desk: Callable[..., Desk]) -> None:
    """To the page that one asked for; after signing out the way back is shut."""
    desk = open_desk()
    desk.go("/charts")
    expect(desk.page.locator("h1")).to_have_text("Sign in")
    desk.page.fill("#name", "vera")
    desk.page.fill("#password", "een lang wachtwoord")
    desk.page.keyboard.press("Enter")
    expect(desk.page.locator("h1")).to_have_text("Charts")
    desk.page.click("text=Sign out")
    expect(desk.page.locator("h1")).to_have_text("Sign in")
    desk.page.go_back()
    desk.page.reload()
    expect(desk.page.locator("h1")).to_have_text("Sign in")


def test_wrong_passwords_are_told_and_then_throttled(chromium: Browser, tmp_path: Path) -> None:
    """On a site of its own, for its throttle remembers."""
    for site in running_site(tmp_path, "127.0.0.1:0"):
        desk = Desk(chromium, site, WIDE, "nl-NL")
        for _ in range(5):
            desk.sign_in("vera", "fout")
            expect(desk.page.get_by_role("alert")).to_have_text("De naam of het wachtwoord klopt niet.")
        desk.sign_in("vera")
        expect(desk.page.get_by_role("alert")).to_contain_text(re.compile("Wacht [12] seconden"))
        keep_picture(desk.page, "throttled")
        assert [entry["why"] for entry in site.dashboard.log("sign_in.refused")][-1] == "throttled"
        desk.context.close()


def test_an_expired_session_leads_to_the_form_also_from_the_live_view(chromium: Browser, tmp_path: Path) -> None:
    """The live view notices by itself, within a heartbeat; a page notices when it is asked for."""
    for site in running_site(tmp_path, "127.0.0.1:0", BMN_DASHBOARD__SESSION_MINUTES="0.05"):
        desk = Desk(chromium, site, WIDE, "en-GB")
        page = desk.sign_in("carla")
        expect(page.locator("#state-text")).to_have_text("Live")
        expect(page.locator(".note")).to_have_text("Your session has expired. Sign in again.", timeout=3 * PATIENCE_MS)
        keep_picture(page, "expired")
        desk.go("/history")
        expect(page.locator("h1")).to_have_text("Sign in")
        desk.context.close()


# --- live


def test_a_blocked_call_appears_without_reload(open_desk: Callable[..., Desk], site: Site) -> None:
    """Masked, in words; an allowed one appears when all calls are shown."""
    blocked, everything = open_desk("vera"), open_desk("vera")
    everything.go("/?show=all")
    for desk in (blocked, everything):
        expect(desk.page.locator("#state-text")).to_have_text("Live")
        desk.page.evaluate("window.stayed = true")
    site.screen(FREE, "energy", "live-1")
    site.screen(REGISTERED, "energy", "live-2")
    for desk in (blocked, everything):
        expect(desk.page.locator("#calls tr").first).to_contain_text("live-2")
        assert desk.page.evaluate("window.stayed")
        assert re.search(r"blocked \+316\*{5}678 on the register energy live-2", desk.rows()[0])
    assert "live-1" in everything.rows()[1]
    assert not [row for row in blocked.rows() if "live-1" in row]
    expect(blocked.page.locator("#arrived")).to_have_text(re.compile("1 new: blocked, on the register, energy"))


def test_the_live_view_can_be_paused(open_desk: Callable[..., Desk], site: Site) -> None:
    """What comes meanwhile waits, and is counted."""
    desk = open_desk("vera")
    expect(desk.page.locator("#state-text")).to_have_text("Live")
    desk.page.click("#pause")
    for number in range(3):
        site.screen(REGISTERED, "energy", f"paused-{number}")
    expect(desk.page.locator("#state-text")).to_have_text("Paused, 3 waiting")
    assert "paused" not in " ".join(desk.rows())
    desk.page.click("#pause")
    expect(desk.page.locator("#calls tr").first).to_contain_text("paused-2")
    assert [row.split()[-1] for row in desk.rows()[:3]] == ["paused-2", "paused-1", "paused-0"]


def test_after_a_lost_connection_nothing_is_missing_and_nothing_twice(
    open_desk: Callable[..., Desk], site: Site
) -> None:
    """The browser asks again from the last that it has."""
    desk = open_desk("vera")
    expect(desk.page.locator("#state-text")).to_have_text("Live")
    site.screen(REGISTERED, "energy", "before-cut")
    expect(desk.page.locator("#calls tr").first).to_contain_text("before-cut")
    desk.context.set_offline(True)
    desk.page.evaluate("window.dispatchEvent(new Event('pagehide'))")  # closes the connection that is still open
    site.screen(REGISTERED, "energy", "during-cut")
    expect(desk.page.locator("#state-text")).to_contain_text("Connection lost")
    desk.context.set_offline(False)
    expect(desk.page.locator("#calls tr").first).to_contain_text("during-cut")
    site.screen(REGISTERED, "energy", "after-cut")
    expect(desk.page.locator("#calls tr").first).to_contain_text("after-cut")
    seqs = desk.page.locator("#calls tr").evaluate_all("rows => rows.map(row => +row.dataset.seq)")
    assert seqs == sorted(set(seqs), reverse=True)


# --- history, charts, dossier


def test_search_filter_and_pages_of_the_history(open_desk: Callable[..., Desk], site: Site) -> None:
    """By hand: a verdict, a reason, a number in another spelling; then older and newer."""
    desk = open_desk("vera")
    page = desk.go("/history")
    page.select_option("#verdict", "block")
    page.select_option("#reason", "registered_sector")
    page.get_by_role("button", name="Search").click()
    expect(page).to_have_url(re.compile(r"verdict=block&reason=registered_sector$"))
    assert desk.rows()
    assert all("on the register for this sector" in row for row in desk.rows())
    page.get_by_role("link", name="Clear").click()
    page.fill("#number", "+31 (0)6-1234 5678")
    page.get_by_role("button", name="Search").click()
    expect(page.locator("#number-help")).to_contain_text("Searching for +316*****678")
    assert DIGITS not in page.url
    assert desk.rows()
    assert all("+316*****678" in row for row in desk.rows())
    for _ in range(60):
        site.screen(FREE, "solar", "pager")
    page = desk.go("/history?agent=pager")
    newest = desk.rows()
    assert len(newest) == 50
    page.get_by_role("link", name="Older").click()
    expect(page.locator("#calls tr")).to_have_count(10)
    page.get_by_role("link", name="Newer").click()
    expect(page.locator("#calls tr")).to_have_count(50)
    assert desk.rows() == newest


def test_the_csv_of_a_viewer_is_masked_and_that_of_compliance_recorded(open_desk: Callable[..., Desk]) -> None:
    """What is downloaded is what was filtered."""
    for name, button, number in (
        ("vera", "As CSV (masked)", "+316*****678"),
        ("carla", "As CSV with full numbers", "+31612345678"),
    ):
        desk = open_desk(name)
        page = desk.go("/history?reason=registered&agent=anna")
        with page.expect_download() as download:
            page.click(f"text={button}")
        rows = list(csv.DictReader(Path(download.value.path()).read_text().splitlines()))
        assert {(row["reason"], row["agent"], row["number"]) for row in rows} == {("registered", "anna", number)}
    kind, body = last_record(desk.site)
    assert kind == "number.revealed"
    assert '"by":"dashboard:carla"' in body


def test_the_charts_lead_from_a_figure_to_its_calls(open_desk: Callable[..., Desk]) -> None:
    """Bars, the same figures as a table, and a campaign's calls one click away."""
    desk = open_desk("vera")
    page = desk.go("/charts?period=day")
    assert page.locator("#verdicts ~ .scroll svg rect").count() >= 2
    page.locator("summary").first.click()
    drawn = page.locator("svg rect title").all_text_contents()
    blocked = sum(int(title.rsplit(" ", 1)[1]) for title in drawn if ": blocked," in title)
    table = page.locator("details table").first.locator("tbody tr").all_inner_texts()
    assert blocked == sum(int(row.split("\t")[2]) for row in table) > 0
    page.click("main table a:text-is('energy')")
    expect(page).to_have_url(re.compile("/history\\?campaign=energy"))
    assert all(" energy " in row for row in desk.rows())


def test_a_dossier_is_opened_from_a_call_and_shown_in_full_to_compliance(open_desk: Callable[..., Desk]) -> None:
    """Masked first; in full when asked; as the document of `bmn evidence`, which verifies."""
    desk = open_desk("carla")
    page = desk.go("/history?reason=registered")
    page.locator("#calls button.link").first.click()
    expect(page.locator("h1")).to_have_text("Dossier +316*****678")
    assert DIGITS not in page.content()
    page.click("text=Show in full")
    expect(page.locator("h1")).to_have_text("Dossier +31612345678")
    assert DIGITS not in page.url
    kind, body = last_record(desk.site)
    assert (kind, '"filter":"number +31612345678"' in body) == ("number.revealed", True)
    for button in ("Evidence (HTML)", "Evidence (JSON)"):
        with page.expect_download() as download:
            page.click(f"text={button}")
        path = desk.site.folder / download.value.suggested_filename
        download.value.save_as(path)
        assert "+31612345678" in path.read_text()
        desk.site.bmn("evidence", "verify", str(path), "--journal")
        assert last_record(desk.site)[0] == "evidence.exported"


def test_a_viewer_is_offered_no_full_number_and_gets_none_by_force(open_desk: Callable[..., Desk]) -> None:
    """By a form that she made herself in her own browser, with her own session's token."""
    desk = open_desk("vera")
    page = desk.go("/history?reason=registered")
    assert page.get_by_text("in full").count() == 0
    before = last_record(desk.site)
    for path in ("/history/full", "/history/calls-full.csv"):
        desk.go("/history")
        submit(page, path)
        expect(page.get_by_role("alert")).to_contain_text("Only the role compliance may do this")
        assert DIGITS not in page.content()
    keep_picture(page, "refused")
    assert last_record(desk.site) == before


def submit(page: Page, path: str) -> None:
    """Make a form as somebody would in the developer tools, and send it."""
    page.evaluate(
        """path => {
            const form = document.createElement("form");
            form.method = "post";
            form.action = path;
            form.append(document.querySelector("input[name=csrf]").cloneNode());
            document.body.append(form);
            form.submit();
        }""",
        path,
    )


def test_the_language_is_switched_on_the_page_where_one_is(open_desk: Callable[..., Desk]) -> None:
    """And stays."""
    desk = open_desk("vera")
    page = desk.go("/history?verdict=block")
    page.get_by_role("button", name="Nederlands").click()
    expect(page.locator("h1")).to_have_text("Geschiedenis")
    expect(page).to_have_url(re.compile("verdict=block"))
    assert all("geblokkeerd" in row for row in desk.rows())
    expect(desk.go("/charts").locator("h1")).to_have_text("Grafieken")


# --- by keyboard


def test_a_day_without_a_mouse(open_desk: Callable[..., Desk]) -> None:
    """Sign in, skip to the content, search the history, open a dossier: by keys alone, with the focus in sight."""
    desk = open_desk()
    page = desk.go("/sign-in")
    page.keyboard.type("vera")
    page.keyboard.press("Tab")
    page.keyboard.type("een lang wachtwoord")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("Live")
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    expect(page.locator(".skip")).to_be_in_viewport()
    tab_to(page, "History")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("History")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    tab_to(page, "verdict")
    page.keyboard.type("blocked")
    tab_to(page, "Search")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("verdict=block"))
    assert all("blocked" in row for row in desk.rows())
    tab_to(page, "+316*****")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_contain_text("Dossier +316*****")


def tab_to(page: Page, name: str) -> None:
    """Press Tab until the element with this text or id has the focus, which must be in sight at every step."""
    for _ in range(60):
        page.keyboard.press("Tab")
        text, seen = page.evaluate(
            """() => {
                const at = document.activeElement, style = getComputedStyle(at);
                const seen = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
                return [`${at.id} ${at.innerText}`, seen];
            }"""
        )
        assert seen, f"the focus cannot be seen on {text!r}"
        if name in text.strip().split("\n")[0]:
            return
    raise AssertionError(f"no way by Tab to {name!r}")
