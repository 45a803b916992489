"""Whether Redis may throw numbers away. Asked last in every round trip, so that nothing was gone before it was read.

A number that was evicted would look as if it were not registered. Our lists have no time to live, so that the policies
``volatile-…`` leave them alone. What may have been evicted between two round trips is found out by the rosters
(``agent.adapters.redis_rosters``).
"""

from __future__ import annotations

import re
from typing import Any, Final

from agent.adapters.redis_commands import reading
from agent.domain.errors import ListsEvicted, LookupUnavailable

CONFIG_POLICY: Final = reading([("CONFIG", "GET", "maxmemory-policy")])
"""What to ask where CONFIG is allowed: a few microseconds."""
INFO_POLICY: Final = reading([("INFO", "memory")])
"""What to ask where it is not, as on most managed servers: some thirty."""


def refuse_eviction(reply: Any) -> None:
    """Raise ``ListsEvicted`` when the reply to either question names a policy that takes any key.

    Raises ``LookupUnavailable`` when it names none.
    """
    policy = _in_memory_section(reply) if isinstance(reply, str) else dict([reply]).get("maxmemory-policy", "")
    if policy == "noeviction" or policy.startswith("volatile-"):
        return
    if not policy:
        raise LookupUnavailable("Redis does not say whether it evicts numbers (maxmemory-policy)")
    raise ListsEvicted(
        f"Redis may evict numbers when its memory is full (maxmemory-policy {policy}): "
        "set maxmemory-policy noeviction, then run bmn rebuild"
    )


def _in_memory_section(text: str) -> str:
    found = re.search(r"^maxmemory_policy:(\S+)", text, re.MULTILINE)
    return "" if found is None else found[1]
