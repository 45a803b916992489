"""The consumer's line, command by command: what is asked of Asterisk, and what its answers are taken to mean."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import pytest

from agent.adapters.agi_line import AgiLine
from agent.domain.errors import LineHungUp
from agent.domain.ports import Packets, Played, PlayEnd
from tests.agi.channel_session import Session, session

__all__ = ["session"]

T = TypeVar("T")
ASKED = 'GET FULL VARIABLE "${CHANNEL(rtp,hold)}/${CHANNEL(rtcp,txcount)}/${CHANNEL(rtcp,rxcount)}"'
PLAYED = 'STREAM FILE bmn/menu "12"'
SAMPLES = 24_000
"""Three seconds, 150 packets of 20 ms."""


def line_of(session: Session, channel_type: str = "PJSIP", packet_ms: int = 20) -> AgiLine:
    """A line on a channel of that type."""
    return AgiLine(session.channel, ("RESULT", "CHOICE"), channel_type=channel_type, packet_ms=packet_ms)


def rtp(hold: object, sent: object, received: object) -> str:
    """Asterisk's answer to what is asked of RTP."""
    return f"200 result=1 ({hold}/{sent}/{received})"


def said(session: Session, work: Callable[[], T], *steps: tuple[str, str]) -> T:
    """What ``work`` returned when Asterisk got these commands, each with its answer."""
    running = session.start(work)
    for command, reply in steps:
        session.asterisk.expect(command).reply(reply)
    return session.result(running)


def play(session: Session, before: str, reply: str, after: str, packet_ms: int = 20) -> Played:
    """One prompt on a line that counts."""
    work = line_of(session, packet_ms=packet_ms)
    return said(session, lambda: work.play("menu", "12"), (ASKED, before), (PLAYED, reply), (ASKED, after))


def test_what_was_sent_was_heard(session: Session) -> None:
    """As many packets as the time takes; those that came are counted too."""
    played = play(session, rtp(0, 15, 16), f"200 result=0 endpos={SAMPLES}", rtp(0, 165, 164))
    packets = Packets(sent=150, received=148)
    assert played == Played(end=PlayEnd.COMPLETE, heard_ms=3_000, stopped_ms=3_000, packets=packets)


@pytest.mark.parametrize(
    ("after", "end", "heard_ms"),
    [
        (rtp(1, 15, 16), PlayEnd.ON_HOLD, 0),
        (rtp(1, 65, 66), PlayEnd.ON_HOLD, 1_000),
        (rtp(0, 65, 66), PlayEnd.UNSENT, 1_000),
        (rtp(0, 15, 16), PlayEnd.UNSENT, 0),
        (rtp(0, 159, 166), PlayEnd.UNSENT, 2_880),
        (rtp(0, 160, 166), PlayEnd.COMPLETE, 2_900),
        (rtp(1, 160, 166), PlayEnd.COMPLETE, 2_900),
    ],
)
def test_what_was_not_sent_was_not_heard(session: Session, after: str, end: PlayEnd, heard_ms: int) -> None:
    """Asterisk plays a file to its end whether or not a packet leaves; a hold that comes after it changes nothing."""
    played = play(session, rtp(0, 15, 16), f"200 result=0 endpos={SAMPLES}", after)
    assert (played.end, played.heard_ms, played.unsent_ms) == (end, heard_ms, 3_000 - heard_ms)


def test_packets_may_be_longer(session: Session) -> None:
    """As the trunk has them."""
    played = play(session, rtp(0, 0, 0), f"200 result=0 endpos={SAMPLES}", rtp(0, 75, 75), packet_ms=40)
    assert (played.end, played.heard_ms) == (PlayEnd.COMPLETE, 3_000)


def test_nothing_is_played_on_a_line_that_is_on_hold(session: Session) -> None:
    """One question to Asterisk, and no other command."""
    line = line_of(session)
    played = said(session, lambda: line.play("menu", "12"), (ASKED, rtp(1, 15, 16)))
    assert played == Played(end=PlayEnd.ON_HOLD, heard_ms=0, packets=Packets(sent=0, received=None))


def test_a_key_says_how_much_was_heard_before_it(session: Session) -> None:
    """Of what was sent."""
    played = play(session, rtp(0, 15, 16), "200 result=49 endpos=16000", rtp(0, 25, 26))
    assert (played.end, played.digit, played.heard_ms) == (PlayEnd.KEY, "1", 200)
    assert (played.unsent_ms, played.stopped_ms) == (1_800, 2_000)


def test_a_prompt_goes_on_from_where_it_was(session: Session) -> None:
    """Asterisk counts from the file's beginning all the same."""
    line = line_of(session)
    played = said(
        session,
        lambda: line.play("menu", "12", 1_000),
        (ASKED, rtp(0, 15, 16)),
        (f"{PLAYED} 8000", f"200 result=0 endpos={SAMPLES}"),
        (ASKED, rtp(0, 115, 116)),
    )
    assert (played.end, played.heard_ms, played.stopped_ms) == (PlayEnd.COMPLETE, 2_000, 3_000)


