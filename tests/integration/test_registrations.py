"""Registrations on a real journal: handed over to the registrar once, answered, taken back, and widened."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from agent.bootstrap import Application
from agent.clock_keeping import ClockKeeping
from agent.domain.choice import Answer, Source
from agent.domain.errors import InputRejected
from agent.domain.registration import Acknowledgement, AcknowledgementFile, Due, RegistrationState
from agent.registrations import Exported
from deploy.lab.agent_service import bmn
from tests.conftest import load_register, wired
from tests.integration.aged_journal import AgedJournal
from tests.integration.test_choices import EMPTY, call, finish, loaded, press, say, soon

__all__ = ["loaded"]


def export(app: Application, path: Path, *, rejected: bool = False) -> Exported | None:
    """A batch, once every call is over."""
    for item in app.registrations.all():
        finish(app, item.call)
    return app.registrations.export(path, rejected=rejected)


def states(app: Application) -> list[str]:
    """Of all registrations."""
    return [item.state for item in app.registrations.all()]


def answered(*rows: tuple[str, bool, str | None]) -> AcknowledgementFile:
    """An answer of the registrar."""
    return AcknowledgementFile(
        name="answer.csv",
        sha256="0" * 64,
        rows=tuple(
            Acknowledgement(line=line, call=call_id, batch="", number="", accepted=accepted, reason=why)
            for line, (call_id, accepted, why) in enumerate(rows, start=2)
        ),
    )


@pytest.fixture
def settled(tmp_path: Path, redis_url: str) -> Any:
    """Calls count as over at once."""
    with wired(tmp_path, redis_url, BMN_REGISTRATIONS__SETTLE_MINUTES="0") as application:
        load_register(application, EMPTY)
        yield application


def test_a_registration_is_handed_over_once(settled: Application, tmp_path: Path) -> None:
    """The batch holds what was answered and nothing else; the next has none of it; the same batch can be had again."""
    first, second = call(settled), call(settled, number="0687654321")
    say(settled, first, Answer.REGISTER)
    press(settled, second, "register_without_charities")
    press(settled, call(settled, number="0687654322"), "seller_optout")
    exported = export(settled, tmp_path / "batch.csv")
    assert exported is not None
    rows = list(csv.DictReader((tmp_path / "batch.csv").read_text().splitlines()))
    assert [(row["call"], row["number"], row["scope"], row["charities"]) for row in rows] == [
        (first, "+31612345678", "not_answered", "not_answered"),
        (second, "+31687654321", "everything", "no"),
    ]
    assert (tmp_path / "batch.csv").stat().st_mode & 0o777 == 0o600
    assert export(settled, tmp_path / "empty.csv") is None
    assert not (tmp_path / "empty.csv").exists()
    settled.registrations.rewrite(exported.batch, tmp_path / "again.csv")
    assert (tmp_path / "again.csv").read_bytes() == (tmp_path / "batch.csv").read_bytes()
    assert states(settled) == [RegistrationState.EXPORTED] * 2


def test_a_call_that_may_go_on_waits(loaded: Application, tmp_path: Path) -> None:
    """What is said a minute later would not be in the file."""
    press(loaded, call(loaded), "register_with_charities")
    assert loaded.registrations.export(tmp_path / "batch.csv") is None
    assert states(loaded) == [RegistrationState.PENDING]


def test_a_file_that_exists_is_not_replaced(settled: Application, tmp_path: Path) -> None:
    """And nothing counts as handed over."""
    press(settled, call(settled), "register_with_charities")
    (tmp_path / "batch.csv").write_text("precious")
    with pytest.raises(InputRejected):
        export(settled, tmp_path / "batch.csv")
    with pytest.raises(InputRejected):
        export(settled, tmp_path / "no-such-folder" / "batch.csv")
    assert states(settled) == [RegistrationState.PENDING]
    assert (tmp_path / "batch.csv").read_text() == "precious"


def test_a_crash_between_record_and_file_exports_nothing_twice(
    settled: Application, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The journal has the batch, so the next one is without it; ``again`` writes the file."""
    press(settled, call(settled), "register_with_charities")

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.link", die)
    with pytest.raises(KeyboardInterrupt):
        export(settled, tmp_path / "batch.csv")
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir() if "batch" in path.name] == []
    assert export(settled, tmp_path / "batch.csv") is None
    (item,) = settled.registrations.all()
    assert item.batch is not None
    settled.registrations.rewrite(item.batch, tmp_path / "batch.csv")
    assert "+31612345678" in (tmp_path / "batch.csv").read_text()


