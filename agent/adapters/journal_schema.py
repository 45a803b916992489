"""The tables of the journal, version by version. A version that was released is never changed: add the next one.

Tables:
  ``records``     seq, at (microseconds since 1970 UTC), type, salt, body (JSON text), digest, link. The columns
                  ``number``, ``call``, ``verdict``, ``reason``, ``campaign``, ``seller`` and ``agent`` are computed
                  from the body by SQLite, for the indexes: there is no second copy that could say something else.
  ``state``       one row: journal id, what its key must match, last seq, last link, its seal, the last protective seq,
                  and (version 3) the highest time of all records since the last ``clock.jumped``.
  ``tally``       (version 2) how many records each hour (since 1970 UTC) has of each type, campaign and reason (of a
                  verdict; empty for those without), and the first and last seq of them. For charts, which outlive a
                  purge, and to know where in the journal a time is.
  ``open_calls``  (version 2) calls that were allowed to be dialled (``call`` and ``seq`` of the screening) and have
                  not been finished, nor (version 3) did Asterisk fail to confirm that it has the verdict.

Triggers keep the last two, whoever appends, and ``agent.adapters.journal_check`` compares them with the records.
"""

from __future__ import annotations

from typing import Final

from agent.domain.choice import OBJECTING
from agent.domain.journal_events import EventType
from agent.domain.model import Reason, Verdict

_COMPUTED: Final = ("number", "call", "verdict", "reason", "campaign", "seller", "agent")
_VERSION_1: Final = (
    f"""
CREATE TABLE records (
  seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, type TEXT NOT NULL,
  salt BLOB, body TEXT, digest BLOB NOT NULL, link BLOB NOT NULL,
  {", ".join(f"{name} TEXT GENERATED ALWAYS AS (json_extract(body, '$.{name}')) VIRTUAL" for name in _COMPUTED)}
) STRICT
""",
    "CREATE INDEX records_by_number ON records (number, seq) WHERE number IS NOT NULL",
    "CREATE INDEX records_by_call ON records (call, seq) WHERE call IS NOT NULL",
    "CREATE INDEX records_by_type ON records (type, seq)",
    """
CREATE TABLE state (
  one INTEGER PRIMARY KEY CHECK (one = 1), journal TEXT NOT NULL, key_check BLOB NOT NULL,
  seq INTEGER NOT NULL, link BLOB NOT NULL, seal BLOB NOT NULL, protective INTEGER NOT NULL
) STRICT
""",
)

HOUR_US: Final = 3_600_000_000

MISSING_OFFER: Final = (
    f"type = '{EventType.CALL_FINISHED}' AND json_extract(body, '$.answered') = 1 "
    "AND json_extract(body, '$.notice') <> 'not_due' "
    "AND json_extract(body, '$.offered') = 0 AND json_extract(body, '$.voicemail') = 0"
)
"""Answered calls in which an offer was due and none was logged. An index holds just these."""
BLOCKED: Final = f"type = '{EventType.CALL_SCREENED}' AND verdict = '{Verdict.BLOCK}'"
"""An index holds just these."""
_REASON: Final = "CASE {row}type WHEN '" + EventType.CALL_SCREENED + "' THEN ifnull({row}reason, '') ELSE '' END"
"""Of a verdict; the reasons of other records are text that somebody typed, and outlive nothing."""
TALLIED: Final = f"""
SELECT at / {HOUR_US} AS hour, type, ifnull(campaign, '') AS campaign, {_REASON.format(row="")} AS reason,
  count(*) AS count, min(seq) AS first, max(seq) AS last
FROM records WHERE body IS NOT NULL GROUP BY 1, 2, 3, 4
"""
"""What ``tally`` says, from the records that were not purged."""
_OPENS: Final = (
    "{row}call IS NOT NULL AND {row}type = '"
    + EventType.CALL_SCREENED
    + "' AND {row}verdict = '"
    + Verdict.ALLOW
    + "' "
    "AND {row}reason <> '" + Reason.EMERGENCY_NUMBER + "' AND json_extract({row}body, '$.source') <> 'command'"
)
_OPEN_IN_VERSION_2: Final = f"""
SELECT call, seq FROM records WHERE {_OPENS.format(row="")} AND NOT EXISTS (
  SELECT 1 FROM records ended WHERE ended.call = records.call AND ended.type = '{EventType.CALL_FINISHED}')
"""
_BLOCKS: Final = "{row}type = '" + EventType.CALL_SCREENED + "' AND {row}verdict = '" + Verdict.BLOCK + "'"
"""A later screening of the same call: what Asterisk was told instead of an allow that was late on the disk."""
_CLOSES: Final = "{row}type IN ('" + EventType.CALL_FINISHED + "', '" + EventType.VERDICT_UNDELIVERED + "')"
STILL_OPEN: Final = f"""
SELECT call, seq FROM records WHERE {_OPENS.format(row="")} AND NOT EXISTS (
  SELECT 1 FROM records ended WHERE ended.call = records.call
  AND ({_CLOSES.format(row="ended.")} OR (ended.seq > records.seq AND {_BLOCKS.format(row="ended.")})))
"""
"""What ``open_calls`` says, from the records themselves."""

