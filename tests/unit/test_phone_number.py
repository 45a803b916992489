"""Numbers: every spelling hits one entry, and no trap gets through (DOMAIN, "Numbers")."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.domain.phone_number import EmergencyNumber, PhoneNumber, UnusableNumber, mask, read_dialled, read_recorded
from agent.domain.profile import NL_BMNR

SITE_PREFIXES = ("0", "*31*", "#31#", "16XX")
MOBILE = PhoneNumber(digits="31612345678")

SPELLINGS = [
    "0612345678",
    "+31612345678",
    "0031612345678",
    "+31 (0)6 12345678",
    "+31(0)612345678",
    "06-12345678",
    "06 12 34 56 78",
    "06.12.34.56.78",
    "(06) 12345678",
    "31612345678",
    "+310612345678",
    "tel:+31612345678",
    "TEL:0612345678",
    "０６１２３４５６７８",
    "＋31612345678",
    " 0612345678\t",
    "06\u00a012345678",
    "06\u201112345678",
]


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling_is_the_same_number(spelling: str) -> None:
    """Whatever the prefixes of the site, one number is one entry."""
    assert read_dialled(spelling, NL_BMNR) == MOBILE
    assert read_dialled(spelling, NL_BMNR, SITE_PREFIXES) == MOBILE


@pytest.mark.parametrize(
    ("dialled", "prefixes"),
    [
        ("00612345678", ("0",)),
        ("000031612345678", ("0", "00")),
        ("00031612345678", ("0",)),
        ("*31*0612345678", ("*31*",)),
        ("#31#0612345678", ("#31#",)),
        ("#31#+31612345678", ("#31#",)),
        ("*31*00612345678", ("*31*", "0")),
        ("0*31*0612345678", ("*31*", "0")),
        ("1602 0612345678", ("16XX",)),
        ("16020612345678", ("1602",)),
        ("90612345678", ("9",)),
    ],
)
def test_prefixes_of_the_site_are_taken_off_first(dialled: str, prefixes: tuple[str, ...]) -> None:
    """An outside line, a withheld caller id and a carrier code are not part of the number."""
    assert read_dialled(dialled, NL_BMNR, prefixes) == MOBILE


@pytest.mark.parametrize(
    "dialled",
    [
        "00612345678",  # parses as Australia, possible but not valid
        "90612345678",  # possible, not valid
        "031612345678",  # possible, not valid
        "06123456789",  # one digit too many: the network may ring 0612345678
        "+316123456789",
        "061234567",
        "*31*0612345678",  # parses silently
        "#31#0612345678",  # raises
        "16020612345678",
        "sip:0612345678@example.com",
        "tel:0612345678;phone-context=+31",
        "+31612345678;ext=5",
        "0612345678x9",
        "0612345678 ext. 9",
        "0800-FLOWERS",
        "06123456AB",
        "06123,45678",
        "0612345678\n0687654321",
        "++31612345678",
        "+",
        "",
        " ",
        "000",
        "anonymous",
        "06" + " " * 50 + "12345678",
        "1" * 500,
    ],
)
def test_what_cannot_be_normalised_is_unusable(dialled: str) -> None:
    """Without the prefixes configured, nothing is guessed."""
    assert isinstance(read_dialled(dialled, NL_BMNR), UnusableNumber)


def test_an_extra_digit_stays_unusable_with_prefixes_configured() -> None:
    """Stripping an outside line must not turn an overlong number into a valid one."""
    assert isinstance(read_dialled("06123456789", NL_BMNR, SITE_PREFIXES), UnusableNumber)


@pytest.mark.parametrize("dialled", ["+61234567890", "0061234567890", "+3225551234", "+447911123456"])
def test_a_valid_number_of_another_country_is_foreign(dialled: str) -> None:
    """It has no register here, which is another reason than being no number."""
    reading = read_dialled(dialled, NL_BMNR)
    assert isinstance(reading, UnusableNumber)
    assert reading.foreign


@pytest.mark.parametrize("dialled", ["112", "1-1-2", " 112 ", "911", "0112", "1602112"])
def test_emergency_numbers_are_recognised(dialled: str) -> None:
    """With or without the prefixes that people dial out of habit."""
    assert isinstance(read_dialled(dialled, NL_BMNR, SITE_PREFIXES), EmergencyNumber)


@pytest.mark.parametrize("dialled", ["1122", "0112345678", "+31112", "11", "112112"])
def test_what_only_looks_like_an_emergency_number_is_not_one(dialled: str) -> None:
    """Nothing may be smuggled past the register as an emergency."""
    assert not isinstance(read_dialled(dialled, NL_BMNR), EmergencyNumber)


@pytest.mark.parametrize("dialled", ["08001234", "0881234567", "0851234567", "09001234", "097012345678", "0201234567"])
def test_other_valid_dutch_numbers_are_numbers(dialled: str) -> None:
    """Service and machine numbers are screened like any other."""
    assert isinstance(read_dialled(dialled, NL_BMNR), PhoneNumber)


def test_a_number_is_masked_wherever_it_is_formatted() -> None:
    """The full form must be asked for by name."""
    assert str(MOBILE) == f"{MOBILE}" == "+316*****678"
    assert "2345" not in repr(MOBILE)
    assert "2345" not in repr(UnusableNumber(foreign=False, text="06123456789"))
    assert MOBILE.e164 == "+31612345678"


@pytest.mark.parametrize(("text", "masked"), [("0612345678", "061****678"), ("12345", "*****"), ("", "")])
def test_masking_hides_short_texts_whole(text: str, masked: str) -> None:
    """Three digits of five would be most of it."""
    assert mask(text) == masked


def test_prefix_and_suffix_make_up_the_number() -> None:
    """They name the set and the member in Redis."""
    assert (MOBILE.prefix, MOBILE.suffix) == ("3161234", 5678)
    assert (PhoneNumber(digits="31612340078").prefix, PhoneNumber(digits="31612340078").suffix) == ("3161234", 78)


@given(st.text(max_size=45), st.sampled_from([(), SITE_PREFIXES]))
def test_reading_never_raises(text: str, prefixes: tuple[str, ...]) -> None:
    """Whatever a trunk, a dialler or a file delivers."""
    reading = read_dialled(text, NL_BMNR, prefixes)
    assert isinstance(reading, PhoneNumber | EmergencyNumber | UnusableNumber)


@given(st.text(alphabet="0123456789+*# -()", max_size=20), st.sampled_from([(), SITE_PREFIXES]))
def test_reading_the_result_again_gives_the_same_number(text: str, prefixes: tuple[str, ...]) -> None:
    """What is dialled is what was screened."""
    reading = read_dialled(text, NL_BMNR, prefixes)
    if isinstance(reading, PhoneNumber):
        assert read_dialled(reading.e164, NL_BMNR) == reading


@pytest.mark.parametrize(
    ("text", "digits"),
    [("0612345678", "31612345678"), ("06123456789", "316123456789"), ("+31 6123456789", "316123456789")],
)
def test_what_is_on_record_need_not_be_valid(text: str, digits: str) -> None:
    """It was when it was recorded. What is not on record is judged as what is dialled."""
    assert read_recorded(text, NL_BMNR, (), lambda number: number.digits == digits) == PhoneNumber(digits=digits)
    assert read_recorded(text, NL_BMNR, (), lambda _: False) == read_dialled(text, NL_BMNR)


@pytest.mark.parametrize("text", ["112", "", "*31*0612345678", "06x", "+", "0800-FLOWERS"])
def test_what_is_no_number_is_never_looked_for(text: str) -> None:
    """An emergency number stays one, and letters are none."""
    assert read_recorded(text, NL_BMNR, (), lambda _: True) == read_dialled(text, NL_BMNR)
