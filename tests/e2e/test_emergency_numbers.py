"""Emergency numbers leave by the dialplan alone, however they are spelt, and nothing else leaves with them."""

from __future__ import annotations

import pytest

from agent.domain.profile import NL_BMNR
from deploy.lab import Lab
from deploy.lab.lab import INCLUDED_PHONE
from tests.e2e.conftest import Site

SPELLINGS = """
XYZ  0XYZ  9XYZ  XYZ#  XYZ*  XYZ##  +XYZ  00XYZ  0+XYZ  9+XYZ  000XYZ  900XYZ
+31XYZ  0031XYZ  31XYZ  +310XYZ  00310XYZ  0+31XYZ  9+31XYZ  00031XYZ  90031XYZ  0+310XYZ
*31*XYZ  #31#XYZ  *31#XYZ  #31*XYZ  *31XYZ  #31XYZ  *31*0XYZ  0*31*XYZ  9#31#XYZ  #31#9XYZ
*31*+XYZ  *31*00XYZ  *31*+31XYZ  #31#0031XYZ  0*31*0031XYZ#  9#31#+31XYZ*  0*31*0+310XYZ#
X_Y_Z  X-Y-Z  X.Y.Z  (XYZ)  _XYZ  +31_XYZ  +31_(0)XYZ  0_XYZ  9-XYZ  #31#_X_Y_Z_#
XYZ;phone-context=+31  +XYZ;phone-context=+31  #31#XYZ;user=phone  0_+31_XYZ;phone-context=+31  XYZ;a=b;112345
"""
"""X, Y and Z are the digits of an emergency number, and _ is a blank."""
ELSE = """
0112345678  1120612345678  9112345678  9112061234  0911234567  1124  9113  0113  11  1  112#1  112*0612345678
*21*112#  **112  112+  +3111  0032112  +49112  +1911  99112345  0031112345  0900112  09000112
112,survey  112&PJSIP/0612349999  06;112  0612345678;112  112x  112_345  112%  112"
"""
"""What is no emergency number, although it looks like one."""


def spelt(table: str, number: str = "") -> list[str]:
    """The words of a table, with the digits of ``number`` in them."""
    letters = str.maketrans({"_": " ", **dict(zip("XYZ", number, strict=False))})
    return [word.translate(letters) for word in table.split()]


@pytest.mark.parametrize("number", sorted(NL_BMNR.emergency_numbers))
@pytest.mark.parametrize("caller", ["agent", INCLUDED_PHONE])
def test_an_emergency_number_leaves_without_the_service_in_each_spelling(
    lab: Lab, site: Site, subtests: pytest.Subtests, number: str, caller: str
) -> None:
    """With the agent killed; by a Goto and by a plain include; each as the plain number, in one INVITE."""
    site.agent.kill()
    before = len(lab.invites_from_trunk())
    spellings = spelt(SPELLINGS, number)
    calls = {spelling: lab.place(spelling, caller=caller, hold_s=0.1) for spelling in spellings}
    for spelling, call in calls.items():
        with subtests.test(spelling):
            outcome = call.outcome()
            assert outcome.answered
            assert outcome.userfield == "bmn:allow:emergency_number:-"
    assert lab.invites_from_trunk()[before:] == [number] * len(spellings)


@pytest.mark.parametrize("caller", ["agent", INCLUDED_PHONE])
def test_nothing_else_leaves_as_an_emergency_number(
    lab: Lab, site: Site, subtests: pytest.Subtests, caller: str
) -> None:
    """Without the service, so that nothing but the emergency route could dial."""
    site.agent.kill()
    before = len(lab.invites_from_trunk())
    calls = {dialled: lab.place(dialled, caller=caller, hold_s=0.1) for dialled in spelt(ELSE)}
    for dialled, call in calls.items():
        with subtests.test(dialled):
            assert not call.outcome().answered
    assert lab.invites_from_trunk()[before:] == []


def test_an_emergency_number_that_only_the_service_knows_goes_through_it(lab: Lab, site: Site) -> None:
    """Here behind an outside line that the dialplan does not know; it needs no register."""
    site.agent.stop()
    site.agent.environment["BMN_DIALLING__PBX_PREFIXES"] = "8"
    site.agent.start()
    before = len(lab.invites_from_trunk())
    outcome = lab.call("8112", campaign="energy", agent="agent-7", hold_s=0.3)
    assert outcome.answered
    assert lab.invites_from_trunk()[before:] == ["112"]
    assert site.last_verdict()["reason"] == "emergency_number"
