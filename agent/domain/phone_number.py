"""Telephone numbers: parsed once, at the edge; below it nobody handles a number as a string.

``read_dialled`` turns what somebody dialled, typed or listed into one of three values: a ``PhoneNumber`` (valid,
complete, of a country the profile has a register for), an ``EmergencyNumber``, or an ``UnusableNumber`` with the
reason. There is no fourth outcome, so nothing that could not be normalised can be looked up, let alone dialled.

The national conventions come from Google's libphonenumber metadata (package ``phonenumbers``). It is lenient in ways
that are dangerous here, so what reaches it is narrowed first: only digits, one leading ``+`` and visual separators.
Letters (``0800-FLOWERS``), extensions (``x9``, ``;ext=9``), ``*31*`` and SIP addresses never get that far.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import phonenumbers

if TYPE_CHECKING:
    from agent.domain.profile import Profile

NUMBERING: Final = phonenumbers.__version__
"""The version of libphonenumber's metadata, which says what is a number: another one may read a text otherwise."""

SUFFIX_DIGITS: Final = 4
"""How many last digits of a number are a member of a list's set; the digits before them name the set."""

_LONGEST_DIALLED: Final = 40
_SEPARATORS: Final = re.compile(r"[\s().\-/\u2010-\u2015\u00a0]+")
_NUMBER_LIKE: Final = re.compile(r"\+?\d(?:[ ().\-/]{0,2}\d){6,}")
_DAY_OR_NUMBER: Final = re.compile(rf"(?P<day>(?<!\d)\d{{4}}-\d\d-\d\d(?:T[\d:.]+)?(?!\d))|{_NUMBER_LIKE.pattern}")
_ONLY_DIGITS: Final = re.compile(r"\+?[0-9]{1,20}")


@dataclass(frozen=True, slots=True)
class PhoneNumber:
    """A valid, complete telephone number.

    ``str()`` is masked (``+316*****678``) so that a number cannot leak by being formatted; the full form must be asked
    for by name.
    """

    digits: str
    """Country code and national number, digits only: ``31612345678``."""

    @property
    def e164(self) -> str:
        """The full number as E.164: ``+31612345678``."""
        return "+" + self.digits

    @property
    def prefix(self) -> str:
        """All digits but the last four: which set of a list the number is in."""
        return self.digits[:-SUFFIX_DIGITS]

    @property
    def suffix(self) -> int:
        """The last four digits as an integer (0 to 9999): the member in that set."""
        return int(self.digits[-SUFFIX_DIGITS:])

    def __str__(self) -> str:
        return mask(self.e164)

    def __repr__(self) -> str:
        return f"PhoneNumber({self})"


@dataclass(frozen=True, slots=True)
class EmergencyNumber:
    """A number that is always put through: 112 and what the profile adds."""

    digits: str

    def __str__(self) -> str:
        return self.digits


@dataclass(frozen=True, slots=True)
class UnusableNumber:
    """What was dialled cannot be called: not a valid complete number, or of a country without a register here."""

    foreign: bool
    """True for a valid number of a country that the profile has no register for."""
    text: str
    """What was dialled. Masked by ``str()``; it may be a mistyped consumer number."""

    def __str__(self) -> str:
        return mask(self.text)

    def __repr__(self) -> str:
        return f"UnusableNumber({self}, foreign={self.foreign})"


Dialled = PhoneNumber | EmergencyNumber | UnusableNumber


def mask(text: str) -> str:
    """Hide the middle of a number: the first three digits (and ``+``) and the last three stay, short ones go whole.

    >>> mask("+31612345678")
    '+316*****678'
    """
    head = 4 if text.startswith("+") else 3
    if len(text) < head + 3 + 2:
        return "*" * len(text)
    return text[:head] + "*" * (len(text) - head - 3) + text[-3:]


def mask_within(text: str) -> str:
    """Hide whatever may be a number in a text that somebody wrote; days stay.

    >>> mask_within("asked on 2026-11-05 for 06-12 34 56 78")
    'asked on 2026-11-05 for 06-******** 78'
    """
    return _DAY_OR_NUMBER.sub(lambda found: found["day"] or mask(found[0]), text)


