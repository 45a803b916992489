"""A real outbound call is screened: blocked, or dialled with exactly the number that was cleared.

In every test the INVITEs that the far Asterisk received are counted from its SIP history: "nothing was dialled" means
that none arrived.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest

from deploy.lab import Lab
from deploy.lab.calls import CallOutcome
from deploy.lab.lab import INCLUDED_PHONE
from tests.e2e.conftest import Site
from tests.e2e.sound import read_wav, share_heard
from tests.unit.test_phone_number import SPELLINGS
from tests.waiting import until

REGISTERED = "0612345678"
REGISTER = """
number,blocked
0612345678,all
0612345679,all_except_charities
0612345680,energy
0612345681,charities
"""
FREE = "0612349999"
FOREIGN = "+3225551234"


def dial(lab: Lab, number: str, campaign: str | None = "energy", **options: object) -> tuple[CallOutcome, list[str]]:
    """Call, and return the outcome with the INVITEs that this call sent to the network."""
    before = len(lab.invites_from_trunk())
    outcome = lab.call(number, campaign=campaign, agent="agent-7", hold_s=0.3, **options)  # type: ignore[arg-type]
    return outcome, lab.invites_from_trunk()[before:]


def assert_blocked(outcome: CallOutcome, invites: list[str], reason: str) -> None:
    """Nothing was dialled, the agent was told, and event and CDR say why."""
    assert invites == []
    assert not outcome.answered
    assert outcome.sip_code == 403
    event = outcome.user_event("BmnBlocked")
    assert event["Reason"] == reason
    assert outcome.userfield.startswith(f"bmn:block:{reason}:")
    assert outcome.agent_heard().loudness > 200


def test_a_listed_number_is_blocked_in_each_spelling(lab: Lab, site: Site, subtests: pytest.Subtests) -> None:
    """What the agent dials is what SIP delivers: separators, international forms, full-width digits.

    What does not begin like a number finds no extension (404); what only goes on oddly is refused by the dialplan.
    """
    site.load_register(REGISTER)
    before = len(lab.invites_from_trunk())
    calls = [(spelling, lab.place(spelling, campaign="energy", hold_s=0.3)) for spelling in SPELLINGS]
    for spelling, call in calls:
        with subtests.test(spelling):
            outcome, invites = call.outcome(), lab.invites_from_trunk()[before:]
            if set(spelling) <= set("0123456789+()-. "):
                assert_blocked(outcome, invites, "registered")
            elif spelling[0] in "0123456789+( ":
                assert_blocked(outcome, invites, "invalid_number")
            else:
                assert (outcome.sip_code, outcome.answered, invites) == (404, False, [])


def test_an_unlisted_number_is_dialled_in_e164_and_the_two_hear_each_other(lab: Lab, site: Site) -> None:
    """The number that goes out is the one of the verdict, however it was dialled; audio flows; the CDR carries it."""
    site.load_register(REGISTER)
    lab.consumer("+31612349999", talk_s=1.0)
    outcome, invites = dial(lab, "06-12349999")
    lab.consumer("+31612349999")
    assert invites == ["+31612349999"]
    assert outcome.answered
    verdict = site.last_verdict()
    assert (verdict["verdict"], verdict["reason"]) == ("allow", "not_registered")
    assert outcome.userfield == f"bmn:allow:not_registered:{verdict['call']}"
    assert outcome.variables["BMN_NOTICE"] == "required"
    heard = lab.consumer_heard("+31612349999")
    assert heard.seconds > 0.1
    assert heard.tone_share(440) > 0.5, "the consumer heard the agent's tone"


def test_the_agent_hears_why_in_his_language(lab: Lab, site: Site, prompts: Path) -> None:
    """The prompt of the reason, whole, as early media; in the language of his channel."""
    site.load_register(REGISTER)
    for language, other in (("nl", "en"), ("en", "nl")):
        heard = dial(lab, FOREIGN, language=language)[0].agent_heard().samples
        sounds = {key: read_wav(prompts / key / "bmn" / "blocked-unsupported-country.wav") for key in (language, other)}
        assert share_heard(heard, sounds[language]) > 0.8
        assert share_heard(heard, sounds[other]) < 0.2


@pytest.mark.parametrize(
    ("number", "campaign", "reason"),
    [
        ("0612345678", "charity", "registered"),
        ("0612345679", "energy", "registered"),
        ("0612345680", "energy", "registered_sector"),
        ("0612345681", "charity", "registered_charities"),
        ("0612345678", "no-such-campaign", "unknown_campaign"),
        ("06123456789", "energy", "invalid_number"),
        ("061234", "energy", "invalid_number"),
        ("+3225551234", "energy", "unsupported_country"),
    ],
)
def test_each_kind_of_entry_blocks_its_calls(lab: Lab, site: Site, number: str, campaign: str, reason: str) -> None:
    """Charity campaigns against ``all``; sectors; a campaign misspelt; numbers that are none."""
    site.load_register(REGISTER)
    outcome, invites = dial(lab, number, campaign)
    assert_blocked(outcome, invites, reason)
    assert site.last_verdict()["reason"] == reason


@pytest.mark.parametrize(
    ("number", "campaign", "reason"),
    [
        ("0612345679", "charity", "not_registered"),
        ("0612345680", "charity", "not_registered"),
        ("0612345681", "energy", "not_registered"),
        ("0612345678", "survey", "exempt_research"),
    ],
)
def test_what_an_entry_leaves_free_is_dialled(lab: Lab, site: Site, number: str, campaign: str, reason: str) -> None:
    """A charity against ``all_except_charities``; research is outside the register."""
    site.load_register(REGISTER)
    outcome, invites = dial(lab, number, campaign)
    assert invites == ["+31" + number[1:]]
    assert outcome.answered
    assert site.last_verdict()["reason"] == reason


def test_an_optout_beats_being_a_customer(lab: Lab, site: Site) -> None:
    """A customer is dialled; the same customer, after an opt-out, is not; another seller may still call."""
    site.load_register("0687654321\n")
    sale = ("--seller", "acme", "--product-group", "energy-contract")
    site.bmn("customer", "add", FREE, *sale, "--sold-on", "2026-01-05", "--product", "Groene Stroom")
    assert dial(lab, FREE)[1] == ["+31612349999"]
    assert site.last_verdict()["reason"] == "exempt_customer"
    site.bmn("optout", "add", FREE, "--seller", "acme", "--source", "letter")
    assert_blocked(*dial(lab, FREE), "seller_optout")
    assert dial(lab, FREE, "charity")[1] == ["+31612349999"]


def test_a_customer_is_exempt_for_the_same_product_group_only(lab: Lab, site: Site) -> None:
    """Energy contracts are no solar panels."""
    site.load_register(REGISTER)
    sale = ("--seller", "acme", "--product-group", "energy-contract")
    site.bmn("customer", "add", REGISTERED, *sale, "--sold-on", "2026-01-05", "--product", "Groene Stroom")
    assert dial(lab, REGISTERED, "energy")[1] == ["+31612345678"]
    assert_blocked(*dial(lab, REGISTERED, "solar"), "registered")


def test_without_a_register_nothing_is_dialled(lab: Lab, site: Site) -> None:
    """An empty Redis never means that nobody is registered."""
    assert_blocked(*dial(lab, FREE), "register_missing")


def test_a_stale_register_blocks(lab: Lab, site: Site) -> None:
    """29 days old, where 28 are allowed."""
    site.load_register(REGISTER, as_of=date.today() - timedelta(days=29))
    assert_blocked(*dial(lab, FREE), "register_stale")


# --- when things break


def asterisk_log(lab: Lab) -> str:
    """Warnings of the call centre's Asterisk."""
    return "\n".join(lab.pbx.warnings())


