"""``/metrics`` of the real service: what calls leave there, and that no reader and no outage harms a call."""

from __future__ import annotations

import http.client
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from agent import dialplan_names as names
from deploy.lab.agent_service import bmn
from deploy.lab.redis_server import PrivateRedis
from tests.agi.fake_asterisk import FakeAsterisk
from tests.agi.test_choice_scripts import a_call, conduct, press
from tests.agi.test_screen_script import Site
from tests.waiting import until

WAIT_S = 15.0


class MeasuredSite(Site):
    """A service that tells what it counts."""

    def __init__(self, folder: Path, redis_url: str, **settings: str) -> None:
        super().__init__(
            folder,
            redis_url,
            **{"BMN_METRICS__LISTEN": "127.0.0.1:0", "BMN_SOUNDS__PATH": str(folder / "none"), **settings},
        )

    @property
    def metrics_address(self) -> tuple[str, int]:
        """Where it tells."""
        host, port = self.agent.started["metrics"].split(":")
        return host, int(port)

    def get(self, path: str = "/metrics") -> tuple[int, str]:
        """Status and text of one page."""
        with closing(http.client.HTTPConnection(*self.metrics_address, timeout=WAIT_S)) as client:
            client.request("GET", path)
            answer = client.getresponse()
            return answer.status, answer.read().decode()

    def values(self, name: str) -> dict[tuple[str, ...], float]:
        """Every sample of that name that is not zero, by the values of its labels in the order of their names."""
        _, page = self.get()
        return {
            tuple(value for _, value in sorted(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(page)
            for sample in family.samples
            if sample.name == name and sample.value
        }

    def wait_for(self, name: str, wanted: dict[tuple[str, ...], float]) -> None:
        """Until the page tells so, in bounded time; what is read of Redis is up to 5 seconds old."""
        try:
            until(lambda: self.values(name) == wanted, WAIT_S)
        except AssertionError as never:
            raise AssertionError(f"{name} is {self.values(name)}") from never


@pytest.fixture
def site(tmp_path: Path, redis_url: str) -> Iterator[MeasuredSite]:
    """A running service with a register that holds one number."""
    site = MeasuredSite(tmp_path, redis_url)
    site.load("0612345678\n")
    with site.agent:
        yield site


def finish(site: Site, call: str, *arguments: str) -> None:
    """The end of a call."""
    with FakeAsterisk.call(site.address, names.SCRIPT_FINISH, call, *arguments):
        pass


def test_verdicts_and_their_time_are_counted(site: MeasuredSite) -> None:
    """By reason and campaign; each stage of each screening once."""
    for number, campaign in (("0612345678", "energy"), ("0612349999", "energy"), ("0612349999", "misspelt"), ("", "")):
        site.screen(number, campaign, "agent-7")
    site.wait_for(
        "bmn_verdicts_total",
        {
            ("energy", "registered", "block"): 1,
            ("energy", "not_registered", "allow"): 1,
            ("-", "unknown_campaign", "block"): 1,
            ("-", "invalid_number", "block"): 1,
        },
    )
    stages = ("queue", "lookup", "decision", "journal", "answer", "total")
    site.wait_for("bmn_screening_seconds_count", {(stage,): 4 for stage in stages})
    spent = site.values("bmn_screening_seconds_sum")
    parts = sum(seconds for (stage,), seconds in spent.items() if stage != "total")
    assert 0 < parts <= spent[("total",)]
    assert site.values("bmn_screening_deadline_seconds") == {(): 1.0}


def test_a_verdict_that_nobody_took_is_counted(site: MeasuredSite) -> None:
    """Asterisk stopped waiting: the dialplan then blocks the call itself."""
    asterisk = FakeAsterisk.call(site.address, "screen", "0612349999", "energy", "agent-1")
    asterisk.read_command()
    asterisk.hang_up()
    site.wait_for("bmn_verdicts_undelivered_total", {(): 1})
    site.wait_for("bmn_agi_sessions_aborted_total", {("hang-up",): 1})


def test_offers_notices_and_choices_are_counted(site: MeasuredSite) -> None:
    """A call with an offer, one without, one with voicemail, and a notice that is being heard."""
    offered, missed, voicemail, noticed = (a_call(site) for _ in range(4))
    assert press(site, offered, "offered") == "recorded"
    assert press(site, voicemail, "voicemail") == "recorded"
    assert press(site, missed, "no-such-key") == "rejected"
    for call in (offered, missed, voicemail):
        finish(site, call, "ANSWER", "12", "16", "2", "consumer")
    site.wait_for("bmn_offers_total", {("energy", "made"): 1, ("energy", "missed"): 1})
    site.wait_for("bmn_notices_total", {("consumer_left", "not_played"): 3})
    site.wait_for("bmn_keys_rejected_total", {("unknown_key",): 1})
    consumer = conduct(site, noticed)
    consumer.hear("menu-acme", key="1")
    site.wait_for("bmn_dialogues_open", {(): 1})
    site.wait_for("bmn_agi_sessions_open", {("notice",): 1})
    consumer.hang_up()
    site.wait_for("bmn_dialogues_open", {})
    site.wait_for("bmn_notices_total", {("consumer_left", "not_played"): 3, ("unproved", "partial"): 1})
    answers: dict[tuple[str, ...], float] = {
        ("offered", "agent_key"): 1,
        ("voicemail", "agent_key"): 1,
        ("seller_optout", "consumer_key"): 1,
    }
    site.wait_for("bmn_choices_total", answers)
    until(lambda: len(site.agent.logged("call.finished")) == 3)
    levels = {line["call"]: line["level"] for line in site.agent.log("call.finished")}
    assert levels == {offered: "info", missed: "warning", voicemail: "info"}


def test_registrations_are_told_by_their_deadline(site: MeasuredSite) -> None:
    """One that was taken just now has time."""
    press(site, a_call(site), "register_with_charities")
    site.wait_for("bmn_registrations_pending", {("later",): 1})


def test_what_is_loaded_is_told(site: MeasuredSite) -> None:
    """Age, share of its period, numbers and which load it is."""
    assert site.values("bmn_register_loaded") == {("nl-bmnr",): 1}
    assert site.values("bmn_register_entries") == {("nl-bmnr",): 1}
    (age,), (share,) = site.values("bmn_register_age_seconds").values(), site.values("bmn_register_age_ratio").values()
    assert share == pytest.approx(age / (28 * 86_400), rel=1e-3)
    ((_, generation, profile),) = site.values("bmn_register_generation_info")
    assert profile == "nl-bmnr"
    site.screen("0612349999", "energy", "agent-1")
    assert site.records("type = 'call.screened'")[0]["generation"] == generation


def test_a_redis_that_dies_and_comes_back_is_seen(tmp_path: Path, own_redis: PrivateRedis) -> None:
    """The page is there all the time, without an exception; what waits for Redis is told without Redis."""
    site = MeasuredSite(tmp_path, own_redis.url)
    site.load("0612345678\n")
    with site.agent:
        call = a_call(site)
        site.wait_for("bmn_redis_up", {(): 1})
        own_redis.stop()
        site.wait_for("bmn_redis_up", {})
        assert site.get()[0] == 200
        for _ in range(3):
            assert site.screen("0612349999", "energy", "agent-1")["BMN_REASON"] == "lookup_unavailable"
        site.wait_for("bmn_technical_blocks_in_a_row", {("lookup_unavailable",): 3})
        assert press(site, call, "seller_optout") == "recorded"
        site.wait_for("bmn_outbox_lag_records", {(): 1})
        assert site.values("bmn_redis_errors_total")[("unavailable",)] >= 3
        own_redis.start()
        site.wait_for("bmn_redis_up", {(): 1})
        site.wait_for("bmn_outbox_lag_records", {})
        site.wait_for("bmn_register_loaded", {("nl-bmnr",): 1})  # loaded again by itself
        assert site.values("bmn_metrics_errors_total") == {}


def test_a_redis_that_hangs_holds_up_no_scrape(tmp_path: Path, own_redis: PrivateRedis) -> None:
    """It is down, and told in time."""
    site = MeasuredSite(tmp_path, own_redis.url)
    site.load("0612345678\n")
    with site.agent:
        site.wait_for("bmn_redis_up", {(): 1})
        own_redis.pause()
        try:
            site.wait_for("bmn_redis_up", {})
            assert site.values("bmn_redis_errors_total")[("timed_out",)] >= 1
        finally:
            own_redis.resume()


def test_a_journal_that_is_locked_is_seen(site: MeasuredSite) -> None:
    """What waits while it is; what failed afterwards."""
    with closing(sqlite3.connect(site.folder / "journal.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        asterisk = FakeAsterisk.call(site.address, "screen", "0612349999", "energy", "agent-1")
        site.wait_for("bmn_journal_unwritten_records", {(): 1})
        assert "journal_unavailable" in asterisk.read_command()
        asterisk.hang_up()
        site.wait_for("bmn_journal_errors_total", {(): 1})
        other.execute("ROLLBACK")
    site.wait_for("bmn_journal_unwritten_records", {})


@pytest.mark.parametrize("said", [b"", b"GET /metr", b"GET /metrics HTTP/1.1\r\nHost: x\r\n"])
def test_readers_who_are_idle_keep_nobody_from_reading(site: MeasuredSite, said: bytes) -> None:
    """More of them than there are threads, and than may be incomplete at a time: the page is there at once."""
    with ExitStack() as readers:
        for _ in range(100):
            reader = readers.enter_context(closing(socket.create_connection(site.metrics_address, timeout=WAIT_S)))
            reader.sendall(said)
            assert site.get()[0] == 200
        for _ in range(5):
            assert site.screen("0612349999", "energy", "agent-1")["BMN_VERDICT"] == "allow"
            assert site.get()[0] == 200


def test_readers_who_do_not_take_the_page_keep_nobody_from_reading(site: MeasuredSite) -> None:
    """It is on its way to each of them, and takes no thread; else this would wait too long."""
    with ExitStack() as readers:
        for _ in range(60):
            reader = readers.enter_context(closing(socket.socket()))
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
            reader.settimeout(WAIT_S)
            reader.connect(site.metrics_address)
            reader.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        assert site.get()[0] == 200


def test_an_idle_reader_is_let_go_after_a_while(site: MeasuredSite) -> None:
    """And nothing is logged of it: the reader knows."""
    with closing(socket.create_connection(site.metrics_address, timeout=WAIT_S)) as reader:
        reader.sendall(b"GET /metr")
        assert reader.recv(100) == b""
    assert site.agent.log("session.aborted") == []


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        ("GET /metrics HTTP/1.0", 200),
        ("GET /metrics?name[]=bmn_redis_up HTTP/1.1", 200),
        ("POST /metrics HTTP/1.1", 405),
        ("GET /metrics", 400),
        ("GET /metrics SIP/2.0", 400),
        ("\x16\x03\x01", 400),
        ("GET /" + "x" * 10_000 + " HTTP/1.1", 400),
    ],
)
def test_requests_of_every_kind_are_answered(site: MeasuredSite, request_line: str, status: int) -> None:
    """With a status, a length and the end of the connection."""
    with closing(socket.create_connection(site.metrics_address, timeout=WAIT_S)) as reader:
        reader.sendall(f"{request_line}\r\nAccept-Encoding: gzip\r\n\r\n".encode("latin-1"))
        answer = b""
        while chunk := reader.recv(65536):
            answer += chunk
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert int(lines[0].split()[1]) == status
    assert f"Content-Length: {len(body)}" in lines
    assert ("Content-Encoding: gzip" in lines) is (status == 200)


def test_there_is_nothing_else_on_that_port(site: MeasuredSite) -> None:
    """And it says so."""
    assert site.get("/") == (404, "There is only /metrics here.\n")
    assert site.get("/metrics/../etc/passwd")[0] == 404


def test_a_metrics_port_in_use_is_a_clear_sentence(site: MeasuredSite) -> None:
    """Which address, which setting; exit code 2, before a call could be taken."""
    host, port = site.metrics_address
    environment = {**site.environment, "BMN_METRICS__LISTEN": f"{host}:{port}"}
    done = bmn("serve", environment=environment, check=False)
    assert done.returncode == 2
    assert f"cannot listen on {host}:{port} (metrics.listen): Address already in use" in done.stderr
    assert len(site.records("type = 'agent.started'")) == 1


def test_without_an_address_nothing_is_told(tmp_path: Path, redis_url: str) -> None:
    """And calls are served."""
    site = MeasuredSite(tmp_path, redis_url, BMN_METRICS__LISTEN="")
    with site.agent:
        assert site.agent.log("agent.started")[0]["metrics"] is None
        assert site.screen("0612349999", "energy", "agent-1")["BMN_REASON"] == "register_missing"


def test_no_number_is_on_the_page(site: MeasuredSite) -> None:
    """Neither that of a call nor that of an agent, in whatever spelling it came."""
    for number in ("0612345678", "+31 6 87654321", "06x", "112"):
        site.screen(number, "campaign-0687654321", "+31201234567")
    press(site, a_call(site, "0687654321"), "seller_optout")
    _, page = site.get()
    for digits in ("12345678", "87654321", "1234567", "agent-7"):
        assert digits not in page
