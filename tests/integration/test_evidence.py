"""``bmn evidence``: one document of all that the journal holds of a number, and its proof."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from tests.integration.test_cli import SALE, Bmn

NUMBER = "0612345678"
E164 = "+31612345678"


@pytest.fixture
def site(tmp_path: Path, redis_url: str) -> Bmn:
    """A site whose register holds the number, and that was asked for it more than once."""
    site = Bmn(tmp_path, redis_url)
    site.load(f"{NUMBER}\n")
    site("screen", NUMBER, "--campaign", "energy", code=1)
    site("customer", "add", NUMBER, *SALE)
    site("screen", NUMBER, "--campaign", "energy")
    site("optout", "add", NUMBER, "--seller", "acme")
    site("screen", NUMBER, "--campaign", "energy", code=1)
    site("screen", "0612349999", "--campaign", "energy")
    return site


def test_a_document_holds(site: Bmn) -> None:
    """Both kinds, alone and with the journal."""
    for name in ("d.json", "d.html"):
        path = site.folder / name
        told = site("evidence", NUMBER, "--out", str(path))
        assert "3 calls" in told
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert "unchanged" in site("evidence", "verify", str(path))
        assert "no other record of this number" in site("evidence", "verify", str(path), "--journal")
