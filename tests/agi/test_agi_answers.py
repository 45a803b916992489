"""What Asterisk answers to a command, in whole or in pieces, wrong, late or never."""

from __future__ import annotations

import socket
from contextlib import suppress
from time import monotonic

import pytest

from agent.adapters.agi_channel import MAX_LINE_BYTES
from agent.adapters.agi_values import (
    AgiHangup,
    AgiProtocolError,
    AgiTimeout,
)
from tests.agi.channel_session import Session, hasty, session
from tests.agi.fake_asterisk import environment

__all__ = ["hasty", "session"]


def test_trying_and_hangup_lines_are_passed_over(session: Session) -> None:
    """The hang-up is remembered, and the answer behind it still counts."""
    work = session.start(lambda: session.channel.set_variables({"A": "x"}))
    session.asterisk.expect_variables(A="x").reply("100 Trying", "HANGUP", "100 result=0 Trying...", "200 result=1")
    session.result(work)
    assert session.channel.hung_up


def test_a_hangup_line_before_the_first_command_is_remembered(session: Session) -> None:
    """It may come in the same packet as the environment."""
    session.asterisk.send("\n".join([*environment("screen"), "", "HANGUP\n"]))
    session.channel.read_request()
    work = session.start(lambda: session.channel.set_variables({"A": "x"}))
    session.asterisk.expect_variables(A="x").confirm()
    session.result(work)
    assert session.channel.hung_up


def test_an_answer_byte_by_byte_is_read(session: Session) -> None:
    """However the stream is cut."""
    work = session.start(lambda: session.channel.get_variable("A"))
    session.asterisk.expect("GET VARIABLE A").reply("HANGUP", "200 result=1 (abc)", bytewise=True)
    assert session.result(work) == "abc"


def test_a_dead_channel_is_a_hangup_and_the_session_stands(session: Session) -> None:
    """511 answers what a dead channel cannot do; variables still work."""
    work = session.start(lambda: session.channel.stream_file("a"))
    session.asterisk.expect('STREAM FILE a ""').reply(
        "511 Command Not Permitted on a dead channel or intercept routine"
    )
    with pytest.raises(AgiHangup):
        session.result(work)
    again = session.start(lambda: session.channel.set_variables({"A": "x"}))
    session.asterisk.expect_variables(A="x").confirm()
    session.result(again)


USAGE = ("520-Invalid command syntax.  Proper usage follows:", " Usage: HANGUP", "HANGUP", "520 End of proper usage.")


@pytest.mark.parametrize(
    "lines",
    [
        ("510 Invalid or unknown command",),
        ("520 Invalid command syntax.  Proper usage not available.",),
        USAGE,
    ],
)
def test_a_refused_command_is_an_error_and_the_session_stands(session: Session, lines: tuple[str, ...]) -> None:
    """The explanation is read to its end, and a HANGUP inside it is none."""
    work = session.start(session.channel.noop)
    session.asterisk.expect("NOOP").reply(*lines)
    with pytest.raises(AgiProtocolError):
        session.result(work)
    again = session.start(session.channel.noop)
    session.asterisk.expect("NOOP").reply("200 result=0")
    session.result(again)
    assert not session.channel.hung_up


@pytest.mark.parametrize(
    "sent",
    [b"", b"200 res", b"200 result=1", b"HANGUP\n", b"100 Trying\n", b"520-Invalid\n usage\n"],
)
def test_a_lost_connection_during_a_command_is_a_hangup(session: Session, sent: bytes) -> None:
    """At every cut, and without an endless loop."""
    work = session.start(session.channel.noop)
    session.asterisk.expect("NOOP")
    session.asterisk.send(sent) if sent else None
    session.asterisk.hang_up()
    with pytest.raises(AgiHangup):
        session.result(work)


def test_a_connection_lost_before_a_command_is_a_hangup(session: Session) -> None:
    """Writing to nobody neither kills the process nor raises a socket's own error."""
    session.asterisk.hang_up()
    with pytest.raises(AgiHangup):
        session.channel.noop()


@pytest.mark.parametrize(
    "garbage",
    [
        b"hello\n",
        b"\n",
        b"200\n",
        b"200 result\n",
        b"200 result=1 (a\n",
        b"200 result=1 endpos=x\n",
        b"404 x\n",
        b"\xff\xfe\n",
        b"200 result=1 (" + b"x" * MAX_LINE_BYTES + b")\n",
        b"x" * (MAX_LINE_BYTES + 1),
        b"100 Trying\n" * 300,
        b"520-a\n" + b"b\n" * 300,
    ],
)
def test_garbage_is_a_protocol_error_and_ends_all_talk(session: Session, garbage: bytes) -> None:
    """Nothing that follows could be matched to its command."""
    work = session.start(session.channel.noop)
    session.asterisk.expect("NOOP")
    session.asterisk.send(garbage)
    with pytest.raises(AgiProtocolError):
        session.result(work)
    with pytest.raises(AgiProtocolError):
        session.channel.set_variables({"A": "x"})
    assert session.channel.commands_sent == 1


def test_an_answer_that_does_not_come_runs_out_of_time_and_ends_all_talk(hasty: Session) -> None:
    """A late answer would be taken for the next command's."""
    began = monotonic()
    with pytest.raises(AgiTimeout):
        hasty.channel.noop()
    assert 0.14 < monotonic() - began < 1
    hasty.asterisk.send("200 result=1\n")
    with pytest.raises(AgiProtocolError):
        hasty.channel.get_variable("A")


def test_a_prompt_may_outlast_the_ordinary_time_limit() -> None:
    """Playing has its own limit. A stall shows after 50 ms, when the ordinary limit of 10 ms is long over."""
    session = Session(timeout_ms=10)
    work = session.start(lambda: session.channel.stream_file("a", limit_ms=5000))
    session.asterisk.expect('STREAM FILE a ""')
    assert session.stalled.wait(5)
    session.asterisk.send("200 result=0 endpos=8000\n")
    assert session.result(work).endpos_samples == 8000
    session.close()


def test_a_prompt_is_not_waited_for_beyond_its_limit(session: Session) -> None:
    """An Asterisk that froze must not hold a dialogue for ever."""
    with pytest.raises(AgiTimeout):
        session.channel.stream_file("a", limit_ms=100)


def test_a_peer_that_takes_nothing_runs_out_of_time(hasty: Session) -> None:
    """The deadline holds for writing as well."""
    for size in (65536, 1):
        with suppress(BlockingIOError):
            while True:
                hasty.socket.send(b"x" * size, socket.MSG_DONTWAIT)
    began = monotonic()
    with pytest.raises(AgiTimeout, match="did not take"):
        hasty.channel.noop()
    assert monotonic() - began < 1
