"""A journal that was restored from a backup: what only Redis knows goes on to protect, whatever else is on record."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import redis

from agent.adapters import redis_keys
from agent.bootstrap import Application
from agent.domain.journal_events import Event, EventType
from agent.domain.phone_number import PhoneNumber
from deploy.lab.agent_service import bmn
from tests.conftest import load_register, wired
from tests.integration.test_choices import call, press, soon
from tests.integration.test_screening import reason

TEXT = "0612345679"
NUMBER = PhoneNumber(digits="31612345679")
Act = Callable[[Application], object]


def object_to(app: Application) -> None:
    """They object, by letter."""
    app.seller_lists.add_optout("acme", NUMBER, "letter", None)


def think_better_of_it(app: Application) -> None:
    """They object, and take it back."""
    object_to(app)
    app.seller_lists.remove_optout("acme", NUMBER, "asked")


def offer(app: Application, campaign: str = "energy") -> None:
    """The agent logs that the offer was made."""
    press(app, call(app, campaign, TEXT), "offered")


def register(app: Application) -> str:
    """They ask to be registered; the call."""
    call_id = call(app, number=TEXT)
    press(app, call_id, "register_with_charities")
    return call_id


def register_and_undo(app: Application) -> None:
    """It was a slip of the agent's."""
    press(app, register(app), "undo")


def put_back(folder: Path, url: str, before: Act, lost: Act) -> None:
    """Restore the journal of after ``before``; what ``lost`` did reached Redis, and is not in the journal."""
    with wired(folder, url) as app:
        load_register(app, "0687654321\n")
        before(app)
        with closing(sqlite3.connect(folder / "backup.db")) as backup:
            app.journal._reader().backup(backup)
    with wired(folder, url) as app:
        lost(app)
    for part in folder.glob("journal.db-*"):
        part.unlink()
    (folder / "backup.db").replace(folder / "journal.db")


@pytest.mark.parametrize(
    ("before", "lost", "expected"),
    [
        (offer, object_to, "seller_optout"),
        (think_better_of_it, object_to, "seller_optout"),
        (register_and_undo, register, "registered"),
    ],
)
@pytest.mark.parametrize("first", ["screening", "rebuild", "loss"])
def test_what_a_restored_journal_ended_before_is_not_ended_again(
    tmp_path: Path, redis_url: str, before: Act, lost: Act, expected: str, first: str
) -> None:
    """They said it again after the backup: neither the replay, nor a rebuild, nor one after a loss takes that away."""
    put_back(tmp_path, redis_url, before, lost)
    if first == "rebuild":
        bmn("rebuild", environment={"BMN_CONFIG": str(tmp_path / "bmn.toml"), "BMN_REDIS_URL": redis_url})
    with wired(tmp_path, redis_url) as app:
        if first == "loss":
            app.outbox.drain()
            with redis.Redis.from_url(redis_url) as client:
                client.delete(redis_keys.APPLIED)
        app.outbox.drain()
        load_register(app, "0687654321\n")
        assert reason(app, TEXT) == expected


def test_a_call_for_another_seller_does_not_end_an_objection_that_only_redis_knows(
    tmp_path: Path, redis_url: str
) -> None:
    """A record changes what it speaks of, and nothing besides."""
    put_back(tmp_path, redis_url, offer, object_to)
    with wired(tmp_path, redis_url) as app:
        assert reason(app, TEXT) == "seller_optout"
        offer(app, "loans")
        assert reason(app, TEXT) == "seller_optout"
        assert reason(app, TEXT, "loans") == "not_registered"


def test_what_ends_after_the_restoration_ends(tmp_path: Path, redis_url: str) -> None:
    """What the journal knows can be taken back, also by the first command that meets the lists."""
    put_back(tmp_path, redis_url, object_to, lambda app: load_register(app, "0687654322\n"))
    with wired(tmp_path, redis_url) as app:
        assert app.seller_lists.remove_optout("acme", NUMBER, "asked")
        assert reason(app, TEXT) == "not_registered"
        call_id = register(app)
        assert reason(app, TEXT) == "registered"
        press(app, call_id, "undo")
        assert reason(app, TEXT) == "not_registered"
        think_better_of_it(app)
        app.outbox.replay(lambda *_: None, take_over=False)
        app.outbox.drain()
        load_register(app, "0687654321\n")
        assert reason(app, TEXT) == "not_registered"


def test_a_journal_that_takes_lists_over_ends_nothing_of_them(tmp_path: Path, redis_url: str) -> None:
    """The new one has records of the same number, from before it took over."""
    with wired(tmp_path, redis_url) as app:
        load_register(app, "0687654321\n")
        object_to(app)
    (tmp_path / "new").mkdir()
    with wired(tmp_path / "new", redis_url) as new:
        body = {"seller": "acme", "number": NUMBER.e164, "by": "tests"}
        new.journal.append([Event.of(EventType.OPTOUT_REMOVED, {**body, "reason": "asked"})], soon())
        new.outbox.replay(lambda *_: None, take_over=True)
        load_register(new, "0687654321\n")
        assert reason(new, TEXT) == "seller_optout"
