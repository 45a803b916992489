"""What becomes of a notice: the words for it, what counts as heard, and the records."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from agent.choices import call_fields
from agent.domain.call_story import CallStory, NoticeResult
from agent.domain.choice import Wish
from agent.domain.journal_events import Event, EventType, JsonValue
from agent.domain.ports import WHOLE_WITHIN_MS, Packets, Played, PlayEnd, Sound


class NoticeEnd(StrEnum):
    """How the notice ended, or why it was not played. Append only: the journal holds these words."""

    COMPLETE = "complete"
    KEY = "key"
    """Cut short by a key, where the profile allows that."""
    HUNG_UP = "hung_up"
    NO_SOUND = "no_sound"
    SILENT_FILE = "silent_file"
    UNPROVED = "unproved"
    """Played, but its sound file is not where this system can measure it."""
    VOICEMAIL = "voicemail"
    """The agent logged that nobody was there: a recording to a machine is no notice."""
    CONSUMER_LEFT = "consumer_left"
    """The consumer hung up before the notice could begin."""
    TRANSFERRED = "transferred"
    """The agent passed the consumer on to somebody else, and no notice followed."""
    NEVER_BEGAN = "never_began"
    """The agent's part was over and no notice began within its time: both hung up, or this system was down."""
    ON_HOLD = "on_hold"
    """The far end had the line on hold: what was played then was not sent."""
    UNSENT = "unsent"
    """Not all of it was sent: a hold that was over again, or packets longer than the setting ``agi.packet_ms``."""
    LINE_LOST = "line_lost"
    """Asterisk, or the connection with it, broke off: ``not_played`` before it began, else nobody knows how far."""
    AGENT_LOST = "agent_lost"
    """It began, and this system broke off before it could record how far it came."""
    CUT_OFF = "cut_off"
    """Before the notice somebody ended the consumer's channel at the exchange; the consumer did not hang up."""


class Proof(StrEnum):
    """What the milliseconds of a notice rest on. Append only."""

    RTP = "rtp"
    """Asterisk's count of the file, and the RTP packets that it sent meanwhile."""
    COUNT_ONLY = "count_only"
    """Asterisk's count of the file alone: the line has no RTP, or it hung up before the packets could be counted."""


@dataclass(slots=True, kw_only=True)
class NoticeOutcome:
    """What became of a notice, so far."""

    story: CallStory | None
    result: NoticeResult = NoticeResult.NOT_PLAYED
    ended: NoticeEnd | None = None
    """None when there was no call to play it in."""
    heard_ms: int = 0
    wish: Wish
    late: int = 0
    """Answers that are on disk, but were not in Redis at once."""
    keys_heard: bool | None = None
    """Whether any key came, early ones included; None when no question's time passed, so that nobody knows."""
    failure: str = ""


def judged(played: Played, sound: Sound | None) -> tuple[NoticeResult, NoticeEnd]:
    """How much of the notice was heard, by Asterisk's counts and the length of its file."""
    if played.end is PlayEnd.LINE_LOST:
        began = played.packets is None
        return (NoticeResult.PARTIAL if began else NoticeResult.NOT_PLAYED), NoticeEnd.LINE_LOST
    if played.heard_ms == 0:
        return NoticeResult.NOT_PLAYED, NoticeEnd(played.end)
    if sound is not None and sound.silent:
        return NoticeResult.NOT_PLAYED, NoticeEnd.SILENT_FILE
    if played.end is not PlayEnd.COMPLETE:
        return NoticeResult.PARTIAL, NoticeEnd(played.end)
    if sound is None:
        return NoticeResult.PARTIAL, NoticeEnd.UNPROVED
    whole = played.heard_ms >= sound.milliseconds - WHOLE_WITHIN_MS
    return (NoticeResult.HEARD if whole else NoticeResult.PARTIAL), NoticeEnd.COMPLETE


def notice_begun(story: CallStory, uniqueid: str, language: str, prompt: str, sound: Sound | None) -> Event:
    """The record that a notice begins, made before its first sound."""
    return Event.of(EventType.NOTICE_BEGUN, {**call_fields(story, uniqueid), **_sound_fields(language, prompt, sound)})


def notice_played(
    story: CallStory,
    uniqueid: str,
    language: str | None,
    prompt: str,
    sound: Sound | None,
    result: NoticeResult,
    ended: NoticeEnd,
    heard_ms: int,
    packets: Packets | None = None,
) -> Event:
    """The record of one notice, played or not."""
    count_only = Proof.COUNT_ONLY if heard_ms else None
    body: dict[str, JsonValue] = {
        **call_fields(story, uniqueid),
        **_sound_fields(language, prompt, sound),
        "heard_ms": heard_ms,
        "ended": ended,
        "result": result,
        "proof": count_only if packets is None else Proof.RTP,
        "sent": None if packets is None else packets.sent,
        "received": None if packets is None else packets.received,
    }
    return Event.of(EventType.NOTICE_PLAYED, body)


def _sound_fields(language: str | None, prompt: str, sound: Sound | None) -> dict[str, JsonValue]:
    return {
        "language": language,
        "prompt": prompt,
        "sha256": sound.sha256 if sound else None,
        "long_ms": sound.milliseconds if sound else None,
    }
