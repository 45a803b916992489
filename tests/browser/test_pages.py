"""Every page, in both languages, on a wide and on a narrow screen: accessible, and never wider than the screen."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, ViewportSize

from tests.browser.conftest import NARROW, REGISTERED, WIDE, Desk, keep_picture

PAGES = {
    "live": "/",
    "live-all": "/?show=all",
    "history": "/history",
    "history-filtered": "/history?verdict=block&reason=registered&campaign=energy",
    "history-empty": "/history?agent=nobody",
    "charts": "/charts",
    "charts-day": "/charts?period=day",
    "agents": "/agents",
    "register": "/register",
    "registrations": "/registrations",
    "dossier-form": "/dossier",
    "missing": "/absent",
}


@pytest.mark.parametrize("viewport", [WIDE, NARROW], ids=["wide", "narrow"])
@pytest.mark.parametrize("language", ["nl-NL", "en-GB"], ids=["nl", "en"])
def test_every_page_passes_the_accessibility_check_and_fits(
    open_desk: Callable[..., Desk], language: str, viewport: ViewportSize, subtests: pytest.Subtests
) -> None:
    """By axe, all its rules; nothing scrolls sideways but what has a scroll bar of its own."""
    size = "wide" if viewport == WIDE else "narrow"
    name = f"-{language[:2]}-{size}"
    desk = open_desk(viewport=viewport, language=language)
    look(desk.go("/sign-in"), f"sign-in{name}", subtests)
    look(desk.sign_in("carla", "fout"), f"sign-in-wrong{name}", subtests)
    desk.sign_in("carla").wait_for_selector("nav a[aria-current=page]")
    for title, path in PAGES.items():
        page = desk.go(path)
        if title.startswith("charts"):
            for details in page.locator("details").all():
                details.locator("summary").click()
        look(page, title + name, subtests)
    page = desk.go("/dossier")
    page.fill("#number", REGISTERED)
    page.click("main button.primary")
    page.wait_for_selector("article")
    look(page, f"dossier{name}", subtests)
    page.click("form[action$='/full'] button")
    page.wait_for_selector("text=+31612345678")
    look(page, f"dossier-full{name}", subtests)


def look(page: Page, name: str, subtests: pytest.Subtests) -> None:
    """Check one page, and keep a picture of it."""
    keep_picture(page, name)
    with subtests.test(name):
        found = Axe().run(page)
        assert found.violations_count == 0, found.generate_report()
        width, shown = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
        assert width <= shown
        assert page.evaluate("document.documentElement.lang") == ("nl" if "-nl-" in name else "en")


@pytest.mark.parametrize("scheme", ["dark", "no-preference"])
def test_dark_mode_and_print_are_as_legible(open_desk: Callable[..., Desk], scheme: str) -> None:
    """Axe measures contrasts."""
    desk = open_desk("carla")
    for media in ("screen", "print"):
        desk.page.emulate_media(color_scheme="dark" if scheme == "dark" else "light", media=media)
        for title in ("live", "history", "charts", "register", "registrations"):
            page = desk.go(PAGES[title])
            keep_picture(page, f"{title}-{scheme}-{media}")
            found = Axe().run(page, options={"runOnly": ["color-contrast"]})
            assert found.violations_count == 0, (title, media, found.generate_report())