def test_with_the_agent_stopped_nothing_is_dialled(lab: Lab, site: Site) -> None:
    """No connection: the dialplan gives its own reason, in the log and the CDR."""
    site.load_register(REGISTER)
    site.agent.stop()
    assert_blocked(*dial(lab, FREE), "agent_unreachable")
    assert "agent_unreachable" in asterisk_log(lab)


def test_a_verdict_that_was_on_the_channel_before_means_nothing(lab: Lab, site: Site) -> None:
    """Left behind by an earlier call, or set by somebody: the variables are emptied before the agent is asked."""
    site.load_register(REGISTER)
    site.agent.stop()
    before = len(lab.invites_from_trunk())
    old = {"BMN_VERDICT": "allow", "BMN_REASON": "not_registered", "BMN_NUMBER": "+31612349999", "BMN_CALL": "old"}
    outcome = lab.call(FREE, campaign="energy", agent="agent-7", settings=old, hold_s=0.3)
    assert_blocked(outcome, lab.invites_from_trunk()[before:], "agent_unreachable")


def test_the_limit_on_screening_does_not_cut_the_call(lab: Lab, site: Site) -> None:
    """BMN_SCREEN_TIMEOUT is 3 s; a conversation of 4 s comes through whole."""
    site.load_register(REGISTER)
    call = lab.place(FREE, campaign="energy", agent="agent-7", hold_s=4.0)
    assert call.outcome().answered
    call.consumer_hangs_up()
    assert lab.consumer_heard("+31612349999").seconds > 3.8


