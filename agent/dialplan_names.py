"""Every name that the dialplan and this package share. Change one here and in ``dialplan/``; a test compares them."""

from __future__ import annotations

from typing import Final

SCRIPT_SCREEN: Final = "screen"
SCRIPT_HEALTH: Final = "health"

BMN_VERDICT: Final = "BMN_VERDICT"
BMN_REASON: Final = "BMN_REASON"
BMN_NUMBER: Final = "BMN_NUMBER"
BMN_CALL: Final = "BMN_CALL"
BMN_NOTICE: Final = "BMN_NOTICE"
BMN_HEALTH: Final = "BMN_HEALTH"

HEALTH_OK: Final = "ok"
HEALTH_DEGRADED: Final = "degraded"

DIALPLAN_REASONS: Final = ("agent_unreachable", "agent_no_verdict", "agent_timeout")
"""Reasons that the dialplan itself gives when no verdict came from here, so that it blocks."""
