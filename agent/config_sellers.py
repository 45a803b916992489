"""``[sellers]`` and ``[campaigns]`` of the configuration: on whose behalf is called, and what for.

A seller's key is more than a name in a file: objections to the seller, and its customers, are on record under it. So
another key goes with ``formerly``, and the end of a seller with ``retired``.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Annotated, Final, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

from agent.domain.model import Campaign, Purpose, Sector, Seller
from agent.domain.profile import NL_BMNR, PROFILES

_KEY: Final = re.compile(r"^[a-z0-9][a-z0-9_-]{0,63}$")
_MOST_FORMER_KEYS: Final = 10
"""Each is one more list for every call to look into."""


def _known_profile(value: str) -> str:
    if value not in PROFILES:
        raise ValueError(f"there is no profile {value!r}; there is {', '.join(sorted(PROFILES))}")
    return value


def _comma_list(value: object) -> object:
    return [item.strip() for item in value.split(",") if item.strip()] if isinstance(value, str) else value


ProfileKey = Annotated[str, AfterValidator(_known_profile)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SellerSettings(_Section):
    """``[sellers.KEY]``."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True)]
    formerly: Annotated[tuple[str, ...], BeforeValidator(_comma_list), Field(max_length=_MOST_FORMER_KEYS)] = ()
    """Keys that the same company had before: objections to it, and its customers, stay on record under those."""
    retired: bool = False
    """No campaign of this configuration calls for it any more, under any key."""


class CampaignSettings(_Section):
    """``[campaigns.KEY]``."""

    seller: str
    purpose: Purpose
    sector: Sector | None = None
    product_group: Annotated[str, StringConstraints(pattern=_KEY.pattern)] | None = None
    caller_id: Annotated[str, StringConstraints(pattern=r"^\+[0-9]{6,15}$")] | None = None
    language: Annotated[str, StringConstraints(pattern="^(nl|en)$")] = "nl"
    profile: ProfileKey = NL_BMNR.key

    @model_validator(mode="after")
    def _sector_fits_purpose(self) -> Self:
        charity, charities = self.purpose is Purpose.CHARITY, self.sector is Sector.CHARITIES
        if charity and self.sector not in (None, Sector.CHARITIES):
            raise ValueError("a campaign for a charity has the sector charities")
        if charities and not charity:
            raise ValueError("the sector charities goes with the purpose charity")
        if self.purpose is Purpose.COMMERCIAL and self.sector is None:
            raise ValueError(f"a commercial campaign needs a sector: {', '.join(Sector)}")
        return self


Sellers = Mapping[str, SellerSettings]
Campaigns = Mapping[str, CampaignSettings]


def problems_of(sellers: Sellers, campaigns: Campaigns) -> Iterator[str]:
    """What is wrong with the two together, each mistake in words."""
    for kind, keys in (("seller", [*sellers]), ("campaign", [*campaigns])):
        for key in keys:
            if not _KEY.fullmatch(key):
                yield f"{kind} {key!r}: a name is 1 to 64 of a-z 0-9 _ -, starting with a letter or digit"
    yield from _former_key_problems(sellers)
    now = {former: key for key, seller in sellers.items() for former in seller.formerly}
    for key, campaign in campaigns.items():
        named = campaign.seller
        if named in sellers and sellers[named].retired:
            yield f"campaigns.{key}.seller: {named!r} is retired, so no campaign may call for it"
        elif named not in sellers and named in now:
            yield f"campaigns.{key}.seller: {named!r} is a former key of {now[named]!r}: name that one"
        elif named not in sellers:
            yield f"campaigns.{key}.seller: there is no seller {named!r}; add [sellers.{named}]"


def _former_key_problems(sellers: Sellers) -> Iterator[str]:
    """A former key stands for one seller of today, or nobody knows to whom was objected."""
    times = Counter(former for seller in sellers.values() for former in seller.formerly)
    for key, seller in sellers.items():
        for former in dict.fromkeys(seller.formerly):
            where = f"sellers.{key}.formerly: {former!r}"
            if not _KEY.fullmatch(former):
                yield f"{where} cannot have been a key: it is 1 to 64 of a-z 0-9 _ -, starting with a letter or digit"
            elif former == key:
                yield f"{where} is the key that it has now"
            elif former in sellers:
                yield f"{where} is a seller of its own: remove [sellers.{former}], or take it off here"
            elif times[former] > 1:
                others = [other for other, one in sellers.items() if former in one.formerly]
                whose = f"of {' and of '.join(others)}" if len(others) > 1 else "twice"
                yield f"{where} stands here {whose}: a former key belongs to one seller, once"


def sellers_of(sellers: Sellers) -> dict[str, Seller]:
    """The sellers by key, and once more by each former key."""
    found = [Seller(key=key, name=item.name, formerly=item.formerly) for key, item in sellers.items()]
    return {key: seller for seller in found for key in seller.keys}


def assigned_keys(sellers: Sellers, campaigns: Campaigns) -> frozenset[str]:
    """Keys of which it is known who they are: those of sellers that a campaign names, and of retired ones."""
    called_for = {campaign.seller for campaign in campaigns.values()}
    return frozenset(
        key for key, seller in sellers_of(sellers).items() if seller.key in called_for or sellers[seller.key].retired
    )


def campaigns_of(sellers: Sellers, campaigns: Campaigns) -> dict[str, Campaign]:
    """The campaigns as the rules want them."""
    by_key = sellers_of(sellers)
    return {
        key: Campaign(
            key=key,
            seller=by_key[item.seller],
            purpose=item.purpose,
            sector=Sector.CHARITIES if item.purpose is Purpose.CHARITY else item.sector,
            product_group=item.product_group,
            profile=item.profile,
            language=item.language,
            caller_id=item.caller_id,
        )
        for key, item in campaigns.items()
    }
