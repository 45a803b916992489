"""The AGI channel against every answer Asterisk gives, and some it should not give."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from time import monotonic
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.adapters.agi_channel import MAX_COMMAND_BYTES, MAX_ENVIRONMENT_LINES, MAX_LINE_BYTES, AgiChannel
from agent.adapters.agi_transport import SocketTransport
from agent.adapters.agi_values import (
    AgiHangup,
    AgiProtocolError,
    AgiRequest,
    AgiTimeout,
    PlayResult,
    UnsafeAgiValue,
)
from tests.agi.fake_asterisk import FakeAsterisk, environment

T = TypeVar("T")


class Session:
    """A channel on a thread of its own, with a strict Asterisk on the other end."""

    def __init__(self, timeout_ms: float = 5000) -> None:
        ours, theirs = socket.socketpair()
        self.socket = ours
        self.asterisk = FakeAsterisk.over(theirs)
        self.stalls: list[str] = []
        self.stalled = threading.Event()
        self.may_stall = True
        self.channel = AgiChannel(SocketTransport(ours), timeout_ms=timeout_ms, stalled=self._stalled)
        self._pool = ThreadPoolExecutor(1)
        self._theirs = theirs

    def _stalled(self) -> bool:
        self.stalls.append(threading.current_thread().name)
        self.stalled.set()
        return self.may_stall

    def start(self, work: Callable[[], T]) -> Future[T]:
        """Run ``work`` off the main thread, as the server does."""
        return self._pool.submit(work)

    def result(self, work: Future[T]) -> T:
        """What ``work`` returned or raised, in bounded time."""
        return work.result(timeout=10)

    def close(self) -> None:
        """End both sides."""
        self.socket.close()
        self.asterisk.hang_up()
        self._pool.shutdown()


@pytest.fixture
def session() -> Iterator[Session]:
    """A session whose environment has not been sent."""
    session = Session()
    yield session
    session.close()


@pytest.fixture
def hasty() -> Iterator[Session]:
    """A session that gives Asterisk 150 ms for each exchange."""
    session = Session(timeout_ms=150)
    yield session
    session.close()


def read(session: Session, *lines: str) -> AgiRequest:
    """The request made of these environment lines."""
    session.asterisk.send("\n".join([*lines, "", ""]))
    return session.channel.read_request()


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
        b"\x16\x03\x01\x02\x00\x01\n\n",
        b"a: " + b"x" * MAX_LINE_BYTES + b"\n\n",
        b"a: " + b"x" * (2 * MAX_LINE_BYTES),
        b"".join(b"agi_%d: x\n" % n for n in range(MAX_ENVIRONMENT_LINES + 1)) + b"\n",
        b"".join(b"agi_%d: x\n" % n for n in range(MAX_ENVIRONMENT_LINES + 2)),
    ],
    ids=["blank first", "http", "twice", "no name", "tls", "long line", "endless line", "many lines", "endless"],
)
def test_what_is_no_environment_is_refused(session: Session, data: bytes) -> None:
    """A newline in a caller's name must not bring a number of its own."""
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

    def send(self, data: bytes, until: float) -> None:
        """Nobody listens."""


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