_VERSION_2: Final = (
    "DROP INDEX records_by_type",
    # Holds all that a filter may ask for, so that a page is found without reading records that are not on it.
    "CREATE INDEX records_by_type ON records (type, seq, at, reason, campaign, seller, agent)",
    f"CREATE INDEX records_blocked ON records (at, agent, number, reason) WHERE {BLOCKED}",
    f"CREATE INDEX records_missing_offer ON records (at, agent) WHERE {MISSING_OFFER}",
    """
CREATE TABLE tally (
  hour INTEGER NOT NULL, type TEXT NOT NULL, campaign TEXT NOT NULL, reason TEXT NOT NULL,
  count INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
  PRIMARY KEY (hour, type, campaign, reason)
) STRICT, WITHOUT ROWID
""",
    f"INSERT INTO tally {TALLIED}",
    f"""
CREATE TRIGGER tally_record AFTER INSERT ON records BEGIN
  INSERT INTO tally VALUES (
    NEW.at / {HOUR_US}, NEW.type, ifnull(NEW.campaign, ''), {_REASON.format(row="NEW.")}, 1, NEW.seq, NEW.seq)
  ON CONFLICT DO UPDATE SET count = count + 1, last = NEW.seq;
END
""",
    "CREATE TABLE open_calls (call TEXT NOT NULL PRIMARY KEY, seq INTEGER NOT NULL) STRICT, WITHOUT ROWID",
    # A call id that two screenings share is no call of ours; the newer one counts.
    f"INSERT OR REPLACE INTO open_calls {_OPEN_IN_VERSION_2} ORDER BY seq",
    f"""
CREATE TRIGGER open_call AFTER INSERT ON records WHEN {_OPENS.format(row="NEW.")} BEGIN
  INSERT OR REPLACE INTO open_calls VALUES (NEW.call, NEW.seq);
END
""",
    f"""
CREATE TRIGGER close_call AFTER INSERT ON records WHEN NEW.type = '{EventType.CALL_FINISHED}' BEGIN
  DELETE FROM open_calls WHERE call = NEW.call;
END
""",
)

_OBJECTING: Final = ", ".join(f"'{answer}'" for answer in sorted(OBJECTING))
OBJECTIONS: Final = (
    f"(type = '{EventType.OPTOUT_ADDED}' OR type = '{EventType.CHOICE_RECORDED}' "
    f"AND json_extract(body, '$.answer') IN ({_OBJECTING}))"
)
"""Records by which a consumer objects to a seller. An index holds just these, by seller."""

_VERSION_3: Final = (
    "ALTER TABLE state ADD COLUMN newest_at INTEGER NOT NULL DEFAULT 0",
    "UPDATE state SET newest_at = ifnull((SELECT max(at) FROM records), 0)",
    f"""
CREATE TRIGGER newest_record AFTER INSERT ON records BEGIN
  UPDATE state SET newest_at = NEW.at WHERE NEW.at > newest_at OR NEW.type = '{EventType.CLOCK_JUMPED}';
END
""",
    f"CREATE INDEX records_objecting ON records (seller) WHERE {OBJECTIONS}",
    "DROP TRIGGER close_call",
    f"""
CREATE TRIGGER close_call AFTER INSERT ON records
WHEN {_CLOSES.format(row="NEW.")} OR ({_BLOCKS.format(row="NEW.")}) BEGIN
  DELETE FROM open_calls WHERE call = NEW.call;
END
""",
    f"""
DELETE FROM open_calls WHERE EXISTS (
  SELECT 1 FROM records WHERE records.call = open_calls.call AND records.seq > open_calls.seq
  AND {_BLOCKS.format(row="records.")})
""",
)

VERSIONS: Final = tuple(tuple(text.strip() for text in texts) for texts in (_VERSION_1, _VERSION_2, _VERSION_3))
"""The statements that make each version of the one before it; the first begins with nothing."""
SCHEMA_VERSION: Final = len(VERSIONS)
