"""A seller gets another key in the configuration, and real calls show whom that concerns."""

from __future__ import annotations

from deploy.lab import Lab
from tests.conftest import CONFIGURATION
from tests.e2e.conftest import Site
from tests.e2e.test_screened_call import assert_blocked, dial

RENAMED = CONFIGURATION.replace("[sellers.acme]", "[sellers.acme-nl]").replace('seller = "acme"', 'seller = "acme-nl"')
ASSIGNED = RENAMED.replace("[sellers.acme-nl]", '[sellers.acme-nl]\nformerly = ["acme"]')


def test_nobody_who_objected_is_called_because_the_seller_has_another_key(lab: Lab, site: Site) -> None:
    """Every promotional call is blocked until the configuration says who the seller is now; then only theirs."""
    site.load_register("0612345678\n")
    site.bmn("optout", "add", "0612345999", "--seller", "acme")
    site.agent.stop()
    (site.folder / "bmn.toml").write_text(RENAMED)
    site.agent.start()
    (*_, started) = site.agent.log("agent.started")
    assert any("objections to acme are in force" in why for why in started["degraded"])
    for number in ("0612345999", "0612345666"):
        assert_blocked(*dial(lab, number), "objections_unassigned")
    site.agent.stop()
    (site.folder / "bmn.toml").write_text(ASSIGNED)
    site.agent.start()
    (*_, started) = site.agent.log("agent.started")
    assert started["degraded"] == []
    assert_blocked(*dial(lab, "0612345999"), "seller_optout")
    lab.consumer("+31612345666", talk_s=0.5)
    assert dial(lab, "0612345666")[1] == ["+31612345666"]
