"""Is anybody there? What a channel says of it without a word to Asterisk, and by asking."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from agent.adapters.agi_channel import AgiChannel
from agent.adapters.agi_transport import PipeTransport, SocketTransport, Transport
from agent.adapters.agi_values import AgiChannelDead, AgiHangup, AgiProtocolError, AgiRefused, AgiTimeout
from tests.agi.channel_session import Session, hasty, session
from tests.agi.fake_asterisk import FakeAsterisk

__all__ = ("hasty", "session")


Pair = tuple[Transport, FakeAsterisk]


def a_socket(opened: ExitStack) -> Pair:
    """A FastAGI session."""
    ours, theirs = socket.socketpair()
    opened.callback(ours.close)
    return SocketTransport(ours), FakeAsterisk.over(theirs)


def two_pipes(opened: ExitStack) -> Pair:
    """A classic AGI session."""
    (incoming, to_script), (from_script, outgoing) = os.pipe(), os.pipe()
    for descriptor in (incoming, outgoing):
        opened.callback(os.close, descriptor)

    def hang_up() -> None:
        os.close(to_script)
        os.close(from_script)

    return PipeTransport(incoming, outgoing), FakeAsterisk(from_script, to_script, hang_up)


@pytest.fixture(params=[a_socket, two_pipes], ids=lambda make: make.__name__)
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    """Both ends of a session."""
    with ExitStack() as opened:
        transport, asterisk = request.param(opened)
        opened.callback(asterisk.hang_up)
        yield transport, asterisk


def test_a_line_that_stands_is_looked_at_without_a_word(pair: Pair) -> None:
    """As often as one likes; what comes next is read as ever."""
    transport, asterisk = pair
    channel = AgiChannel(transport)
    for _ in range(3):
        channel.look()
    assert asterisk.is_silent()
    asterisk.send("200 result=1\n")
    channel.look()
    channel.set_variables({"A": "x"})
    asterisk.expect_variables(A="x")


@pytest.mark.parametrize("last", ["", "200 result=1\n", "agi_", "HANGUP\n"])
def test_a_session_that_was_ended_is_seen_whatever_came_before(pair: Pair, last: str) -> None:
    """Then no command is sent any more."""
    transport, asterisk = pair
    channel = AgiChannel(transport)
    asterisk.send(last)
    asterisk.hang_up()
    for _ in range(2):
        with pytest.raises(AgiHangup):
            channel.look()
    with pytest.raises(AgiHangup):
        channel.set_variables({"A": "x"})
    assert channel.commands_sent == 0


def test_a_reset_is_seen() -> None:
    """It is an error of the socket, and not its end."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        with socket.create_connection(listener.getsockname()) as asterisk:
            ours, _ = listener.accept()
            asterisk.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        with ours, pytest.raises(AgiHangup):
            AgiChannel(SocketTransport(ours)).look()


def test_a_script_whose_output_nobody_reads_is_alone() -> None:
    """Though its input is open: Asterisk closes both, one after the other."""
    incoming, to_script = os.pipe()
    from_script, outgoing = os.pipe()
    os.close(from_script)
    with pytest.raises(AgiHangup):
        AgiChannel(PipeTransport(incoming, outgoing)).look()
    for descriptor in (incoming, to_script, outgoing):
        os.close(descriptor)


def test_an_announced_hangup_counts_and_variables_can_still_be_set(pair: Pair) -> None:
    """The session goes on, as it does without AGIEXITONHANGUP; the channel does not."""
    transport, asterisk = pair
    channel = AgiChannel(transport)
    asterisk.send("HANGUP\n200 result=1\n")
    for _ in range(2):
        with pytest.raises(AgiHangup, match="hung up"):
            channel.look()
    assert channel.hung_up
    channel.set_variables({"A": "x"})
    asterisk.expect_variables(A="x")


def test_a_flood_is_not_swallowed(session: Session) -> None:
    """What is no announcement breaks the next command, with no more of it read than a line may have."""
    session.asterisk.send(b"x" * 100_000)
    session.channel.look()
    with pytest.raises(AgiProtocolError):
        session.channel.noop()


def test_asking_is_one_command_that_a_dead_channel_does_not_take(session: Session) -> None:
    """And NOOP would be taken by it."""
    asking = session.start(session.channel.ask)
    session.asterisk.expect("CHANNEL STATUS").reply("200 result=4")
    session.result(asking)
    asking = session.start(session.channel.ask)
    session.asterisk.expect("CHANNEL STATUS").reply("511 Command Not Permitted on a dead channel or intercept routine")
    with pytest.raises(AgiChannelDead):
        session.result(asking)


@pytest.mark.parametrize(
    ("replies", "error"),
    [
        (("HANGUP", "200 result=4"), AgiHangup),
        (("200 result=-1",), AgiHangup),
        (("510 Invalid or unknown command",), AgiRefused),
        (("520-Invalid command syntax.", "520 End of proper usage."), AgiRefused),
        (("what?",), AgiProtocolError),
    ],
)
def test_any_other_answer_is_no_yes(session: Session, replies: tuple[str, ...], error: type[Exception]) -> None:
    """An allow needs somebody to get it."""
    asking = session.start(session.channel.ask)
    session.asterisk.expect("CHANNEL STATUS").reply(*replies)
    with pytest.raises(error):
        session.result(asking)


def test_no_answer_is_no_yes(hasty: Session) -> None:
    """Within the time of any exchange."""
    asking = hasty.start(hasty.channel.ask)
    hasty.asterisk.expect("CHANNEL STATUS")
    with pytest.raises(AgiTimeout):
        hasty.result(asking)


def test_a_session_that_we_end_is_over_for_both_at_once(pair: Pair) -> None:
    """Asterisk goes on with the call while we do what else is to be done."""
    transport, asterisk = pair
    channel = AgiChannel(transport)
    channel.end()
    asterisk.expect_end()
    assert channel.ended
    with pytest.raises(AgiHangup):
        channel.noop()
