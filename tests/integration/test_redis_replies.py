"""What Redis answers becomes a decision: whatever is not exactly an answer blocks, through the whole client."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.bootstrap import Application, explaining
from agent.domain.errors import LookupUnavailable
from deploy.lab.redis_server import PrivateRedis
from tests.conftest import load_register, wired
from tests.integration.test_screening import NUMBER, last_verdict, reason
from tests.integration.test_scrub import OUTPUTS, scrub
from tests.redis_proxy import RedisProxy

FREE = "+31612345999"
"""In the block of numbers of one that is registered, and on no list."""
TECHNICAL = ("lookup_unavailable", "deadline_exceeded")
NO_ANSWERS = {
    "nil": b"$-1\r\n",
    "nil list": b"*-1\r\n",
    "nil of RESP3": b"_\r\n",
    "empty list": b"*0\r\n",
    "list": b"*1\r\n:0\r\n",
    "list of nil": b"*1\r\n$-1\r\n",
    "empty text": b"$0\r\n\r\n",
    "text": b"$1\r\n0\r\n",
    "word": b"+OK\r\n",
    "two": b":2\r\n",
    "less than nothing": b":-1\r\n",
    "false of RESP3": b"#f\r\n",
    "nought of RESP3": b",0\r\n",
    "set of RESP3": b"~0\r\n",
    "error": b"-ERR something is wrong\r\n",
    "two answers": b":0\r\n:0\r\n",
    "no Unicode": b"$1\r\n\xff\r\n",
    "nothing of the protocol": b"?\r\n",
}


@pytest.fixture
def proxy(redis_url: str, redis_server: PrivateRedis) -> Iterator[RedisProxy]:
    """In front of an empty Redis."""
    with RedisProxy(redis_server.socket) as proxy:
        yield proxy


@pytest.fixture
def app(tmp_path: Path, proxy: RedisProxy) -> Iterator[Application]:
    """Behind it, with a register in which the number is."""
    with wired(tmp_path, proxy.url, BMN_REDIS__LOOKUP_TIMEOUT_MS="2000") as app:
        load_register(app, f"{NUMBER.e164}\n")
        app.seller_lists.add_optout("bank", NUMBER, "letter", None)
        yield app


def altered(proxy: RedisProxy, verb: bytes, part: bytes, reply: bytes) -> None:
    """Answer commands ``verb`` whose words hold ``part`` with ``reply``."""
    proxy.alter = lambda words, whole: reply if words[0] == verb and any(part in word for word in words) else whole


def reasons_of(
    app: Application, proxy: RedisProxy, verb: bytes, part: bytes, number: str, *, without: str = ""
) -> dict[str, str]:
    """What a screening of ``number`` got, by what was answered in place of what is true."""
    found = {}
    for kind, reply in NO_ANSWERS.items():
        if kind == without:
            continue
        altered(proxy, verb, part, reply)
        found[kind] = reason(app, number, within_ms=10_000)
        assert last_verdict(app)["failure"] or found[kind] not in TECHNICAL, kind
        proxy.alter = lambda _words, whole: whole
        app.redis.close()
        assert reason(app, within_ms=10_000) == "registered", kind
    return found


@pytest.mark.parametrize("part", [b":g:", b":own:", b":optout:", b":customer:"])
def test_a_membership_that_is_neither_0_nor_1_blocks(app: Application, proxy: RedisProxy, part: bytes) -> None:
    """Never does it count as not listed."""
    found = reasons_of(app, proxy, b"SISMEMBER", part, NUMBER.e164)
    assert found == dict.fromkeys(NO_ANSWERS, "lookup_unavailable")


@pytest.mark.parametrize("verb", [b"SCARD", b"HMGET"])
def test_a_size_or_roster_of_another_form_blocks(app: Application, proxy: RedisProxy, verb: bytes) -> None:
    """A number that is on no list, so that only the form of the answer speaks against it."""
    found = reasons_of(app, proxy, verb, b"", FREE, without="two")  # which is a size, and would be a loss
    assert found == dict.fromkeys(found, "lookup_unavailable")


@pytest.mark.parametrize("key", [b"bmn:applied", b"bmn:current:nl-bmnr"])
def test_a_mark_or_pointer_that_is_no_text_blocks(app: Application, proxy: RedisProxy, key: bytes) -> None:
    """Nor is an empty one the same as none, which has a meaning of its own: it blocks in another way."""
    found = reasons_of(app, proxy, b"GET", key, FREE)
    nothing = {found.pop(kind) for kind in ("nil", "nil list", "nil of RESP3")}
    assert nothing <= ({"register_missing"} if b"current" in key else set(TECHNICAL))
    assert found == dict.fromkeys(found, "lookup_unavailable")


def test_a_connection_with_a_wrong_answer_is_not_used_again(app: Application, proxy: RedisProxy) -> None:
    """An answer more than was asked for would be taken for that to the next question."""
    assert reason(app) == "registered"
    altered(proxy, b"SISMEMBER", b":g:", b":0\r\n:0\r\n")
    connections = proxy.accepted
    assert reason(app) == "lookup_unavailable"
    proxy.alter = lambda _words, whole: whole
    assert [reason(app), reason(app, FREE)] == ["registered", "not_registered"]
    assert proxy.accepted == connections + 1


def test_a_policy_that_is_not_told_blocks(app: Application, proxy: RedisProxy) -> None:
    """Whether numbers may be evicted is not known then. An error says that CONFIG is forbidden: INFO is asked."""
    found = reasons_of(app, proxy, b"CONFIG", b"maxmemory-policy", FREE)
    assert found.pop("error") == "not_registered"
    assert found == dict.fromkeys(found, "lookup_unavailable")


def test_a_policy_that_the_other_way_does_not_tell_blocks(app: Application, proxy: RedisProxy) -> None:
    """Where CONFIG is forbidden."""
    for kind, reply in {**NO_ANSWERS, "the true one": b""}.items():
        other = {b"CONFIG": b"-NOPERM\r\n", b"INFO": reply}
        proxy.alter = lambda words, whole, other=other: other.get(words[0]) or whole  # type: ignore[misc]
        assert reason(app, FREE) == ("lookup_unavailable" if reply else "not_registered"), kind


def test_a_reply_too_few_blocks(app: Application, proxy: RedisProxy) -> None:
    """It is waited for in vain."""
    assert reason(app) == "registered"
    altered(proxy, b"SISMEMBER", b":g:", b"")
    assert reason(app, FREE, within_ms=10_000) in TECHNICAL


@pytest.mark.parametrize("verb", [b"SMISMEMBER", b"HMGET", b"SCARD"])
def test_a_scrub_takes_nothing_else_for_an_answer(
    app: Application, proxy: RedisProxy, tmp_path: Path, verb: bytes
) -> None:
    """Nothing is written then."""
    for kind, reply in NO_ANSWERS.items():
        altered(proxy, verb, b"", reply)
        with pytest.raises(LookupUnavailable):
            scrub(app, tmp_path, f"phone\n{NUMBER.e164}\n{FREE}\n")
        assert not [name for name in OUTPUTS if (tmp_path / name).exists()], kind


def test_an_explanation_says_that_it_does_not_know(app: Application, proxy: RedisProxy) -> None:
    """And not that the number is on no list."""
    for kind, reply in {**NO_ANSWERS, "list": b"*2\r\n:0\r\n:0\r\n"}.items():
        altered(proxy, b"SMISMEMBER", b"", reply)
        explanation = explaining(app).explain(NUMBER, ["energy"], 1_000)
        assert explanation.unavailable, kind
        assert {entry.blocked for entry in explanation.register} == {None}, kind
