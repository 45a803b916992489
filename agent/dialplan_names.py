"""Every name that the dialplan and this package share. Change one here and in ``dialplan/``; a test compares them."""

from __future__ import annotations

from typing import Final

SCRIPT_SCREEN: Final = "screen"
SCRIPT_NOTICE: Final = "notice"
SCRIPT_KEY: Final = "key"
SCRIPT_FINISH: Final = "finish"
SCRIPT_LEFT: Final = "left"
SCRIPT_HEALTH: Final = "health"

BMN_VERDICT: Final = "BMN_VERDICT"
BMN_REASON: Final = "BMN_REASON"
BMN_NUMBER: Final = "BMN_NUMBER"
BMN_CALL: Final = "BMN_CALL"
BMN_NOTICE: Final = "BMN_NOTICE"
BMN_NOTICE_RESULT: Final = "BMN_NOTICE_RESULT"
BMN_CHOICE: Final = "BMN_CHOICE"
BMN_KEY_RESULT: Final = "BMN_KEY_RESULT"
BMN_HEALTH: Final = "BMN_HEALTH"

CONNECTED: Final = "connected"
"""Argument of ``key``: the leg that it was pressed on is an agent's, and connected to the consumer of that call."""
ANSWERED: Final = "answered"
"""Argument of ``finish``: the consumer picked up."""
NOT_ANSWERED: Final = "not_answered"
DIALSTATUS_ANSWERED: Final = "ANSWER"
"""What DIALSTATUS says then, for a dialplan that does not have that argument yet."""

HEALTH_OK: Final = "ok"
HEALTH_DEGRADED: Final = "degraded"

DIALPLAN_REASONS: Final = ("agent_unreachable", "agent_no_verdict", "agent_timeout")
"""Reasons that the dialplan itself gives when no verdict came from here, so that it blocks."""

CONTEXTS: Final = ("bmn-outbound", "bmn-screen", "bmn-blocked", "bmn-notice", "bmn-key", "bmn-finish")
"""The public ones."""
FEATURES: Final = (
    "bmn-offered",
    "bmn-register-with-charities",
    "bmn-register-without-charities",
    "bmn-seller-optout",
    "bmn-declined",
    "bmn-hand-over",
    "bmn-voicemail",
    "bmn-undo",
)
"""The agents' keys, as the application map names them."""
BMN_AGI: Final = "BMN_AGI"
BMN_CAMPAIGN: Final = "BMN_CAMPAIGN"
BMN_SCREEN_TIMEOUT: Final = "BMN_SCREEN_TIMEOUT"
BMN_DIAL_PREFIX: Final = "BMN_DIAL_PREFIX"
BMN_DIAL_SUFFIX: Final = "BMN_DIAL_SUFFIX"
GLOBALS: Final = (BMN_AGI, BMN_SCREEN_TIMEOUT, BMN_DIAL_PREFIX, BMN_DIAL_SUFFIX, "BMN_DIAL_TIMEOUT")
"""Those without which no call is dialled; each call may name its campaign."""
MODULES: Final = (
    *("app_channelredirect", "app_dial", "app_exec", "app_originate", "app_playback", "app_playtones", "app_stack"),
    *(
        "app_userevent",
        "app_verbose",
        "func_callerid",
        "func_cdr",
        "func_channel",
        "func_cut",
        "func_dialplan",
        "func_global",
        "func_hangupcause",
    ),
    *("func_logic", "func_strings", "func_timeout", "func_volume", "res_agi"),
)
"""Of Asterisk, whose applications and functions the dialplan calls. A site may have taken some out."""
