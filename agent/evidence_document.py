"""The document that carries a dossier, and what can be seen from it alone.

A document is one JSON object (schema ``bmn-evidence-1``):

  ``content``  ``format``, ``version`` of this software, ``language``, ``made_at``, ``by``; ``dossier``, the fields of
               ``agent.domain.dossier``; ``chain``: the journal's id, ``size`` (its last record then), ``head`` (the
               link of that record) and ``root`` (of the tree over all records up to it, ``agent.domain.merkle``);
               ``records``: each record that the dossier rests on, with its body to the byte, its salt, digest and
               link, and its path in the tree.
  ``export``   the journal's own record ``evidence.exported`` of this document: it holds the SHA-256 of ``content``, the
               root and the head, and for a page the SHA-256 of the page without this object.
  ``seal``     SHA-256 of the two above.

Binary values are hexadecimal; times are ISO 8601 with their offset. A page (HTML) carries the object in a script
element that no browser runs.

What ``check`` proves from the document alone: nothing in it was changed since it was made, each body is the one that
its salted digest was made of, and each record stands where it says in the one tree whose root the export recorded.
What it cannot prove alone: that this root is the journal's. Links are keyed, so that nobody who has the journal can
forge them, and nobody without the key can check them. Whoever has neither takes the root from whom he trusts: the
anchor of the ``evidence.exported`` record, noted elsewhere in time (log, paper), says that there was such a document.
``agent.evidence`` proves the rest with the journal.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

from agent.domain import merkle
from agent.domain.chain import Anchor
from agent.domain.dossier import Dossier
from agent.domain.errors import InputRejected
from agent.domain.journal_events import EventType, JsonValue
from agent.domain.phone_number import PhoneNumber
from agent.domain.sealed_record import SealedRecord

FORMAT: Final = "bmn-evidence-1"
_OPENING: Final = b'<script type="application/json" id="bmn-evidence">'
_CLOSING: Final = b"</script>"
_SIGNS: Final = (FORMAT.encode(), _OPENING, b'"evidence.exported"', b'"content"', b'"seal"')
"""One of these shows what a file was, when a byte of it was changed so that it cannot be read any more."""


class DocumentBroken(Exception):
    """The document is not as it was made. Its text says where and how."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A document that holds by itself."""

    content: Mapping[str, Any]
    records: tuple[SealedRecord, ...]
    export: SealedRecord
    journal: str
    size: int
    head: bytes
    root: bytes

    @property
    def number(self) -> PhoneNumber:
        """Whose dossier it is."""
        return PhoneNumber(digits=str(self.content["dossier"]["number"]).removeprefix("+"))

    @property
    def since(self) -> datetime:
        """When its period begins."""
        return datetime.fromisoformat(self.content["dossier"]["since"])

    @property
    def until(self) -> datetime:
        """The first instant after its period."""
        return datetime.fromisoformat(self.content["dossier"]["until"])

    @property
    def anchor(self) -> Anchor:
        """Where the journal's record of the export stands: to be compared with what was noted elsewhere."""
        return Anchor.at(self.export.seq, self.export.link)


def content_of(
    dossier: Dossier,
    records: Mapping[int, SealedRecord],
    proofs: merkle.Proofs,
    head: bytes,
    made: Mapping[str, JsonValue],
) -> dict[str, Any]:
    """The content of a document; ``made`` is its heading: version, language, made_at, by."""
    return {
        "format": FORMAT,
        **made,
        "dossier": {**_plain(dossier), "number": dossier.number.e164},
        "chain": {"journal": dossier.journal, "size": proofs.size, "head": head.hex(), "root": proofs.root.hex()},
        "records": [
            {**_sealed_as_json(records[seq]), "path": [one.hex() for one in proofs.paths[seq - 1]]}
            for seq in dossier.records
        ],
    }


def digest_of(value: Any) -> str:
    """SHA-256 of a JSON value in its one compact form."""
    return hashlib.sha256(_compact(value).encode()).hexdigest()


def document_of(content: Mapping[str, Any], export: SealedRecord) -> dict[str, Any]:
    """The whole object."""
    document = {"content": content, "export": _sealed_as_json(export)}
    return {**document, "seal": digest_of(document)}


def as_file(document: Mapping[str, Any]) -> bytes:
    """As a JSON file."""
    return (json.dumps(document, ensure_ascii=False, indent=1) + "\n").encode()


def into_page(page: bytes, document: Mapping[str, Any]) -> bytes:
    """``page`` with the object in its script element."""
    before, after = _parted(page)
    return before + _embedded(document) + after