def test_with_an_agent_that_never_answers_nothing_is_dialled(lab: Lab, site: Site) -> None:
    """Paused: the kernel accepts, nobody answers, AGI() alone would wait for ever."""
    site.load_register(REGISTER)
    site.agent.pause()
    assert_blocked(*dial(lab, FREE), "agent_timeout")
    assert "agent_timeout" in asterisk_log(lab)
    site.agent.resume()
    assert dial(lab, FREE)[1] == ["+31612349999"]


@contextlib.contextmanager
def impostor(port: int, answer: bytes) -> Iterator[None]:
    """A server in the agent's place that reads the request, says ``answer`` and closes."""
    with socket.create_server(("127.0.0.1", port)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    with connection:
                        request = b""
                        while not request.endswith(b"\n\n"):
                            request += connection.recv(4096)
                        connection.sendall(answer)
                        if answer:
                            connection.recv(4096)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join(5)


def verdict(values: str) -> bytes:
    """An answer of the agent's, as it comes over the wire."""
    return f'SET VARIABLE ARRAY(BMN_VERDICT,BMN_REASON,BMN_NUMBER,BMN_CALL,BMN_NOTICE) "{values}"\n'.encode()


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\n",
        b"garbage\n",
        b'SET VARIABLE BMN_VERDICT "allow"\n',
        verdict("allow,not_registered,,x,none"),
        verdict("ALLOW,not_registered,+31612349999,x,none"),
        verdict("allow,x,+31612349999@evil,x,none"),
        verdict("allow,x,+316&PJSIP/999,x,none"),
        verdict("allow,x,0612349999,x,none"),
        verdict("allow,x,+316,x,none"),
        verdict("allow,x,112,x,none"),
        verdict("allow,emergency_number,0612349999,x,none"),
        verdict("allow,x;y,+31612349999,x,none"),
        verdict("allow,x,+31612349999,x y,none"),
        verdict("allow,not_registered,+31612349999,x"),
        verdict("allow,not_registered,+31612349999,x,requires"),
        b'SET VARIABLE AGISTATUS "SUCCESS"\n',
    ],
)
def test_with_an_agent_that_closes_or_garbles_nothing_is_dialled(
    lab: Lab, site: Site, agi_port: int, answer: bytes
) -> None:
    """Asterisk calls such a session a SUCCESS; only an explicit verdict with a sound number dials."""
    site.agent.kill()
    with impostor(agi_port, answer):
        assert_blocked(*dial(lab, FREE), "agent_no_verdict")
    assert "agent_no_verdict" in asterisk_log(lab)


def test_with_redis_stopped_nothing_is_dialled(lab: Lab, site: Site) -> None:
    """And it says so in the journal; when Redis is back and loaded, calls go out again."""
    site.load_register(REGISTER)
    site.redis.stop()
    assert_blocked(*dial(lab, FREE), "lookup_unavailable")
    assert site.last_verdict()["reason"] == "lookup_unavailable"
    site.redis.start()
    site.load_register(REGISTER)
    assert dial(lab, FREE)[1] == ["+31612349999"]


