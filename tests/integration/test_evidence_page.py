"""The dossier as a page: it asks nobody for anything, and speaks the language that was asked for."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from tests.integration.test_cli import Bmn
from tests.integration.test_evidence import E164, NASTY, app, made, site

__all__ = ["app", "site"]

DOCUMENTS: dict[str, tuple[str, ...]] = {"nl": (), "en": ("--lang", "en")}


class Page(HTMLParser):
    """What a browser would make of it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An element begins."""
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        """Text is shown."""
        self.text += data


def test_the_page_asks_nobody_for_anything_and_runs_nothing(site: Bmn) -> None:
    """No address in any attribute, one script element that is data, what somebody typed stays text."""
    text = made(site, "d.html").read_text()
    page = Page(text)
    assert [attrs for tag, attrs in page.tags if tag == "script"] == [
        {"type": "application/json", "id": "bmn-evidence"}
    ]
    assert {name for _, attrs in page.tags for name in attrs} <= {
        *("lang", "charset", "name", "content", "http-equiv", "class", "type", "id"),
    }
    assert "url(" not in text
    assert "@import" not in text
    assert NASTY in page.text
    assert not {tag for tag, _ in page.tags} & {"b", "link", "img", "iframe", "object", "form"}


def test_the_page_speaks_the_language_that_was_asked_for(site: Bmn) -> None:
    """Dutch by default; the title names number, period, when and by whom; times with their zone."""
    dutch, english = (made(site, f"{name}.html", *options).read_text() for name, options in DOCUMENTS.items())
    assert '<html lang="nl">' in dutch
    assert '<html lang="en">' in english
    (title,) = re.findall("<title>(.*)</title>", dutch)
    assert f"Dossier {E164}" in title
    assert "Gemaakt" in title
    assert "Europe/Amsterdam" in dutch
    assert re.search(r"\d{4} \d\d:\d\d:\d\d CES?T", dutch)
    assert "Was the number registered?" in english
    assert "Wat niet bekend is" in dutch
    assert "table-header-group" in dutch
    assert "size: A4" in dutch
