"""What of a record may be shown to those who have not asked for numbers in full."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

from agent.config import Settings
from agent.domain.journal_events import JsonValue
from agent.domain.phone_number import mask, mask_within

_NUMBERS: Final = frozenset({"number", "dialled"})
_OURS: Final = frozenset(
    {
        *("call", "uniqueid", "batch", "generation", "base", "from_generation"),
        *("sha256", "page_sha256", "register_sha256", "head", "root"),
        *("host", "listen"),
    }
)
"""Fields whose digits are no number: ids, digests and addresses of machines. Times look like none."""
_NAMES: Final = frozenset({"campaign", "seller"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Masking:
    """Hides numbers wherever they may stand: a campaign comes from the dialplan, and may be misspelt as a number."""

    configured: frozenset[str]
    """Names of campaigns and sellers that are known to be names."""

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """With the names of a configuration, former ones too."""
        return cls(configured=frozenset({*settings.campaigns, *settings.domain_sellers()}))

    def name(self, text: str) -> str:
        """The name of a campaign or a seller."""
        return text if text in self.configured else mask_within(text)

    def field(self, name: str, value: JsonValue) -> JsonValue:
        """A field of a record; of a field that is not known here, too, nothing that looks like a number is left."""
        match value:
            case str() if name in _NUMBERS:
                return mask(value)
            case str() if name in _NAMES:
                return self.name(value)
            case str():
                return value if name in _OURS else mask_within(value)
            case list():
                return [self.field(name, inner) for inner in value]
            case dict():
                return {inner: self.field(inner, of) for inner, of in value.items()}
            case _:
                return value
