"""A generation as the JSON that Redis holds of it."""

from __future__ import annotations

import json
from datetime import date, datetime

from agent.domain.model import Generation


def generation_to_json(generation: Generation) -> str:
    """One line, keys in a fixed order."""
    return json.dumps(
        {
            "id": generation.id,
            "profile": generation.profile,
            "as_of": generation.as_of.isoformat(),
            "loaded_at": generation.loaded_at.isoformat(),
            "count": generation.count,
            "sha256": generation.sha256,
        },
        separators=(",", ":"),
    )


def pointer_to_json(generation_json: str, since: datetime) -> str:
    """A generation as the one in force, ``since`` when."""
    return json.dumps({**json.loads(generation_json), "in_force_since": since.isoformat()}, separators=(",", ":"))


def in_force_since(pointer: str) -> datetime:
    """When the generation that ``pointer`` names was put in force. Raises as ``generation_from_json``."""
    return datetime.fromisoformat(json.loads(pointer)["in_force_since"])


def generation_from_json(text: str) -> Generation:
    """Raises ``ValueError``, ``KeyError`` or ``TypeError`` when ``text`` is not one of ours."""
    data = json.loads(text)
    return Generation(
        id=str(data["id"]),
        profile=str(data["profile"]),
        as_of=date.fromisoformat(data["as_of"]),
        loaded_at=datetime.fromisoformat(data["loaded_at"]),
        count=int(data["count"]),
        sha256=str(data["sha256"]),
    )
