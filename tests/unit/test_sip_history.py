"""The lab's reading of Asterisk's SIP history."""

from __future__ import annotations

import re
from typing import cast

from deploy.lab.instance import AsteriskInstance
from deploy.lab.sip_history import SipHistory

NUMBERS = (0, 1, 4, 2, 3)
"""As Asterisk shows them when its threads received something at the same moment."""


class FakeInstance:
    """Asterisk, with one INVITE of its own at each place; a number counts for nothing where an entry is asked for."""

    def command(self, command: str) -> str:
        """The list, or the entry at a place."""
        if found := re.fullmatch(r"pjsip show history entry (\d+)", command):
            return f"INVITE sip:112@lab SIP/2.0\nTo: <sip:112@lab>\nCall-ID: call-{found[1]}\nCSeq: 7 INVITE\n"
        lines = [f"{number:05d} 1795604081 * <== 127.0.0.1:5060    INVITE sip:112@lab SIP/2.0" for number in NUMBERS]
        return "\n".join(["No.   Timestamp  (Dir) Address                  SIP Message", "===== =====", *lines])


def test_an_entry_is_read_at_its_place_whatever_number_it_shows() -> None:
    """Else one request is read twice and another one never."""
    received = SipHistory(cast("AsteriskInstance", FakeInstance())).received("INVITE")
    assert [one.call_id for one in received] == [f"call-{place}" for place in range(5)]
