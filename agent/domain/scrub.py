"""A scrub: what became of a call file, and the certificate that says so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from agent.domain.chain import Anchor
from agent.domain.journal_events import JsonValue, Mark, Record
from agent.domain.model import Campaign, Generation, Reason, Verdict
from agent.domain.profile import Profile

DUPLICATE: Final = "duplicate"
"""Why a row is removed whose number stands in an earlier row, in this spelling or another one."""

FORMAT: Final = "bmn-scrub-1"
"""Names the layout of certificates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScrubbedFile:
    """A file as a certificate names it."""

    name: str
    """Without its folder."""
    sha256: str
    rows: int
    """Without header and empty lines."""

    def as_json(self) -> dict[str, JsonValue]:
        """As journal and certificate hold it."""
        return {"name": self.name, "sha256": self.sha256, "rows": self.rows}


def stays(reason: Reason) -> bool:
    """Whether a row stays in the call file.

    As in a call, but for emergency numbers: a call that somebody dials must get through, a call file must not hold one.
    """
    return reason.verdict is Verdict.ALLOW and reason is not Reason.EMERGENCY_NUMBER


def binding_generation(campaign: Campaign, profile: Profile, generation: Generation | None) -> Generation | None:
    """The load of the register that a scrub rests on; None for research and service, which it does not bind."""
    return None if campaign.purpose in profile.exempt_purposes else generation


def valid_until(profile: Profile, generation: Generation | None, now: datetime) -> datetime:
    """The last instant at which a scrub may be used: as long as its register, or as long as one made now."""
    if generation is None:
        return now + timedelta(days=profile.load_valid_days)
    return profile.valid_until(generation)


def certificate(record: Record, mark: Mark) -> dict[str, JsonValue]:
    """What the journal's record of a scrub says, with where it stands in the journal."""
    anchor = Anchor.at(mark.seq, bytes.fromhex(mark.link))
    return {
        "format": FORMAT,
        **record.body,
        "at": record.at.isoformat(),
        "journal": mark.journal,
        "record": mark.seq,
        "anchor": str(anchor),
    }


def differences(found: Mapping[str, Any], recorded: Mapping[str, Any]) -> list[str]:
    """The fields in which a certificate is not what the journal says, in the order of the journal."""
    names = [*recorded, *(name for name in found if name not in recorded)]
    return [name for name in names if name not in found or name not in recorded or found[name] != recorded[name]]
