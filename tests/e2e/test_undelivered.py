"""A caller who hangs up while the call is being screened: what Asterisk got, and what the journal says of it."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from deploy.lab import Lab
from tests.agi.open_connections import open_connections
from tests.e2e.conftest import Site
from tests.e2e.test_classic_script import handed_out
from tests.e2e.test_screened_call import FREE, REGISTER
from tests.waiting import until


def test_no_allow_is_on_record_as_handed_out_to_a_caller_who_had_hung_up(lab: Lab, site: Site) -> None:
    """Another process holds the journal while they do; Asterisk ends the session when the channel ends."""
    site.load_register(REGISTER)
    before = len(lab.invites_from_trunk())
    with closing(sqlite3.connect(site.folder / "journal.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        call = lab.place(FREE, campaign="energy", agent="agent-7", hold_s=None)
        until(lambda: open_connections(site.agent.pid, int(site.environment["BMN_AGI_LISTEN"].split(":")[1])))
        call.hang_up()
        call.outcome()
        other.execute("ROLLBACK")
    (line,) = until(lambda: site.agent.log("call.screened"))
    assert not line["delivered"]
    until(lambda: site.records("call.screened") and handed_out(site) == [])
    assert lab.invites_from_trunk()[before:] == []
