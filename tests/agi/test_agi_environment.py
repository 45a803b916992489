"""The request at the start of an AGI session: read to the letter, refused when it is none, waited for in due time."""

from __future__ import annotations

import threading
from time import monotonic

import pytest

from agent.adapters.agi_channel import MAX_ENVIRONMENT_LINES, MAX_LINE_BYTES, AgiChannel
from agent.adapters.agi_values import (
    AgiHangup,
    AgiProtocolError,
    AgiTimeout,
)
from tests.agi.channel_session import Session, hasty, read, session
from tests.agi.fake_asterisk import environment

__all__ = ["hasty", "session"]


def test_the_request_holds_what_asterisk_sent_to_the_letter(session: Session) -> None:
    """Arguments keep their spaces, colons and emptiness; the query is cut off the script."""
    request = read(session, *environment("screen?x=1", " +316 12", "energy: autumn", "", "200", callerid="unknown"))
    assert request.script == "screen"
    assert request.arguments == (" +316 12", "energy: autumn", "", "200")
    assert (request.channel, request.uniqueid) == ("Local/s@bmn-screen-00000007;2", "1795465754.7")
    assert (request.language, request.callerid) == ("nl", "unknown")
    assert (request.context, request.extension) == ("bmn-screen", "s")
    assert request.environment["agi_version"] == "22.10.1"


@pytest.mark.parametrize(
    ("lines", "script"),
    [
        (["agi_request: agi://127.0.0.1/notice?a=b"], "notice"),
        (["agi_request: agi://[::1]:4573/a/b"], "a/b"),
        (["agi_request: agi://127.0.0.1"], ""),
        (["agi_request: /var/lib/asterisk/agi-bin/screen"], "/var/lib/asterisk/agi-bin/screen"),
        (["agi_network: yes"], ""),
    ],
)
def test_the_script_is_found_without_a_network_script_line(session: Session, lines: list[str], script: str) -> None:
    """Asterisk leaves that line out for a bare host, and for a classic script."""
    assert read(session, *lines).script == script


def test_a_request_does_not_show_numbers_when_printed(session: Session) -> None:
    """It may end up in a log with an error."""
    text = repr(read(session, *environment("screen", "+31612345678", extension="0687654321")))
    assert "612345678" not in text
    assert "201234567" not in text
    assert "687654321" not in text


def test_an_environment_byte_by_byte_is_read(session: Session) -> None:
    """However the stream is cut."""
    work = session.start(session.channel.read_request)
    session.asterisk.send_environment("screen", "+31612345678", bytewise=True)
    assert session.result(work).arguments == ("+31612345678",)


def test_bytes_that_are_no_utf8_do_not_stop_a_request(session: Session) -> None:
    """A caller's name comes from anywhere."""
    session.asterisk.send(b"agi_network_script: screen\nagi_calleridname: \xff\xfe\n\n")
    assert session.channel.read_request().script == "screen"


@pytest.mark.parametrize(
    "data",
    [
        b"\nagi_request: x\n\n",
        b"GET / HTTP/1.1\nHost: x\n\n",
        b"agi_calleridname: a\nagi_arg_1: 112\nagi_arg_1: +31612345678\n\n",
        b"agi_calleridname: a\nevil\nagi_arg_1: 112\n\n",
        b"agi_network_script: screen\nagi_callerid: a\nagi_arg_1: 112\nagi_arg_2: survey\n\n",
        b"\x16\x03\x01\x02\x00\x01\n\n",
        b"a: " + b"x" * MAX_LINE_BYTES + b"\n\n",
        b"a: " + b"x" * (2 * MAX_LINE_BYTES),
        b"".join(b"agi_%d: x\n" % n for n in range(MAX_ENVIRONMENT_LINES + 1)) + b"\n",
        b"".join(b"agi_%d: x\n" % n for n in range(MAX_ENVIRONMENT_LINES + 2)),
    ],
    ids=[
        "blank first",
        "http",
        "twice",
        "no name",
        "ended early",
        "tls",
        "long",
        "endless line",
        "many lines",
        "endless",
    ],
)
def test_what_is_no_environment_is_refused(session: Session, data: bytes) -> None:
    """A newline in a caller's name, or two, must not bring a number of its own."""
    session.asterisk.send(data)
    with pytest.raises(AgiProtocolError):
        session.channel.read_request()


class Chunks:
    """A transport that delivers given pieces, one for each read."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = list(pieces)

    def receive(self, wait_s: float) -> bytes | None:
        """The next piece, then the end."""
        return self._pieces.pop(0) if self._pieces else b""

    def glance(self) -> bytes | None:
        """Nothing more."""

    def send(self, data: bytes, until: float) -> None:
        """Nobody listens."""

    def end(self) -> None:
        """Nothing to close."""


@pytest.mark.parametrize("kept_back", [0, 1, 2, 3])
def test_the_largest_allowed_environment_is_read(kept_back: int) -> None:
    """The bounds are where they are said to be, also when the last bytes come apart."""
    lines = [f"agi_{n}: x" for n in range(MAX_ENVIRONMENT_LINES - 1)]
    longest = "agi_arg_1: " + "y" * (MAX_LINE_BYTES - len("agi_arg_1: "))
    data = "\n".join([*lines, longest, "", ""]).encode()
    cut = len(data) - kept_back
    request = AgiChannel(Chunks(data[:cut], data[cut:])).read_request()
    assert len(request.environment) == MAX_ENVIRONMENT_LINES


@pytest.mark.parametrize("sent", [b"", b"agi_network: yes\n", b"agi_network: yes\nagi_req"])
def test_a_hangup_before_the_environment_is_complete_is_a_hangup(session: Session, sent: bytes) -> None:
    """At every cut."""
    session.asterisk.send(sent) if sent else None
    session.asterisk.hang_up()
    with pytest.raises(AgiHangup):
        session.channel.read_request()


@pytest.mark.parametrize("sent", [b"", b"agi_network: yes\n"])
def test_an_environment_that_never_ends_runs_out_of_time(hasty: Session, sent: bytes) -> None:
    """Silence costs the limit and no more."""
    hasty.asterisk.send(sent) if sent else None
    began = monotonic()
    with pytest.raises(AgiTimeout):
        hasty.channel.read_request()
    assert 0.14 < monotonic() - began < 1
    assert len(hasty.stalls) == 1


def test_single_bytes_do_not_stretch_the_deadline(hasty: Session) -> None:
    """A peer that always sends something is still cut off, and counts as stalled."""
    ended = threading.Event()

    def drip() -> None:
        while not ended.wait(0.01):
            hasty.asterisk.send(b"x")

    dripping = threading.Thread(target=drip)
    dripping.start()
    began = monotonic()
    with pytest.raises(AgiTimeout):
        hasty.channel.read_request()
    took = monotonic() - began
    ended.set()
    dripping.join()
    assert 0.14 < took < 1
    assert len(hasty.stalls) == 1


def test_a_stalled_peer_is_dropped_at_once_when_there_are_too_many(session: Session) -> None:
    """The limit here is 5 s; the refusal to wait comes after 50 ms."""
    session.may_stall = False
    began = monotonic()
    with pytest.raises(AgiTimeout):
        session.channel.read_request()
    assert monotonic() - began < 1


def test_a_prompt_peer_is_never_called_stalled(session: Session) -> None:
    """The pool would grow for nothing."""
    read(session, *environment("screen"))
    work = session.start(session.channel.noop)
    session.asterisk.expect("NOOP").reply("200 result=0")
    session.result(work)
    assert session.stalls == []