@pytest.mark.parametrize("channel_type", ["Local", "DAHDI", "IAX2", "SIP", "", "pjsip"])
def test_a_line_without_such_counts_is_not_asked_for_them(session: Session, channel_type: str) -> None:
    """Each such question would be a warning in Asterisk's log. The record says that nothing was counted."""
    line = line_of(session, channel_type)
    played = said(session, lambda: line.play("menu", "12"), (PLAYED, f"200 result=0 endpos={SAMPLES}"))
    assert played == Played(end=PlayEnd.COMPLETE, heard_ms=3_000, stopped_ms=3_000)
    assert line.is_on_hold() is False
    assert line.wait_for_resumption(1_000) is True
    assert session.asterisk.is_silent()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("200 result=0", "200 result=0"),
        (rtp("", "", ""), rtp("", "", "")),
        (rtp(0, 15, 16), "200 result=0"),
        (rtp(0, "-1", 16), rtp(0, 165, 166)),
        (rtp(0, 15, 16), rtp(0, 150, 166).replace("/150/", "/")),
        (rtp(0, 165, 16), rtp(0, 100, 166)),
    ],
    ids=["unset", "empty", "gone", "negative", "one is missing", "began again"],
)
def test_counts_that_make_no_sense_are_no_counts(session: Session, before: str, after: str) -> None:
    """Never a guess."""
    played = play(session, before, f"200 result=0 endpos={SAMPLES}", after)
    assert (played.end, played.heard_ms, played.packets) == (PlayEnd.COMPLETE, 3_000, None)


def test_a_far_end_that_counts_from_the_start_again_is_not_counted(session: Session) -> None:
    """As after a hold: Asterisk's count of what it received begins again with the far end's stream."""
    played = play(session, rtp(0, 15, 160), f"200 result=0 endpos={SAMPLES}", rtp(0, 165, 20))
    assert played.packets == Packets(sent=150, received=None)


def test_a_hang_up_leaves_what_asterisk_counted(session: Session) -> None:
    """The packets are asked for as well; a session that ends with the line has no answer."""
    line = line_of(session)
    running = session.start(lambda: line.play("menu", "12"))
    session.asterisk.expect(ASKED).reply(rtp(0, 15, 16))
    session.asterisk.expect(PLAYED).reply("200 result=-1 endpos=8000")
    session.asterisk.expect("WAIT FOR DIGIT 1")
    session.asterisk.hang_up()
    assert session.result(running) == Played(end=PlayEnd.HUNG_UP, heard_ms=1_000, stopped_ms=1_000)


@pytest.mark.parametrize(
    ("reply", "waited_s", "end"),
    [
        (None, 2.0, PlayEnd.LINE_LOST),
        (None, 0.02, PlayEnd.HUNG_UP),
        ("511 Command Not Permitted on a dead channel", 2.0, PlayEnd.HUNG_UP),
    ],
    ids=["Asterisk is gone in the middle", "they had hung up before", "the line is dead"],
)
def test_an_asterisk_that_is_gone_leaves_nothing_known(
    session: Session, monkeypatch: pytest.MonkeyPatch, reply: str | None, waited_s: float, end: PlayEnd
) -> None:
    """It tells a hang-up with a count; without one, all that is known is how long it had."""
    line = line_of(session, "Local")
    times = iter([100.0, 100.0 + waited_s])
    monkeypatch.setattr("agent.adapters.agi_line.monotonic", lambda: next(times))
    running = session.start(lambda: line.play("menu", "12"))
    asked = session.asterisk.expect(PLAYED)
    if reply is None:
        session.asterisk.hang_up()
    else:
        asked.reply(reply)
    assert session.result(running) == Played(end=end, heard_ms=0)


def test_a_hang_up_on_hold_is_known_where_asterisk_still_answers(session: Session) -> None:
    """With AGIEXITONHANGUP=no it does: nothing was sent, so nothing was heard."""
    line = line_of(session)
    played = said(
        session,
        lambda: line.play("menu", "12"),
        (ASKED, rtp(0, 15, 16)),
        (PLAYED, "200 result=-1 endpos=8000"),
        ("WAIT FOR DIGIT 1", "200 result=-1"),
        (ASKED, rtp(1, 15, 16)),
    )
    assert (played.end, played.heard_ms, played.packets) == (PlayEnd.HUNG_UP, 0, Packets(sent=0, received=0))


def test_the_end_of_a_hold_is_waited_for(session: Session) -> None:
    """Keys that come meanwhile are thrown away."""
    line = line_of(session)
    resumed = said(
        session,
        lambda: line.wait_for_resumption(60_000),
        (ASKED, rtp(1, 15, 16)),
        ("WAIT FOR DIGIT 250", "200 result=50"),
        (ASKED, rtp(1, 15, 16)),
        ("WAIT FOR DIGIT 250", "200 result=0"),
        (ASKED, rtp(0, 15, 1)),
    )
    assert resumed is True


def test_a_hold_is_not_waited_for_without_end(session: Session) -> None:
    """The last look decides."""
    line = line_of(session)
    assert said(session, lambda: line.wait_for_resumption(0), (ASKED, rtp(1, 15, 16))) is False


def test_a_hang_up_ends_the_waiting_for_a_hold(session: Session) -> None:
    """At once."""
    line = line_of(session)
    with pytest.raises(LineHungUp):
        said(
            session,
            lambda: line.wait_for_resumption(60_000),
            (ASKED, rtp(1, 15, 16)),
            ("WAIT FOR DIGIT 250", "200 result=-1"),
        )
