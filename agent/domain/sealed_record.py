"""A journal record with all that the chain holds of it, so that it can be shown to be what it was."""

from __future__ import annotations

from dataclasses import dataclass

from agent.domain import chain, merkle


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedRecord:
    """One record to the byte."""

    seq: int
    at_us: int
    """Microseconds since 1970 UTC."""
    type: str
    salt: bytes
    body: str
    """The JSON text as it stands in the journal."""
    digest: bytes
    link: bytes

    @property
    def leaf(self) -> bytes:
        """Its hash in the tree of ``agent.domain.merkle``."""
        return merkle.leaf(self.seq, self.at_us, self.type, self.digest, self.link)

    @property
    def has_its_digest(self) -> bool:
        """Whether the body is the one that the digest was made of."""
        return len(self.salt) == chain.SALT_BYTES and chain.digest(self.salt, self.body.encode()) == self.digest
