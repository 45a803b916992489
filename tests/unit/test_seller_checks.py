"""What the doctor says of sellers: whom the journal knows and the configuration does not."""

from __future__ import annotations

from dataclasses import replace

from agent.domain.condition import IdleCustomers, SellersOnRecord, UnassignedSeller
from agent.domain.model import Seller
from agent.site import State
from tests.unit.builders import ACME, a_campaign
from tests.unit.healthy_site import a_site, the_ailment


def found(*unassigned: UnassignedSeller, idle: tuple[IdleCustomers, ...] = ()) -> SellersOnRecord:
    """What the journal says."""
    return SellersOnRecord(unassigned=unassigned, idle=idle)


def test_a_seller_with_another_key_is_named_with_what_to_write() -> None:
    """The key that is most like it is suggested, and it is never more than a suggestion."""
    seller = UnassignedSeller(key="acme-nl", configured=False, objections=2)
    ailment = the_ailment(a_site(sellers_on_record=lambda: found(seller)))
    assert (ailment.check, ailment.state) == ("sellers", State.PROBLEM)
    assert "acme-nl: 2 objections in force" in ailment.what
    assert "blocked (objections_unassigned)" in ailment.what
    assert 'write formerly = ["acme-nl"] under [sellers.acme], if that is the same company' in ailment.todo
    assert "add [sellers.acme-nl] with its name and retired = true" in ailment.todo


def test_a_table_that_was_left_behind_is_to_be_removed_or_retired() -> None:
    """A seller without any campaign."""
    seller = UnassignedSeller(key="zonnig", configured=True, objections=1)
    ailment = the_ailment(a_site(sellers_on_record=lambda: found(seller)))
    assert "zonnig: 1 objection in force" in ailment.what
    assert "under the key that it has now" in ailment.todo
    assert "remove [sellers.zonnig]; if nobody calls for it any more, write retired = true there" in ailment.todo


def test_customers_of_a_product_group_that_no_campaign_has_are_a_warning() -> None:
    """They are screened like everybody, so nobody is called who should not be."""
    idle = (IdleCustomers(seller="acme", product_group="gas", customers=3),)
    ailment = the_ailment(a_site(sellers_on_record=lambda: found(idle=idle)))
    assert (ailment.check, ailment.state) == ("sellers", State.WARNING)
    assert "acme: 3 customers on record for 'gas'" in ailment.what


def test_two_sellers_of_one_name_are_a_warning() -> None:
    """Campaigns that were moved one by one leave the company under two keys, each with objections of its own."""
    other = replace(a_campaign(key="solar"), seller=Seller(key="acme-nl", name=ACME.name))
    ailment = the_ailment(a_site(campaigns={"energy": a_campaign(), "solar": other}, sounds=a_site().sounds))
    assert (ailment.check, ailment.state) == ("sellers", State.WARNING)
    assert "acme and acme-nl have one name (Acme Energie)" in ailment.what
    assert "formerly" in ailment.todo