def test_what_the_registrar_answers(settled: Application, tmp_path: Path) -> None:
    """Accepted, rejected with a reason, again in a batch of its own; the same file twice changes nothing."""
    first, second = call(settled), call(settled, number="0687654321")
    press(settled, first, "register_with_charities")
    press(settled, second, "register_with_charities")
    export(settled, tmp_path / "1.csv")
    file = answered((first, True, None), (second, False, "number not in use"))
    done = settled.registrations.acknowledge(file)
    assert (done.accepted, done.rejected, done.unchanged) == (1, 1, 0)
    assert settled.registrations.acknowledge(file).unchanged == 2
    assert states(settled) == [RegistrationState.ACCEPTED, RegistrationState.REJECTED]
    again = export(settled, tmp_path / "2.csv", rejected=True)
    assert again is not None
    assert again.count == 1
    assert second in (tmp_path / "2.csv").read_text()
    assert states(settled) == [RegistrationState.ACCEPTED, RegistrationState.EXPORTED]


@pytest.mark.parametrize(
    "rows",
    [
        lambda known: answered(("no-such-call", True, None)),
        lambda known: answered((known, True, None), ("no-such-call", False, "x")),
        lambda known: answered((known, False, None)),
    ],
)
def test_a_wrong_answer_records_nothing(
    settled: Application, tmp_path: Path, rows: Callable[[str], AcknowledgementFile]
) -> None:
    """An unknown call, or a rejection without a reason, rejects the whole file."""
    known = call(settled)
    press(settled, known, "register_with_charities")
    export(settled, tmp_path / "1.csv")
    with pytest.raises(InputRejected):
        settled.registrations.acknowledge(rows(known))
    assert states(settled) == [RegistrationState.EXPORTED]


def test_what_was_taken_back_is_not_handed_over(settled: Application, tmp_path: Path) -> None:
    """Withdrawn before a batch it is in none; after one the registrar is told, once."""
    other = call(settled)
    press(settled, other, "register_with_charities")
    press(settled, other, "undo")
    finish(settled, other)
    call_id = call(settled)
    press(settled, call_id, "register_with_charities")
    say(settled, call_id, Answer.REGISTER)
    finish(settled, call_id)
    export(settled, tmp_path / "1.csv")
    say(settled, call_id, Answer.SELLER_OPTOUT)
    assert states(settled) == [RegistrationState.WITHDRAWN, RegistrationState.EXPORTED], "the agent's key stands"


def test_a_wish_that_widens_is_handed_over_again(settled: Application, tmp_path: Path) -> None:
    """After the batch the consumer wants charities blocked as well; the first batch can be had again as it was."""
    call_id = call(settled)
    press(settled, call_id, "register_without_charities")
    finish(settled, call_id)
    first = export(settled, tmp_path / "1.csv")
    assert first is not None
    for answer in (Answer.REGISTER, Answer.EVERYTHING, Answer.CHARITIES_TOO):
        say(settled, call_id, answer)
    assert states(settled) == [RegistrationState.PENDING]
    export(settled, tmp_path / "2.csv")
    rows = [next(csv.DictReader((tmp_path / name).read_text().splitlines())) for name in ("1.csv", "2.csv")]
    assert [(row["action"], row["charities"]) for row in rows] == [("register", "no"), ("register", "yes")]
    assert states(settled) == [RegistrationState.EXPORTED]
    settled.registrations.rewrite(first.batch, tmp_path / "1-again.csv")
    assert (tmp_path / "1-again.csv").read_bytes() == (tmp_path / "1.csv").read_bytes()


def test_a_registration_taken_back_after_the_batch_is_withdrawn_there(settled: Application, tmp_path: Path) -> None:
    """The consumer corrects himself in the notice: the registrar hears withdraw."""
    call_id = call(settled)
    say(settled, call_id, Answer.REGISTER)
    finish(settled, call_id)
    export(settled, tmp_path / "1.csv")
    say(settled, call_id, Answer.SELLER_OPTOUT)
    assert states(settled) == [RegistrationState.PENDING]
    export(settled, tmp_path / "2.csv")
    (row,) = csv.DictReader((tmp_path / "2.csv").read_text().splitlines())
    assert (row["call"], row["action"]) == (call_id, "withdraw")
    assert export(settled, tmp_path / "3.csv") is None


