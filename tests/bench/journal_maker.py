"""A journal of many records, written straight to the tables, with a chain that `bmn journal verify` finds whole.

What a call centre writes in a year: calls of a few campaigns by many agents, four of five allowed, some of them
answered, most with a notice. Everything is drawn from a fixed seed, so two runs make the same journal.
"""

from __future__ import annotations

import contextlib
import random
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from agent.adapters.journal_file import connect
from agent.adapters.sqlite_journal import SqliteJournal
from agent.domain import chain
from agent.domain.choice import Source
from agent.domain.journal_events import PROTECTIVE_CHANGES, EventType
from agent.domain.ports import Progress

CAMPAIGNS: Final = tuple((f"campaign-{index}", f"seller-{index % 4}") for index in range(10))
AGENTS: Final = tuple(f"agent-{index:03d}" for index in range(200))
RARE_AGENT: Final = "agent-rare"
RARE_CAMPAIGN: Final = "campaign-rare"
RARE_REASON: Final = "deadline_exceeded"
RARE_EVERY: Final = 50_000
"""A call in so many is by the rare agent, and another for the rare campaign, and another has the rare reason."""
YEAR: Final = timedelta(days=365)
_CHUNK: Final = 20_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_BLOCKS: Final = ("registered", "registered", "registered", "registered_sector", "seller_optout", "invalid_number")

_SCREENED: Final = (
    '{{"call":"{call}","number":"{number}","dialled":"{dialled}","campaign":"{campaign}","seller":"{seller}",'
    '"agent":"{agent}","profile":"nl-bmnr","verdict":"{verdict}","reason":"{reason}","rule":"{reason}",'
    '"generation":"20261101T080000-abcd","notice":"{notice}","source":"fastagi","uniqueid":"{uniqueid}",'
    '"failure":null}}'
)
_FINISHED: Final = (
    '{{"call":"{call}","number":"{number}","campaign":"{campaign}","seller":"{seller}","agent":"{agent}",'
    '"uniqueid":"{uniqueid}","dialstatus":"{dialstatus}","rang":true,"answered":{answered},"answered_s":{seconds},'
    '"cause":"16","ended_by":"consumer","offered":{offered},"voicemail":false,"notice":"{played}","choice":"none"}}'
)
_PLAYED: Final = (
    '{{"call":"{call}","number":"{number}","campaign":"{campaign}","seller":"{seller}","agent":"{agent}",'
    '"uniqueid":"{uniqueid}","language":"nl","prompt":"notice-acme","sha256":"{sha256}","heard_ms":9000,'
    '"long_ms":9000,"ended":"complete","result":"heard","proof":"rtp","sent":450,"received":449}}'
)
_CHOSEN: Final = (
    '{{"call":"{call}","number":"{number}","campaign":"{campaign}","seller":"{seller}","agent":"{agent}",'
    '"uniqueid":"{uniqueid}","profile":"nl-bmnr","sector":"energy","source":"{source}","question":null,'
    '"answer":"offered","digit":null,"prompt":null,"sha256":null}}'
)


def make_journal(path: Path, records: int, until: datetime, progress: Progress) -> None:
    """A journal of ``records`` records in the year before ``until``, beside its key (``.key`` added)."""
    with SqliteJournal(path, path.with_name(path.name + ".key")):
        pass
    fill(path, records, until, progress)


def fill(path: Path, records: int, until: datetime, progress: Progress) -> None:
    """Append to an empty journal, without syncing: a bench that loses power begins again."""
    key = bytes.fromhex(path.with_name(path.name + ".key").read_text())
    first_us = (until - YEAR - _EPOCH) // timedelta(microseconds=1)
    step_us = YEAR // timedelta(microseconds=1) // records
    chance = random.Random(5)  # synthetic data
    with contextlib.closing(connect(path)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA cache_size = -400000")
        connection.execute("PRAGMA wal_autocheckpoint = 100000")
        link = connection.execute("SELECT link FROM state").fetchone()[0]
        made, seq, protective = bodies(chance), 0, 0
        while seq < records:
            rows: list[tuple[object, ...]] = []
            for event_type, text in made:
                seq += 1
                at_us, salt = first_us + seq * step_us, chance.randbytes(chain.SALT_BYTES)
                digest = chain.digest(salt, text.encode())
                link = chain.link(key, link, seq, at_us, event_type, digest)
                rows.append((seq, at_us, event_type, salt, text, digest, link))
                protective = seq if event_type in PROTECTIVE_CHANGES else protective
                if seq == records or len(rows) == _CHUNK:
                    break
            _write(connection, rows, (seq, link, chain.head(key, seq, link), protective))
            progress("writing", seq, records)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _write(connection: sqlite3.Connection, rows: list[tuple[object, ...]], state: tuple[object, ...]) -> None:
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany(
        "INSERT INTO records (seq, at, type, salt, body, digest, link) VALUES (?, ?, ?, ?, ?, ?, ?)", rows
    )
    connection.execute("UPDATE state SET seq = ?, link = ?, seal = ?, protective = ?", state)
    connection.execute("COMMIT")


def bodies(chance: random.Random) -> Iterator[tuple[EventType, str]]:
    """Records without end, call after call."""
    serial = 0
    while True:
        serial += 1
        national = chance.randrange(600_000)
        campaign, seller = chance.choice(CAMPAIGNS)
        blocked = chance.random() < 0.2
        reason = chance.choice(_BLOCKS) if blocked else "not_registered"
        agent = chance.choice(AGENTS)
        match serial % RARE_EVERY:
            case 1:
                agent = RARE_AGENT
            case 2:
                campaign = RARE_CAMPAIGN
            case 3:
                blocked, reason = True, RARE_REASON
        values = {
            "call": f"{serial:08x}-0000-4000-8000-{chance.randrange(1 << 48):012x}",
            "number": f"+31612{national:06d}",
            "dialled": f"0612{national:06d}",
            "campaign": campaign,
            "seller": seller,
            "agent": agent,
            "verdict": "block" if blocked else "allow",
            "reason": reason,
            "notice": "none" if blocked else "required",
            "uniqueid": f"pbx-{serial}.{serial}",
            "sha256": "5" * 64,
            "source": Source.AGENT,
        }
        yield EventType.CALL_SCREENED, _SCREENED.format(**values)
        if blocked or chance.random() < 0.002:  # a crash of Asterisk leaves a call without an end
            continue
        answered = chance.random() < 0.5
        offered = answered and chance.random() < 0.97
        if offered:
            yield EventType.CHOICE_RECORDED, _CHOSEN.format(**values)
        if answered:
            yield EventType.NOTICE_PLAYED, _PLAYED.format(**values)
        yield (
            EventType.CALL_FINISHED,
            _FINISHED.format(
                **values,
                dialstatus="ANSWER" if answered else "NOANSWER",
                answered="true" if answered else "false",
                seconds=chance.randrange(5, 300) if answered else 0,
                offered="true" if offered else "false",
                played="heard" if answered else "not_due",
            ),
        )