def load_numbering_plans() -> None:
    """Load what is known of every country, which takes 25 ms and 1.5 MB; else the first number of each country does.

    That happens under a lock, which an import that fails leaves locked: every later number would wait for ever
    (``phonenumbers.PhoneMetadata.metadata_for_region``).
    """
    phonenumbers.PhoneMetadata.load_all()


def read_dialled(text: str, profile: Profile, pbx_prefixes: tuple[str, ...] = ()) -> Dialled:
    """Normalise what was dialled.

    ``pbx_prefixes`` are the digits that this site's telephone exchange takes off before dialling (outside line ``0``,
    withheld caller id ``*31*``, carrier select ``16XX``; ``X`` is any digit). Each is stripped at most once, longest
    first; only where that leaves nothing usable is the number read less stripped, and last as it stands. So with an
    outside line ``0`` configured, ``00612345678`` is the Dutch mobile number and not an Australian one.
    """
    compact = _compact(text)
    if compact is None:
        return UnusableNumber(foreign=False, text=text)
    readings = [_read(form, profile) for form in _without_prefixes(compact, pbx_prefixes)]
    for kind in (EmergencyNumber, PhoneNumber):
        for reading in readings:
            if isinstance(reading, kind):
                return reading
    if any(isinstance(reading, UnusableNumber) and reading.foreign for reading in readings):
        return UnusableNumber(foreign=True, text=text)
    return UnusableNumber(foreign=False, text=text)


def read_recorded(
    text: str, profile: Profile, pbx_prefixes: tuple[str, ...], on_record: Callable[[PhoneNumber], bool]
) -> Dialled:
    """As ``read_dialled``, but a number that is ``on_record`` need not be valid any more.

    Numbering plans change, and the metadata with them. Nobody can be called by such a reading; what was recorded when
    the number was valid can be found by it, and taken back.
    """
    number = read_dialled(text, profile, pbx_prefixes)
    compact = _compact(text) or ""
    if not isinstance(number, UnusableNumber) or not _ONLY_DIGITS.fullmatch(compact):
        return number
    try:
        parsed = phonenumbers.parse(compact, profile.region)
    except phonenumbers.NumberParseException:
        return number
    found = PhoneNumber(digits=phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)[1:])
    return found if on_record(found) else number


def _compact(text: str) -> str | None:
    """What was dialled, in plain characters without separators; None when that is nothing, or far too much."""
    if len(text) > _LONGEST_DIALLED:
        return None
    plain = unicodedata.normalize("NFKC", text).strip()
    if plain[:4].lower() == "tel:":
        plain = plain[4:]
    plain = _SEPARATORS.sub("", plain)
    return plain or None


def _without_prefixes(compact: str, pbx_prefixes: tuple[str, ...]) -> list[str]:
    """The forms to try, most stripped first, the number as it stands last."""
    forms = [compact]
    unused = sorted(pbx_prefixes, key=len, reverse=True)
    while prefix := next((prefix for prefix in unused if _has_prefix(forms[0], prefix)), None):
        unused.remove(prefix)
        forms.insert(0, forms[0][len(prefix) :])
    return forms


def _has_prefix(compact: str, prefix: str) -> bool:
    return len(compact) > len(prefix) > 0 and all(
        char.isdigit() if wanted in "Xx" else char == wanted for wanted, char in zip(prefix, compact, strict=False)
    )


def _read(compact: str, profile: Profile) -> Dialled:
    if compact in profile.emergency_numbers:
        return EmergencyNumber(digits=compact)
    unusable = UnusableNumber(foreign=False, text=compact)
    if not _ONLY_DIGITS.fullmatch(compact):
        return unusable
    try:
        parsed = phonenumbers.parse(compact, profile.region)
    except phonenumbers.NumberParseException:
        return unusable
    if phonenumbers.is_valid_number_for_region(parsed, profile.region):
        return PhoneNumber(digits=phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)[1:])
    return UnusableNumber(foreign=phonenumbers.is_valid_number(parsed), text=compact)
