"""The commands of the AGI channel: what may be sent, and what comes of it."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.adapters.agi_channel import MAX_COMMAND_BYTES, AgiChannel
from agent.adapters.agi_transport import SocketTransport
from agent.adapters.agi_values import (
    AgiHangup,
    AgiProtocolError,
    PlayResult,
    UnsafeAgiValue,
)
from tests.agi.channel_session import Session, read, session
from tests.agi.fake_asterisk import environment

__all__ = ["session"]


def test_all_variables_leave_in_one_command(session: Session) -> None:
    """One screening is one round trip; empty values stay in their place, in the middle and at the end."""
    values = {"BMN_VERDICT": "block", "BMN_NUMBER": "", "BMN_CALL": "a-1", "BMN_NOTICE": ""}
    work = session.start(lambda: session.channel.set_variables(values))
    session.asterisk.expect('SET VARIABLE ARRAY(BMN_VERDICT,BMN_NUMBER,BMN_CALL,BMN_NOTICE) "block,,a-1,"').confirm()
    session.result(work)
    assert session.asterisk.variables == values
    assert session.channel.commands_sent == 1


def test_variables_that_asterisk_does_not_confirm_are_an_error(session: Session) -> None:
    """No verdict may be taken for delivered when it was not."""
    work = session.start(lambda: session.channel.set_variables({"A": "x"}))
    session.asterisk.expect_variables(A="x").reply("200 result=0")
    with pytest.raises(AgiProtocolError):
        session.result(work)


def test_no_variables_are_no_command(session: Session) -> None:
    """ARRAY() would be a syntax error."""
    session.channel.set_variables({})
    assert session.channel.commands_sent == 0
    assert session.asterisk.is_silent()


UNSAFE = ["a\nHANGUP", 'a"', "a\\", "a\0", "a\r", "a,b", "a(b", "a)b", "a[b", "a]b", "${X}", "\x7f", "é", "a\tb", "a;b"]


@pytest.mark.parametrize("value", UNSAFE)
def test_an_unsafe_value_is_refused_before_anything_is_sent(session: Session, value: str) -> None:
    """And it is not repeated in the error."""
    with pytest.raises(UnsafeAgiValue) as caught:
        session.channel.set_variables({"BMN_REASON": "ok", "BMN_NUMBER": value})
    assert "BMN_NUMBER" in str(caught.value)
    assert value not in str(caught.value)
    assert session.asterisk.is_silent()
    assert session.channel.commands_sent == 0


@pytest.mark.parametrize("name", ["", "A,B", "A)", 'A"', "A B", "A\n", "1A", "CHANNEL(x)", "A" * 81])
def test_an_unsafe_name_is_refused_before_anything_is_sent(session: Session, name: str) -> None:
    """Names are constants of ours; a wrong one is a mistake, not a command."""
    with pytest.raises(UnsafeAgiValue):
        session.channel.set_variables({name: "x"})
    assert session.asterisk.is_silent()


@pytest.mark.parametrize(
    "work",
    [
        lambda channel: channel.verbose('a"b'),
        lambda channel: channel.verbose("a\nb"),
        lambda channel: channel.get_variable("A\nHANGUP"),
        lambda channel: channel.stream_file("a b"),
        lambda channel: channel.stream_file("a", '1"'),
        lambda channel: channel.stream_file("a\nHANGUP"),
        lambda channel: channel.stream_file("a&b"),
        lambda channel: channel.say_digits('1"\nHANGUP'),
        lambda channel: channel.send_image("a b"),
        lambda channel: channel.execute("NOOP\nHANGUP"),
        lambda channel: channel.execute("NOOP", "a\nHANGUP"),
        lambda channel: channel.set_context("x\nHANGUP"),
        lambda channel: channel.verbose("x" * MAX_COMMAND_BYTES),
    ],
)
def test_no_command_lets_an_unsafe_value_through(session: Session, work: Callable[[AgiChannel], Any]) -> None:
    """Neither ours nor what is only inherited."""
    with pytest.raises(UnsafeAgiValue):
        work(session.channel)
    assert session.asterisk.is_silent()


@given(value=st.text())
def test_whatever_the_value_it_is_one_whole_line_or_refused(value: str) -> None:
    """Never altered."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        channel = AgiChannel(SocketTransport(ours), timeout_ms=1000)
        theirs.sendall(b"200 result=1\n")
        try:
            channel.set_variables({"A": value, "B": "end"})
        except UnsafeAgiValue:
            assert channel.commands_sent == 0
        else:
            assert theirs.recv(65536) == f'SET VARIABLE ARRAY(A,B) "{value},end"\n'.encode("ascii")


@pytest.mark.parametrize(
    ("reply", "value"),
    [
        ("200 result=0", None),
        ("200 result=1 ()", ""),
        ("200 result=1 (nl)", "nl"),
        ("200 result=1 (a (b) c)", "a (b) c"),
        ("200 result=1 (a) endpos=5)", "a) endpos=5"),
        ("200 result=1 (timeout)", "timeout"),
    ],
)
def test_an_unset_variable_is_not_an_empty_one(session: Session, reply: str, value: str | None) -> None:
    """Verified on Asterisk 22."""
    work = session.start(lambda: session.channel.get_variable("BMN_CALL"))
    session.asterisk.expect("GET VARIABLE BMN_CALL").reply(reply)
    assert session.result(work) == value


