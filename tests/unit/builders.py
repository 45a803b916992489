"""Values for tests, each with sound defaults."""

from __future__ import annotations

import array
import wave
from datetime import UTC, date, datetime, time
from pathlib import Path

from agent.domain.model import Call, Campaign, Facts, Generation, Purpose, Sector, Seller
from agent.domain.phone_number import Dialled, PhoneNumber

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
NUMBER = PhoneNumber(digits="31612345678")
ACME = Seller(key="acme", name="Acme Energie")


def a_campaign(
    purpose: Purpose = Purpose.COMMERCIAL, sector: Sector | None = Sector.ENERGY, key: str = "energy"
) -> Campaign:
    """A campaign of Acme; a charity has its own sector."""
    return Campaign(
        key=key,
        seller=ACME,
        purpose=purpose,
        sector=Sector.CHARITIES if purpose is Purpose.CHARITY else sector,
        product_group="energy-contract",
        profile="nl-bmnr",
        language="nl",
    )


def a_call(dialled: Dialled = NUMBER, campaign: Campaign | None = a_campaign()) -> Call:  # noqa: B008  # frozen value
    """A commercial call about energy."""
    return Call(dialled=dialled, campaign=campaign)


def a_generation(as_of: date = date(2026, 11, 20), id: str = "20261120T080000-aaaa") -> Generation:  # noqa: A002
    """A load of three days ago, made as soon as its day began."""
    return Generation(
        id=id,
        profile="nl-bmnr",
        as_of=as_of,
        loaded_at=datetime.combine(as_of, time(), tzinfo=UTC),
        count=1000,
        sha256="0" * 64,
    )


def some_facts(**changes: object) -> Facts:
    """A fresh register without the number, no opt-out, no customer."""
    return Facts(**{"generation": a_generation(), **changes})  # type: ignore[arg-type]


def write_wav(
    folder: Path,
    name: str = "notice-acme",
    language: str = "nl",
    *,
    samples: int = 8001,
    peak: int = 10_000,
    rate: int = 8000,
    channels: int = 1,
    width: int = 2,
) -> Path:
    """A square wave where Asterisk looks for a prompt."""
    path = folder / language / "bmn" / f"{name}.wav"
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as sound:
        sound.setparams((channels, width, rate, 0, "NONE", ""))
        wave_of = array.array("h", [peak, min(-peak, 32767)] * ((samples + 1) // 2))[:samples]
        sound.writeframes(wave_of.tobytes())
    return path