def test_with_redis_paused_nothing_is_dialled(lab: Lab, site: Site) -> None:
    """Connected and silent: its own reason, in time for the dialplan."""
    site.load_register(REGISTER)
    assert dial(lab, FREE)[1] == ["+31612349999"]
    site.redis.pause()
    assert_blocked(*dial(lab, FREE), "deadline_exceeded")
    site.redis.resume()
    assert site.last_verdict()["reason"] == "deadline_exceeded"


def test_with_a_journal_that_cannot_be_written_nothing_is_dialled(lab: Lab, site: Site) -> None:
    """No verdict without a record: here another process holds the journal's lock for longer than the deadline."""
    import sqlite3

    site.load_register(REGISTER)
    with contextlib.closing(sqlite3.connect(site.folder / "journal.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert_blocked(*dial(lab, FREE), "journal_unavailable")
        other.execute("ROLLBACK")


@pytest.mark.parametrize(
    "dialled",
    [
        "0612345678,survey",
        "0612345678,survey,agent",
        "0612345678):0",
        '0612345678" = "0612345678',
        "0612345678${BMN_CAMPAIGN}",
        "0612345678&PJSIP/0612349999",
        "0612345678;survey",
        "0612345678\\,survey",
    ],
)
def test_what_is_dialled_cannot_smuggle_arguments(lab: Lab, site: Site, dialled: str) -> None:
    """A registered number dialled with ",survey" would be exempt research, were it taken as arguments.

    The phone enters by the plain include that the README tells, so the extension is exactly what SIP delivered.
    """
    site.load_register(REGISTER)
    before = len(lab.invites_from_trunk())
    outcome = lab.call(dialled, caller=INCLUDED_PHONE, hold_s=0.3)
    assert_blocked(outcome, lab.invites_from_trunk()[before:], "invalid_number")


def test_a_phone_with_its_own_campaign_enters_by_a_plain_include(lab: Lab, site: Site) -> None:
    """As the README tells; the campaign is the one that ``set_var`` gives the phone."""
    site.load_register(REGISTER)
    before = len(lab.invites_from_trunk())
    outcome = lab.call(FREE, caller=INCLUDED_PHONE, hold_s=0.3)
    assert outcome.answered
    assert lab.invites_from_trunk()[before:] == ["+31612349999"]
    assert site.last_verdict()["campaign"] == "lab-campaign"


def test_no_full_number_is_logged_or_sent_in_an_event(lab: Lab, site: Site) -> None:
    """Promise 6: masked in the agent's log and in UserEvents; one ``call.screened`` line for each call."""
    site.load_register(REGISTER)
    blocked, _ = dial(lab, REGISTERED)
    dial(lab, FREE)
    lines = until(lambda: len(site.agent.log("call.screened")) == 2 and site.agent.log("call.screened"))
    assert [line["reason"] for line in lines] == ["registered", "not_registered"]
    assert [line["number"] for line in lines] == ["061****678", "061****999"]
    text = site.agent.log_path.read_text()
    assert "12345678" not in text
    assert "12349999" not in text
    event = blocked.user_event("BmnBlocked")
    assert event["Number"] == "061****678"
    assert (event["Campaign"], event["Agent"]) == ("energy", "agent-7")
    assert event["Call"] == lines[0]["call"]


def test_the_chain_holds_after_all_of_it(lab: Lab, site: Site) -> None:
    """The evidence of real calls verifies."""
    site.load_register(REGISTER)
    dial(lab, REGISTERED)
    dial(lab, FREE)
    assert site.bmn("journal", "verify").startswith("whole: ")


@pytest.mark.parametrize("trunk", [{}, {"__BMN_DIAL_PREFIX": "Local/", "__BMN_DIAL_SUFFIX": "@lab-trunk"}])
def test_a_redirection_by_the_network_is_not_followed(lab: Lab, site: Site, trunk: dict[str, str]) -> None:
    """SIP 302 names another number, which nobody screened: here one in the register. Dial() option i, in each one."""
    site.load_register("0611111111\n")
    lab.consumer("+31612349999", "redirect")
    outcome, invites = dial(lab, FREE, settings=trunk)
    lab.consumer("+31612349999")
    assert invites == ["+31612349999"]
    assert not outcome.answered