@pytest.mark.parametrize(
    ("reply", "values"),
    [
        ("200 result=1 (0/165)", ("0", "165")),
        ("200 result=1 (/)", ("", "")),
        ("200 result=1 (0/1/2)", ()),
        ("200 result=1 ()", ()),
        ("200 result=0", ()),
    ],
)
def test_functions_are_read_together(session: Session, reply: str, values: tuple[str, ...]) -> None:
    """In one command; an answer that does not fit is no answer."""
    names = ("CHANNEL(rtp,hold)", "CHANNEL(rtcp,txcount)")
    work = session.start(lambda: session.channel.read_functions(*names))
    session.asterisk.expect('GET FULL VARIABLE "${CHANNEL(rtp,hold)}/${CHANNEL(rtcp,txcount)}"').reply(reply)
    assert session.result(work) == values


@pytest.mark.parametrize("name", ["", "SHELL(id)}${X", 'X"', "X\nHANGUP", "${X}", "SHELL(rm -r x)"])
def test_what_is_read_cannot_become_another_expression(session: Session, name: str) -> None:
    """Asterisk would work it out."""
    with pytest.raises(UnsafeAgiValue):
        session.channel.read_functions("CHANNEL(rtp,hold)", name)
    assert session.asterisk.is_silent()


@pytest.mark.parametrize(
    ("reply", "result"),
    [
        ("200 result=0 endpos=16000", PlayResult(None, 16000, False)),
        ("200 result=49 endpos=800", PlayResult("1", 800, False)),
        ("200 result=48 endpos=800", PlayResult("0", 800, False)),
        ("200 result=42 endpos=800", PlayResult("*", 800, False)),
        ("200 result=-1 endpos=2400", PlayResult(None, 2400, True)),
        ("200 result=-1 endpos=0", PlayResult(None, 0, True)),
    ],
)
def test_playing_tells_how_far_and_which_key(session: Session, reply: str, result: PlayResult) -> None:
    """The position is the proof of what was heard; a hang-up keeps it."""
    work = session.start(lambda: session.channel.stream_file("bmn/nl/notice", "12"))
    session.asterisk.expect('STREAM FILE bmn/nl/notice "12"').reply(reply)
    assert session.result(work) == result


@pytest.mark.parametrize(("reply", "key"), [("200 result=0", None), ("200 result=49", "1"), ("200 result=35", "#")])
def test_silence_is_not_a_key(session: Session, reply: str, key: str | None) -> None:
    """Nothing came in time, or a key did."""
    work = session.start(lambda: session.channel.wait_for_digit(4000))
    session.asterisk.expect("WAIT FOR DIGIT 4000").reply(reply)
    assert session.result(work) == key


def test_waiting_for_a_key_ends_with_the_call(session: Session) -> None:
    """A hang-up must not pass for silence: the consumer is not asked again."""
    work = session.start(lambda: session.channel.wait_for_digit(4000))
    session.asterisk.expect("WAIT FOR DIGIT 4000").reply("200 result=-1")
    with pytest.raises(AgiHangup):
        session.result(work)


def test_the_language_is_a_function_of_the_channel(session: Session) -> None:
    """Quoted as a value; nothing but a language passes."""
    work = session.start(lambda: session.channel.set_language("nl"))
    session.asterisk.expect('SET VARIABLE CHANNEL(language) "nl"').confirm()
    session.result(work)
    for language in ("", "NL", 'nl"', "nl\nHANGUP"):
        with pytest.raises(UnsafeAgiValue):
            session.channel.set_language(language)
    assert session.asterisk.is_silent()


@pytest.mark.parametrize("result", ["x", "999", "1 (", "²", "12", "", "yes"])
def test_keys_that_no_telephone_has_are_a_protocol_error(session: Session, result: str) -> None:
    """A garbled answer is no choice."""
    work = session.start(lambda: session.channel.stream_file("a", "1"))
    session.asterisk.expect('STREAM FILE a "1"').reply(f"200 result={result} endpos=1")
    with pytest.raises(AgiProtocolError):
        session.result(work)


def test_verbose_and_inherited_commands_speak_agi(session: Session) -> None:
    """What comes from pyst2 runs through the same door."""
    steps: list[tuple[Callable[[], object], str, str]] = [
        (lambda: session.channel.verbose("blocked: registered", 2), 'VERBOSE "blocked: registered" 2', "200 result=1"),
        (session.channel.answer, "ANSWER", "200 result=0"),
        (lambda: session.channel.say_digits("12", "#"), 'SAY DIGITS "12" "#"', "200 result=0"),
        (lambda: session.channel.wait_for_digit(500), "WAIT FOR DIGIT 500", "200 result=0"),
        (session.channel.hangup, "HANGUP", "200 result=1"),
    ]
    for work, command, reply in steps:
        running = session.start(work)
        session.asterisk.expect(command).reply(reply)
        session.result(running)


def test_nothing_is_written_to_the_standard_streams(session: Session, capfd: pytest.CaptureFixture[str]) -> None:
    """pyst2 prints every line it reads or writes, numbers included."""
    read(session, *environment("screen", "+31612345678"))
    work = session.start(lambda: session.channel.set_variables({"BMN_NUMBER": "+31612345678"}))
    session.asterisk.expect_variables(BMN_NUMBER="+31612345678").confirm()
    session.result(work)
    assert capfd.readouterr() == ("", "")
