"""What a phone says of itself reaches the agent as lines of AGI: none of it may become a line of its own."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Iterator
from contextlib import closing
from urllib.parse import quote

import pytest

from deploy.lab import Lab
from deploy.lab.instance import LOOPBACK
from deploy.lab.lab import INCLUDED_CAMPAIGN, INCLUDED_PHONE
from tests.e2e.conftest import Site
from tests.waiting import until

REGISTERED = "0612345678"
REGISTER = f"{REGISTERED}\n"
PATIENCE_S = 5.0
ASKED = f"\nagi_arg_1: {REGISTERED}\nagi_arg_2: survey\n"
"""What the caller would rather have asked: research may call registered numbers."""
REST = "".join(
    f"agi_{name}: 0\n" for name in ("context", "extension", "priority", "enhanced", "accountcode", "threadid")
)
"""What Asterisk sends after the number that a call was forwarded from."""


@pytest.fixture(autouse=True)
def campaign(lab: Lab) -> Iterator[None]:
    """The campaign of every call is one that may not."""
    lab.pbx.ami.action("Setvar", Variable="BMN_CAMPAIGN", Value="energy")
    yield
    lab.pbx.ami.action("Setvar", Variable="BMN_CAMPAIGN", Value="")


def invite(lab: Lab, user: str, *headers: str) -> int:
    """A phone sends an INVITE of its own making for the registered number; returns the final status."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as phone:
        phone.bind((LOOPBACK, 0))
        phone.settimeout(PATIENCE_S)
        here, there = f"{LOOPBACK}:{phone.getsockname()[1]}", lab.pbx_address
        number = f"sip:{REGISTERED}@{there}"
        branch, call_id = f"z9hG4bK{secrets.token_hex(8)}", secrets.token_hex(8)
        sdp = f"v=0\r\no=- 1 1 IN IP4 {LOOPBACK}\r\ns=-\r\nc=IN IP4 {LOOPBACK}\r\nt=0 0\r\nm=audio 9 RTP/AVP 0\r\n"

        def send(method: str, to: str, body: str) -> None:
            lines = [
                f"{method} {number} SIP/2.0",
                f"Via: SIP/2.0/UDP {here};branch={branch}",
                f"From: <sip:{quote(user, safe='')}@{LOOPBACK}>;tag=phone",
                f"To: {to}",
                f"Call-ID: {call_id}",
                f"CSeq: 1 {method}",
                f"Contact: <sip:phone@{here}>",
                "Max-Forwards: 70",
                *headers,
                *(["Content-Type: application/sdp"] if body else []),
                f"Content-Length: {len(body)}",
            ]
            address, port = there.split(":")
            phone.sendto("\r\n".join([*lines, "", body]).encode(), (address, int(port)))

        send("INVITE", f"<{number}>", sdp)
        while True:
            first, *lines = phone.recv(65_536).decode().split("\r\n")
            if (status := int(first.split()[1])) >= 200:
                send("ACK", next(line[4:] for line in lines if line.startswith("To: ")), "")
                return status


@pytest.mark.parametrize(
    ("user", "headers"),
    [
        (f"{ASKED}\n", ()),
        ("agent", (f"Diversion: <sip:{quote(ASKED + REST + chr(10), safe='')}@{LOOPBACK}>",)),
        ("agent\n", ()),
    ],
    ids=["caller", "forwarded", "a line break alone"],
)
def test_a_line_break_in_what_a_phone_says_asks_for_nothing(
    lab: Lab, site: Site, user: str, headers: tuple[str, ...]
) -> None:
    """The number is registered: it is not dialled, whatever the phone would have had the agent asked."""
    site.load_register(REGISTER)
    before = len(lab.invites_from_trunk())
    assert invite(lab, user, *headers) == 403
    assert lab.invites_from_trunk()[before:] == []
    assert [one["verdict"] for one in site.records("call.screened") if one["verdict"] == "allow"] == []


def test_a_phone_with_a_plain_name_is_screened_as_ever(lab: Lab, site: Site) -> None:
    """The INVITE of these tests is one that Asterisk takes."""
    site.load_register(REGISTER)
    assert invite(lab, INCLUDED_PHONE) == 403
    (screened,) = until(lambda: site.records("call.screened"))
    assert (screened["reason"], screened["campaign"]) == ("registered", INCLUDED_CAMPAIGN)
