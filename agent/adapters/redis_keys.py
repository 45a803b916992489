"""Every Redis key of this system. This docstring is the schema.

========================================  ======  ==========================  =======================================
key                                       type    writer                      lifetime
========================================  ======  ==========================  =======================================
bmn:{PREFIX}:g:GENERATION:BLOCKED         set     ``register import``         until the generation is freed
bmn:{PREFIX}:own:PROFILE:BLOCKED          set     outbox                      for good
bmn:{PREFIX}:optout:SELLER                set     outbox                      for good
bmn:{PREFIX}:customer:SELLER:GROUP        set     outbox                      for good
bmn:current:PROFILE                       string  outbox                      the generation in force, as JSON
bmn:generations:PROFILE                   hash    ``register import``         id -> JSON, complete loads only
bmn:loading:PROFILE                       hash    ``register import``         id -> owner, of sets to be freed
                                                                                  unless their load completes
bmn:import-lock:PROFILE                   string  ``register import``         60 s, renewed; "host pid token"
bmn:repair-lock:PROFILE                   string  ``rebuild``                 the same, while a lost register is read
bmn:roster:g:GENERATION                   hash    ``register import``         until the generation is freed
bmn:roster:lists                          hash    outbox                      for good
bmn:doubts                                string  whoever finds a loss        a token, another one whenever Redis was
                                                                                  found to have lost something
bmn:applied                               string  outbox                      JOURNAL:SEQ:LINK, the last record applied
bmn:inherited                             string  outbox                      the same, of the end of a journal that
                                                                                  was found to know less than the lists
========================================  ======  ==========================  =======================================

A telephone number ``31612345678`` is the member ``5678`` of the sets whose PREFIX is ``3161234``. Such sets hold small
integers, at most 10,000 of them, which Redis keeps packed (2 bytes each) while ``set-max-intset-entries`` is 10,000 or
more; ``deploy/redis.conf`` sets that. The braces put all lists of one number into one slot of a Redis Cluster.

A roster says what sets there must be (``agent.adapters.redis_rosters``): PREFIX -> ``|NAME=SIZE|NAME=SIZE|``, and
``*`` -> how many prefixes it has. ``bmn:roster:lists`` is that of the sets which the outbox writes, by the part of
their key after ``bmn:{PREFIX}:``; in a generation's, NAME is BLOCKED. What a roster does not name does not exist.

BLOCKED is a member of ``agent.domain.model.Blocked``. All of it can be rebuilt from the journal and the register file.
"""

from __future__ import annotations

from typing import Final

from agent.domain.model import Blocked

APPLIED: Final = "bmn:applied"
"""Of which journal these lists are, and how far it has been applied: moves in one transaction with the lists."""

INHERITED: Final = "bmn:inherited"
"""What the journal takes away up to this record was taken away before it was restored, and is not taken away again."""

DOUBTS: Final = "bmn:doubts"
"""A load that was counted while this was another one has to be counted again."""

LISTS_ROSTER: Final = "bmn:roster:lists"
"""Of the sets that the outbox writes; changes in one transaction with them."""

CUSTOMERS: Final = "customer:"
"""How the names of the only lists begin that exempt a number."""

PACKED_MEMBERS: Final = 10_000
"""``set-max-intset-entries`` must be at least this for the sets to stay packed."""


def register_set(prefix: str, generation: str, blocked: Blocked | str) -> str:
    """Numbers of one generation."""
    return f"bmn:{{{prefix}}}:g:{generation}:{blocked}"


def register_sets_pattern(generation: str) -> str:
    """Glob over every set of one generation, for SCAN. Generation ids hold no glob characters."""
    return f"bmn:{{*}}:g:{generation}:*"


def register_roster(generation: str) -> str:
    """What sets a generation has, and how many members each."""
    return f"bmn:roster:g:{generation}"


def list_set(prefix: str, name: str) -> str:
    """A set that the outbox writes, by its name in the roster."""
    return f"bmn:{{{prefix}}}:{name}"


def list_sets_pattern() -> str:
    """Glob over every set that the outbox writes, for SCAN."""
    return "bmn:{*}:[oc]*"


def prefix_and_name(key: str) -> tuple[str, str]:
    """What ``list_set`` made ``key`` of."""
    prefix, _, name = key.removeprefix("bmn:{").partition("}:")
    return prefix, name


def own_name(profile: str, blocked: Blocked) -> str:
    """Registrations taken in our own calls."""
    return f"own:{profile}:{blocked}"


def optout_name(seller: str) -> str:
    """Numbers that this seller may not call any more."""
    return f"optout:{seller}"


def customer_name(seller: str, product_group: str) -> str:
    """Own customers of a seller for a product group."""
    return f"{CUSTOMERS}{seller}:{product_group}"


def own_set(prefix: str, profile: str, blocked: Blocked) -> str:
    """The set of ``own_name``."""
    return list_set(prefix, own_name(profile, blocked))


def optout_set(prefix: str, seller: str) -> str:
    """The set of ``optout_name``."""
    return list_set(prefix, optout_name(seller))


def customer_set(prefix: str, seller: str, product_group: str) -> str:
    """The set of ``customer_name``."""
    return list_set(prefix, customer_name(seller, product_group))


def current(profile: str) -> str:
    """The pointer to the generation in force."""
    return f"bmn:current:{profile}"


def currents_pattern() -> str:
    """Glob over the pointers of all profiles, for SCAN."""
    return "bmn:current:*"


def generations(profile: str) -> str:
    """Complete generations."""
    return f"bmn:generations:{profile}"


def loading(profile: str) -> str:
    """Generations being loaded, or left behind by a load that died."""
    return f"bmn:loading:{profile}"


def import_lock(profile: str) -> str:
    """Held by the one load that may run."""
    return f"bmn:import-lock:{profile}"


def repair_lock(profile: str) -> str:
    """Held by the one process that may load a lost register again."""
    return f"bmn:repair-lock:{profile}"