def page_digest(page: bytes) -> str:
    """SHA-256 of a page without the object."""
    before, after = _parted(page)
    return hashlib.sha256(before + after).hexdigest()


def check(file: bytes) -> Document:
    """Read a document and check all that can be seen from it alone.

    Raises ``DocumentBroken``; ``InputRejected`` for what is no such document.
    """
    if not any(sign in file for sign in _SIGNS):
        raise InputRejected("this is not a document that bmn evidence made")
    page = None if file.lstrip()[:1] == b"{" else file
    try:
        found = json.loads(file if page is None else _cut_out(page))
        document = _read(found)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DocumentBroken(f"it cannot be read any more: {error or type(error).__name__}") from error
    for problem in _problems(found, document, file, page):
        raise DocumentBroken(problem)
    return document


def _problems(found: Any, document: Document, file: bytes, page: bytes | None) -> Iterator[str]:
    content, export = document.content, document.export
    paths = {int(item["seq"]): item["path"] for item in content["records"]}
    for record in document.records:
        if not record.has_its_digest:
            yield f"record {record.seq} was altered: its body does not match its digest"
        path = [bytes.fromhex(one) for one in paths[record.seq]]
        if merkle.root_by_path(record.seq - 1, document.size, record.leaf, path) != document.root:
            yield f"record {record.seq} was altered or put in: it does not lead to the root of the journal"
    if sorted(paths) != content["dossier"]["records"] or len(document.records) != len(paths):
        yield "the records are not those that the dossier rests on"
    if export.type != EventType.EVIDENCE_EXPORTED or not export.has_its_digest:
        yield f"record {export.seq}, the export itself, was altered: its body does not match its digest"
    said = json.loads(export.body)
    if said["sha256"] != digest_of(content):
        yield f"the content was altered: it is not what record {export.seq} says was exported"
    stated = (said["number"], said["upto"], said["head"], said["root"], said["count"])
    if stated != (document.number.e164, document.size, document.head.hex(), document.root.hex(), len(paths)):
        yield f"the content is not what record {export.seq} says was exported"
    if (said["page_sha256"] is not None) != (page is not None):
        yield "the document was put into another kind of file"
    if page is not None and page_digest(page) != said["page_sha256"]:
        yield "the page was altered: what it shows is not what was exported"
    if found["seal"] != digest_of({name: value for name, value in found.items() if name != "seal"}):
        yield f"record {export.seq}, the export itself, was altered"
    if file != (as_file(found) if page is None else into_page(page, found)):
        yield "the file was altered: it is not written as it was"


def _read(found: Any) -> Document:
    if set(found) != {"content", "export", "seal"} or found["content"]["format"] != FORMAT:
        raise ValueError(f"its format is not {FORMAT}")
    content, chain = found["content"], found["content"]["chain"]
    return Document(
        content=content,
        records=tuple(_sealed(item) for item in content["records"]),
        export=_sealed(found["export"]),
        journal=str(chain["journal"]),
        size=int(chain["size"]),
        head=bytes.fromhex(chain["head"]),
        root=bytes.fromhex(chain["root"]),
    )


def _cut_out(page: bytes) -> bytes:
    start = page.index(_OPENING) + len(_OPENING)
    return page[start : page.index(_CLOSING, start)]


def _parted(page: bytes) -> tuple[bytes, bytes]:
    start = page.index(_OPENING) + len(_OPENING)
    return page[:start], page[page.index(_CLOSING, start) :]


def _embedded(document: Mapping[str, Any]) -> bytes:
    """JSON in which no browser finds the end of the element, or the beginning of anything else."""
    return _compact(document).replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e").encode()


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _sealed_as_json(record: SealedRecord) -> dict[str, JsonValue]:
    return {
        "seq": record.seq,
        "at_us": record.at_us,
        "type": record.type,
        "salt": record.salt.hex(),
        "body": record.body,
        "digest": record.digest.hex(),
        "link": record.link.hex(),
    }


def _sealed(item: Mapping[str, Any]) -> SealedRecord:
    return SealedRecord(
        seq=int(item["seq"]),
        at_us=int(item["at_us"]),
        type=str(item["type"]),
        salt=bytes.fromhex(item["salt"]),
        body=str(item["body"]),
        digest=bytes.fromhex(item["digest"]),
        link=bytes.fromhex(item["link"]),
    )


def _plain(value: Any) -> Any:
    """Values of the domain as JSON: an object for a dataclass, text for a time."""
    if isinstance(value, PhoneNumber):
        return value.e164
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    match value:
        case datetime() | date():
            return value.isoformat()
        case Mapping():
            return {str(name): _plain(item) for name, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case str():
            return str(value)
        case _:
            return value
