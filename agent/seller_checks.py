"""Whether the configuration still knows everybody whom the journal speaks of: sellers, and their product groups."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches

from agent.domain.condition import IdleCustomers, UnassignedSeller
from agent.domain.errors import JournalUnavailable
from agent.domain.wording import counted
from agent.site import Finding, Site, State


def check_sellers(site: Site) -> Iterator[Finding]:
    """Objections to a seller whose key is gone stop promotional calls; a product group that is gone exempts nobody."""
    yield from _same_names(site)
    try:
        if not site.journal_opens():
            return
        found = site.sellers_on_record()
    except JournalUnavailable:  # reported by the check of the journal
        return
    for seller in found.unassigned:
        yield _unassigned(seller, sorted({campaign.seller.key for campaign in site.campaigns.values()}))
    yield from map(_idle, found.idle)
    if not found.unassigned and not found.idle:
        what = "whoever has objections or customers on record is in the configuration"
        yield Finding(check="sellers", state=State.OK, what=what)


def _same_names(site: Site) -> Iterator[Finding]:
    """One company under two keys: what a consumer says to one of them does not hold for the other."""
    by_name: dict[str, set[str]] = {}
    for campaign in site.campaigns.values():
        by_name.setdefault(campaign.seller.name, set()).add(campaign.seller.key)
    for name, keys in by_name.items():
        if len(keys) > 1:
            first, *others = sorted(keys)
            what = (
                f"{first} and {' and '.join(others)} have one name ({name}): an objection to one is none to the other"
            )
            todo = "if that is one company, give it one key, with the others in its formerly"
            yield Finding(check="sellers", state=State.WARNING, what=what, todo=todo)


def _unassigned(seller: UnassignedSeller, now: list[str]) -> Finding:
    what = (
        f"{seller.key}: {counted(seller.objections, 'objection')} in force, and no campaign calls for a seller of that "
        "key, so promotional calls of every campaign and all calls to them are blocked (objections_unassigned)"
    )
    near = get_close_matches(seller.key, now, n=1, cutoff=0.6)
    present = f"[sellers.{near[0]}]" if near else "the key that it has now"
    renamed = f'write formerly = ["{seller.key}"] under {present}, if that is the same company'
    if seller.configured:
        todo = (
            f"{renamed}, and remove [sellers.{seller.key}]; if nobody calls for it any more, write retired = true there"
        )
    else:
        todo = (
            f"{renamed}; if nobody calls for it any more, add [sellers.{seller.key}] with its name and retired = true"
        )
    return Finding(check="sellers", state=State.PROBLEM, what=what, todo=todo)


def _idle(customers: IdleCustomers) -> Finding:
    what = (
        f"{customers.seller}: {counted(customers.customers, 'customer')} on record for {customers.product_group!r}, "
        "which is the product group of no campaign of it, so they are screened like everybody"
    )
    todo = "if that group has another name now, bmn customer import under it; else leave it"
    return Finding(check="sellers", state=State.WARNING, what=what, todo=todo)
