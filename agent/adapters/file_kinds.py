"""Files that are something else than the text that was expected, told by their first bytes."""

from __future__ import annotations

from typing import Final

from agent.domain.errors import InputRejected

GZIP: Final = b"\x1f\x8b"
ZIP: Final = b"PK\x03\x04"
OLD_OFFICE: Final = b"\xd0\xcf\x11\xe0"

_OFFICE_MARK: Final = b"[Content_Types].xml"


def office_document(name: str) -> InputRejected:
    """What to say of a spreadsheet."""
    return InputRejected(f"{name} is an Office document: save it as CSV and give that")


def require_unpacked(start: bytes, name: str) -> None:
    """Raise ``InputRejected`` for the first bytes of an archive or a spreadsheet, which are no text."""
    if start.startswith(OLD_OFFICE) or (start.startswith(ZIP) and _OFFICE_MARK in start):
        raise office_document(name)
    if start.startswith((GZIP, ZIP)):
        raise InputRejected(f"{name} is packed: unpack it and give what is in it")
