"""What the dialplan takes for a spelling of an emergency number: all of them, and no number that a consumer has.

The patterns are read from the dialplan; that Asterisk reads them so is for tests/e2e.
"""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Final

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.domain.phone_number import PhoneNumber, read_dialled
from agent.domain.profile import NL_BMNR, PROFILES

DIALPLAN: Final = (Path(__file__).resolve().parents[2] / "dialplan" / "extensions_bmn.conf").read_text()
LONG, SHORT = (
    re.compile(pattern)
    for words in (r'=~ "(\S+)"\]\?screen\)', r'REGEX\("(\S+)" \$\{BMN_DIALLED\}\)')
    for pattern in re.findall(words, DIALPLAN)
)
"""What goes on to the screening at once, and what may be a spelling."""
_ROUTE: Final = DIALPLAN[DIALPLAN.index("\n[bmn-emergency-call]") :].split("\n\n")[0]
EXTENSIONS: Final = set(re.findall(r"^exten => (\w+),1", _ROUTE, re.MULTILINE))

OUTSIDE_LINE: Final = ("", "0", "9")
CALLER_ID: Final = ("", *("".join(part) for part in itertools.product(OUTSIDE_LINE, "*#", ("31",), ("*", "#", ""))))
COUNTRY: Final = ("", "00", "+", "0031", "+31", "31", "00310", "+310", "310")
BEHIND: Final = ("", "#", "*", "##", "*#")
SITES: Final = ((), ("0",), ("9",), ("*31*", "#31#"), ("0", "9", "*31*", "#31#", "*31#", "#31*", "*31", "#31", "16XX"))
"""What an exchange may take off before it dials."""


def emergency(dialled: str) -> str:
    """The emergency number that the dialplan dials for it; empty when it asks for a verdict."""
    if LONG.search(dialled) or not SHORT.search(dialled):
        return ""
    number = re.sub(r"\D", "", dialled)[-3:]
    return number if number in EXTENSIONS else ""


def kinds(dialled: str) -> set[int]:
    """Of what number it is, as sites read it; empty when it is none."""
    read = [read_dialled(dialled, NL_BMNR, prefixes) for prefixes in SITES]
    numbers = [phonenumbers.parse(number.e164) for number in read if isinstance(number, PhoneNumber)]
    return {phonenumbers.number_type(number) for number in numbers}


def test_the_dialplan_knows_the_emergency_numbers_of_every_profile() -> None:
    """No other number can leave by that way."""
    for profile in PROFILES.values():
        assert profile.emergency_numbers == EXTENSIONS


@pytest.mark.parametrize("number", sorted(NL_BMNR.emergency_numbers))
def test_each_spelling_is_the_number_and_no_consumers(number: str) -> None:
    """All combinations. Behind an outside line 9 some are 0900 numbers without their 0: services, and no consumers."""
    for parts in itertools.product(CALLER_ID, OUTSIDE_LINE, COUNTRY, (number,), BEHIND):
        spelling = "".join(parts)
        assert emergency(spelling) == number, spelling
        assert kinds(spelling) <= {phonenumbers.PhoneNumberType.PREMIUM_RATE}, spelling


def _numbers() -> st.SearchStrategy[str]:
    """National numbers, with digits of emergency numbers in them more often than chance has it."""
    piece = st.one_of(st.sampled_from(["112", "911", "31", "0031", "00", "0", "9"]), st.from_regex(r"\A[0-9]\Z"))
    return st.lists(piece, min_size=1, max_size=12).map("".join)


@given(
    number=_numbers(),
    caller_id=st.sampled_from(CALLER_ID),
    outside=st.sampled_from(OUTSIDE_LINE),
    country=st.sampled_from(COUNTRY),
    behind=st.sampled_from(BEHIND),
)
def test_no_number_of_a_consumer_is_an_emergency(
    number: str, caller_id: str, outside: str, country: str, behind: str
) -> None:
    """Whatever stands before it."""
    dialled = caller_id + outside + country + number + behind
    if kinds(dialled) - {phonenumbers.PhoneNumberType.PREMIUM_RATE}:
        assert emergency(dialled) == ""


LOOKALIKES: Final = """
0112345678 1120612345678 9112345678 9112061234 0161200112 0900112 09000112 0900310112 116112 1600112 14112
*21*112# **112 112+ 1124 9113 +49112 +1911 11 1
"""


@pytest.mark.parametrize("dialled", LOOKALIKES.split())
def test_what_only_looks_like_one_is_none(dialled: str) -> None:
    """Numbers that begin or end so, of services, of other countries; call forwarding."""
    assert emergency(dialled) == ""
