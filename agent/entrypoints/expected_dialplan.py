"""What bmn doctor looks for in Asterisk."""

from __future__ import annotations

from typing import Final

from agent import dialplan_names as names
from agent.domain.condition import ExpectedDialplan

EXPECTED: Final = ExpectedDialplan(
    contexts=names.CONTEXTS,
    features=names.FEATURES,
    globals=names.GLOBALS,
    agi_global=names.BMN_AGI,
    campaign_global=names.BMN_CAMPAIGN,
    timeout_global=names.BMN_SCREEN_TIMEOUT,
    prefix_global=names.BMN_DIAL_PREFIX,
    suffix_global=names.BMN_DIAL_SUFFIX,
    way_in=names.CONTEXTS[0],
    modules=names.MODULES,
    reasons=names.DIALPLAN_REASONS,
    health_script=names.SCRIPT_HEALTH,
    health_variable=names.BMN_HEALTH,
    health_ok=names.HEALTH_OK,
)
