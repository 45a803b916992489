"""Every limit of the service that is no setting, in time and in number, in one place; units are in the names.

Settings are ``agi.deadline_ms``, ``agi.read_timeout_ms``, ``agi.shutdown_grace_ms`` and ``agi.handover_minutes``. How
long a worker waits for Asterisk's answer before it counts as stalled is ``agi_transport.PATIENCE_S``.
"""

from __future__ import annotations

from typing import Final

# --- connections that have not said everything yet

DEFER_ACCEPT_S: Final = 1
"""A connection that says nothing is not handed out by the kernel for so long."""
HEAD_PATIENCE_S: Final = 0.002
"""How long a worker waits for the rest of a request that has begun, while few others are incomplete: Asterisk sends it
line by line. The kernel rounds up to its own tick, 1 to 10 ms."""
PATIENT_BELOW: Final = 8
"""With so many incomplete requests nobody waits for the rest of another one."""
HALF_OPEN: Final = 1_024
"""Connections that may be incomplete at the same time; for one more, the oldest goes."""
EXPIRE_EVERY_S: Final = 0.1
ACCEPT_AGAIN_S: Final = 0.05
"""After no connection could be taken, for example because no file descriptor is left."""

DOOR_S: Final = 1.0
"""When the door is closed, for connections that Asterisk has made already to be taken."""
DOOR_LOOK_S: Final = 0.002

# --- workers

WORK_AGAIN_S: Final = 0.05
"""After a mistake of ours in a worker."""
STUCK_DEADLINES: Final = 3
STUCK_MARGIN_S: Final = 3.0
"""A short session is stuck after so many deadlines, the time for one exchange, and this margin: every wait in it is
bounded by less."""
FINISH_LIMIT_S: Final = 30.0
"""Recording the end of a call is stuck after that."""
WATCHDOG_TICK_S: Final = 0.25
"""How often the workers are looked at. A pause of the whole process counts as one such look."""

# --- ends of calls that could not be looked up

OWED_ENDS: Final = 10_000
"""So many are kept; one more is lost, and counted."""
OWED_RECORD_MS: Final = 50
"""For the record of one of them; then it is promised to the journal, as others are."""
OWED_LAST_TRY_S: Final = 5.0
"""How long a process that ends tries to record them."""

# --- the rest of the process

UPDATE_STEP_S: Final = 600.0
"""While the journal of an older version is brought up to date, its next step takes no longer."""
SIGNAL_LOOK_S: Final = 0.02
"""How often a service that ends looks at its sessions and its signals."""
JOIN_S: Final = 5.0
"""For what is done beside the calls to end, before the end of the service is recorded."""
LAST_RESORT_S: Final = 15.0
"""After its grace, a service that ends has so long for its records, and for what it promised to write later; then it
ends without."""
HANDOVER_START_S: Final = 60.0
"""Within that, a successor must listen; until then the old process goes on."""
HANDOVER_KILL_S: Final = 5.0
"""Within that, a successor that came too late must have gone; then it is killed."""
ANCHOR_EVERY_S: Final = 3_600.0
DRAIN_EVERY_S: Final = 0.25
CLOSE_EVERY_S: Final = 60.0
RECORD_MS: Final = 2_000
"""For the records of the service's own start and end."""

# --- the log

LOG_LINES: Final = 10_000
"""Lines that may wait for whoever reads the log; more are dropped and counted."""
LOG_GATHER_S: Final = 0.01
"""A line waits so long for others, which are then written with it."""
LOG_FLUSH_S: Final = 2.0
"""At the end of the process, for what waits."""

# --- /metrics

METRICS_THREADS: Final = 4
"""Readers that are answered at the same time."""
METRICS_READ_S: Final = 2.0
"""For a reader to say what they want."""
METRICS_WRITE_S: Final = 2.0
"""For a reader to take it."""
METRICS_HALF_OPEN: Final = 64
METRICS_REQUEST_BYTES: Final = 8_192