def test_an_old_answer_read_again_changes_nothing(settled: Application, tmp_path: Path) -> None:
    """A rejection of the first batch says nothing of the second, and an unknown batch is refused."""
    call_id = call(settled)
    press(settled, call_id, "register_with_charities")
    finish(settled, call_id)
    first = export(settled, tmp_path / "1.csv")
    assert first is not None
    row = Acknowledgement(line=2, call=call_id, batch=first.batch, number="", accepted=False, reason="busy")
    file = AcknowledgementFile(name="answer.csv", sha256="0" * 64, rows=(row,))
    settled.registrations.acknowledge(file)
    export(settled, tmp_path / "2.csv", rejected=True)
    assert settled.registrations.acknowledge(file).unchanged == 1
    assert states(settled) == [RegistrationState.EXPORTED]
    unknown = Acknowledgement(line=2, call=call_id, batch="no-such-batch", number="", accepted=True, reason=None)
    with pytest.raises(InputRejected):
        settled.registrations.acknowledge(AcknowledgementFile(name="x", sha256="", rows=(unknown,)))


def test_a_call_without_a_recorded_end_is_over_after_hours(loaded: Application) -> None:
    """However long it was silent in a long conversation, it may go on."""
    press(loaded, call(loaded), "register_with_charities")
    (item,) = loaded.registrations.all()
    now = datetime.now(UTC)
    assert not item.is_settled(now + timedelta(hours=3), timedelta(minutes=15))
    assert item.is_settled(now + timedelta(hours=5), timedelta(minutes=15))


def test_what_was_said_while_the_clock_was_ahead_is_handed_over_now(
    settled: Application, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody knows since when it is due, so it is near; a clock that nobody has vouched for hands nothing over."""
    aged, ahead = AgedJournal(settled, monkeypatch), datetime.now(UTC) + timedelta(days=35)
    call_id = aged.call(ahead, "+31612345678")
    aged.say(ahead, "+31612345678", call_id, Source.AGENT, Answer.REGISTER_WITH_CHARITIES)
    aged.finish(ahead, "+31612345678", call_id)
    with pytest.raises(InputRejected, match="nothing was handed over"):
        export(settled, tmp_path / "1.csv")
    ClockKeeping(settled.journal, lambda: datetime.now(UTC), lambda: True).settle(soon())
    (item,) = settled.registrations.all()
    assert settled.registrations.nearness(item) is Due.WITHIN_1_DAY
    handed = export(settled, tmp_path / "1.csv")
    assert handed is not None
    assert handed.count == 1


def test_the_registrars_words_are_shown_without_a_number(tmp_path: Path, settled: Application) -> None:
    """He may repeat it in the reason of a rejection; the journal has it in full."""
    call_id = call(settled)
    press(settled, call_id, "register_with_charities")
    export(settled, tmp_path / "1.csv")
    settled.registrations.acknowledge(answered((call_id, False, "06-12 34 56 78 is not in use")))
    with settled.redis.commands() as client:
        url = f"unix://{client.connection_pool.connection_kwargs['path']}"
    environment = {"BMN_CONFIG": str(tmp_path / "bmn.toml"), "BMN_REDIS_URL": url}
    for form in ((), ("--json",)):
        text = bmn("registrations", "status", *form, environment=environment).stdout
        assert "06-******** 78 is not in use" in text
    (item,) = settled.registrations.all()
    assert item.reason == "06-12 34 56 78 is not in use"


def test_the_command_line_of_registrations(tmp_path: Path, settled: Application) -> None:
    """Status, export and acknowledge, as JSON."""
    call_id = call(settled)
    press(settled, call_id, "register_with_charities")
    finish(settled, call_id)
    with settled.redis.commands() as client:
        url = f"unix://{client.connection_pool.connection_kwargs['path']}"
    environment = {
        "BMN_CONFIG": str(tmp_path / "bmn.toml"),
        "BMN_REDIS_URL": url,
        "BMN_REGISTRATIONS__SETTLE_MINUTES": "0",
    }

    def run(*arguments: str, check: bool = True) -> Any:
        return json.loads(bmn("registrations", *arguments, "--json", environment=environment, check=check).stdout)

    assert run("status")["counts"]["pending"] == 1
    exported = run("export", "--out", str(tmp_path / "batch.csv"))
    assert exported["count"] == 1
    (row,) = csv.DictReader((tmp_path / "batch.csv").read_text().splitlines())
    answer = tmp_path / "answer.csv"
    answer.write_text(f"call,number,result,reason\n{row['call']},{row['number']},accepted,\n")
    assert run("acknowledge", str(answer)) == {"accepted": 1, "rejected": 0, "unchanged": 0}
    assert run("status")["counts"]["accepted"] == 1
    for wrong in (
        "call\nx\n",
        "call,result\nx,perhaps\n",
        "call,result\n",
        f"call,number,result\n{row['call']},+31600000000,accepted\n",
    ):
        answer.write_text(wrong)
        done = bmn("registrations", "acknowledge", str(answer), environment=environment, check=False)
        assert (done.returncode, done.stderr.count("Traceback")) == (4, 0), wrong
