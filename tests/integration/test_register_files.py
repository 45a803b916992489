"""Register files of every kind: what can be read is read alike, and what cannot changes nothing."""

from __future__ import annotations

import gzip
import io
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from types import SimpleNamespace

import pytest

from agent.adapters.register_files import FileOptions, open_register_file
from agent.adapters.register_files.streams import STDIN
from agent.adapters.reject_file import RejectFile
from agent.bootstrap import Application, register_loading
from agent.domain.errors import InputRejected
from agent.domain.journal_events import EventType
from agent.domain.model import Blocked
from agent.domain.profile import NL_BMNR, Profile
from agent.register_loading import ImportOptions
from agent.register_rows import Rows, read_rows
from tests.conftest import load_register

BELGIUM = replace(NL_BMNR, key="be", region="BE")
US = replace(NL_BMNR, key="us", region="US")
TEXT = "0612345678,all\n06-12345679,energy;finance\n"
LISTS = {
    Blocked.ALL: [31612345678],
    Blocked.ENERGY: [31612345679],
    Blocked.FINANCE: [31612345679],
}


def zipped(*names: str, content: bytes = TEXT.encode()) -> bytes:
    """An archive of files with the same content."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, content)
    return packed.getvalue()


def read(folder: Path, content: bytes, profile: Profile = NL_BMNR, *, percent: float = 0, **said: str | bool) -> Rows:
    """Read a file with exactly this content."""
    path = folder / "file.dat"
    path.write_bytes(content)
    file = open_register_file(path, FileOptions(**said))  # type: ignore[arg-type]
    return read_rows(profile, [file], percent, lambda *_: None, lambda *_: None)


def lists(rows: Rows) -> dict[Blocked, list[int]]:
    """In Python's own types."""
    return {blocked: list(numbers) for blocked, numbers in rows.lists.items()}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (TEXT.encode(), {}),
        (TEXT.encode("utf-8-sig"), {}),
        (TEXT.encode("utf-16"), {}),
        (b"\xfe\xff" + TEXT.encode("utf-16-be"), {}),
        (TEXT.encode("utf-16-le"), {"encoding": "utf-16-le"}),
        (("number,blocked\n" + TEXT + "\n\n").encode(), {}),
        (TEXT.replace("\n", "\r\n").encode(), {}),
        (TEXT.strip().encode(), {}),
        (TEXT.replace(",", "\t").encode(), {}),
        (TEXT.replace(",", " | ").encode(), {}),
        (TEXT.replace(",", ";").encode(), {"delimiter": "semicolon"}),
        (TEXT.replace("-", "\u00a0").encode("latin-1"), {}),
        (TEXT.replace("-", "\u00a0").encode("latin-1"), {"encoding": "latin-1"}),
        (b'"0612345678","all"\n"06 12345679","Energy; FINANCE"\n', {}),
        (gzip.compress(TEXT.encode(), mtime=0), {}),
        (gzip.compress(TEXT.encode("utf-16"), mtime=0), {}),
        (zipped("register.csv"), {}),
        (zipped("register.csv", "__MACOSX/._register.csv"), {}),
    ],
)
def test_packing_encoding_and_delimiter_make_no_difference(
    tmp_path: Path, content: bytes, said: dict[str, str]
) -> None:
    """Found out, or said."""
    rows = read(tmp_path, content, **said)  # type: ignore[arg-type]
    assert lists(rows) == LISTS
    assert (rows.numbers, rows.lines, rows.duplicates, rows.rejected) == (2, 2, 0, 0)


@pytest.mark.parametrize(
    ("content", "profile", "numbers"),
    [
        (b"0612345678\n0612345679\n0612345678\n", NL_BMNR, [31612345678, 31612345679]),
        (b"number;date\n0470123456;2026-10-01\n022345678;01/10/2026\n", BELGIUM, [3222345678, 32470123456]),
        (b"+32 470 12 34 56,20261001\n", BELGIUM, [32470123456]),
        (b"201,5550123\n201,5550124\n", US, [12015550123, 12015550124]),
        (b"area,number\n201,5550123\n", US, [12015550123]),
    ],
)
def test_every_layout_is_found_out(tmp_path: Path, content: bytes, profile: Profile, numbers: list[int]) -> None:
    """All of these block everything."""
    assert lists(read(tmp_path, content, profile)) == {Blocked.ALL: numbers}


@pytest.mark.parametrize(
    ("content", "profile", "added", "removed"),
    [
        (b"+0612345678,energy\n-0612345679\n+0687654321\n", NL_BMNR, [31687654321], [31612345679]),
        (b"+31612345678,energy\n+0031687654321,all\n-+31612345679,\n", NL_BMNR, [31687654321], [31612345679]),
        (b"201,5550123,A\n201,5550124,D,2026-10-01\n", US, [12015550123], [12015550124]),
    ],
)
def test_changes_are_additions_and_removals(
    tmp_path: Path, content: bytes, profile: Profile, added: list[int], removed: list[int]
) -> None:
    """In both layouts."""
    rows = read(tmp_path, content, profile, changes=True)
    assert list(rows.lists[Blocked.ALL]) == added
    assert list(rows.removed) == removed


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\x00\x01\x02\x03" * 500, "NUL byte|not text"),
        (b"\x7fELF\x02\x01\x01" + b"\x90" * 500, "is not text"),
        (TEXT.encode("utf-16-le"), "UTF-16 without a byte-order mark: add --encoding utf-16-le"),
        (TEXT.encode("utf-16-be"), "UTF-16 without a byte-order mark: add --encoding utf-16-be"),
        (gzip.compress(TEXT.encode() * 99, mtime=0)[:-9], "cut off or damaged"),
        (zipped("register.csv")[:-30], "cut off or damaged"),
        (zipped("a.csv", "b.csv"), "holds 2 files: unpack it"),
        (zipped("[Content_Types].xml", "xl/workbook.xml"), "Office document: save it as CSV"),
        (b"\xd0\xcf\x11\xe0" + b"\x00" * 500, "Office document"),
        (b"0612345678\n" + b"0" * 2_000, "line 2: longer than"),
        (gzip.compress(b"0" * 50_000_000, mtime=0), "line 1: longer than"),
        (b"1,Jan,0612345678\n2,Piet,0612345679\n", "2 of 2 lines are wrong.*is it the right file, layout and column"),
        (b"0612345678\n+3225551234\n+3225551235\n", "2 of 3 lines are wrong"),
        (b"0612345678,energy\n0612345679,gas\n", "1 of 2 lines is wrong"),
        (b"-0612345678\n+0612345679,all\n", "list of changes: load it with bmn register delta"),
        (b"201,5550123,A\n", "list of changes"),
    ],
)
def test_a_wrong_file_is_rejected_in_a_sentence(tmp_path: Path, content: bytes, message: str) -> None:
    """What, where, and what to do."""
    with pytest.raises(InputRejected, match=message):
        read(tmp_path, content)


def test_text_that_does_not_fit_its_encoding_is_told(tmp_path: Path) -> None:
    """With the encodings that there are."""
    with pytest.raises(InputRejected, match=r"not utf-8 text.*--encoding"):
        read(tmp_path, b"0612345678\n06\xff12345679\n", encoding="utf-8")


def test_a_register_is_no_list_of_changes(tmp_path: Path) -> None:
    """Nor the other way round."""
    with pytest.raises(InputRejected, match="is not a list of changes"):
        read(tmp_path, b"0612345678\n", changes=True)


def test_standard_input_is_read_like_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once, and kept until it is loaded."""
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(TEXT.encode())))
    file = open_register_file(Path(STDIN))
    assert (file.name, file.location, file.bytes) == ("standard input", "-", len(TEXT))
    for _ in range(2):
        rows = read_rows(NL_BMNR, [file], 0, lambda *_: None, lambda *_: None)
        assert lists(rows) == LISTS
    file.source.close()


def test_lines_are_counted_across_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever a block ends, also within a character and between CR and LF."""
    text = "".join(f"06{12345000 + step}\r\n" if step % 7 else "\r\n" for step in range(300))
    text = text.replace("0612345222", "06\u201112345222\r\n06123")
    for block in (1, 2, 3, 10, 4096):
        monkeypatch.setattr("agent.adapters.register_files.lines._BLOCK", block)
        for encoding in ("utf-8", "utf-16-le"):
            rows = read(tmp_path, text.encode(encoding), percent=100, encoding=encoding)
            assert (rows.numbers, rows.rejected) == (257, 1)
            assert rows.problems == ("file.dat, line 224: not a number of region NL",)


def test_a_file_that_changes_while_it_is_read_is_rejected(tmp_path: Path) -> None:
    """It was hashed before."""
    path = tmp_path / "register.txt"
    path.write_text("0612345678\n")
    file = open_register_file(path)
    path.write_text("0612345678\n0612345679\n")
    with pytest.raises(InputRejected, match="was changed while it was read"):
        read_rows(NL_BMNR, [file], 0, lambda *_: None, lambda *_: None)


def load(app: Application, wrong: int, change: Callable[[ImportOptions], ImportOptions] = lambda same: same) -> None:
    """A thousand lines, some of them wrong."""
    path = app.settings.journal.path.parent / "register.txt"
    path.write_text("06123\n" * wrong + "".join(f"06{12345000 + step}\n" for step in range(1000 - wrong)))
    options = change(ImportOptions(as_of=date.today()))
    imported = register_loading(app).import_files(NL_BMNR, [open_register_file(path)], options, lambda *_: None)
    assert (imported.lines, imported.rejected, len(imported.problems)) == (1000, wrong, wrong)


def test_few_wrong_lines_are_left_out_and_told(app: Application, tmp_path: Path) -> None:
    """In the answer, in the journal and in a file of their own, which never holds a number."""
    rejects = tmp_path / "rejects.csv"
    with RejectFile(rejects) as file:
        load(app, 1, lambda options: replace(options, rejects=file.note))
    assert rejects.read_text().splitlines() == ["file,line,reason", "register.txt,1,not a number of region NL"]
    assert rejects.stat().st_mode & 0o777 == 0o600
    (record,) = app.journal.records(f"type = '{EventType.REGISTER_LOADED}'")
    assert record.body["rejected"] == 1


def test_too_many_wrong_lines_reject_the_load(app: Application) -> None:
    """More than register.max_rejected_percent."""
    load_register(app, "0612345678\n")
    before = app.registers.status(NL_BMNR).current
    with pytest.raises(InputRejected, match="2 of 1,000 lines are wrong"):
        load(app, 2)
    assert app.registers.status(NL_BMNR).current == before


def test_rejects_that_cannot_be_written_are_told_first(tmp_path: Path) -> None:
    """Before anything is read."""
    with pytest.raises(InputRejected, match=r"--rejects\) cannot be written"), RejectFile(tmp_path / "no" / "file"):
        pass


def test_checking_a_file_changes_nothing(app: Application) -> None:
    """Neither Redis nor the journal; the judgement is that of a load."""
    path = app.settings.journal.path.parent / "register.txt"
    path.write_text("0612345678\n0612345679\n")
    options = ImportOptions(as_of=date.today())
    read = register_loading(app).check_files(NL_BMNR, [open_register_file(path)], options, lambda *_: None)
    assert read.numbers == 2
    assert app.registers.status(NL_BMNR).current is None
    load_register(app, "\n".join(f"06{12345000 + step}" for step in range(100)))
    with pytest.raises(InputRejected, match="more than 10 % fewer"):
        register_loading(app).check_files(NL_BMNR, [open_register_file(path)], options, lambda *_: None)
    assert not list(app.journal.records(f"type = '{EventType.REGISTER_REJECTED}'"))


def test_the_file_of_rejects_is_none_of_those_to_be_read(tmp_path: Path) -> None:
    """Whatever way it is spelt: it would be gone before it was read."""
    path = tmp_path / "big.csv"
    path.write_text(TEXT)
    (tmp_path / "link.csv").symlink_to(path)
    for rejects in (path, tmp_path / "link.csv", tmp_path / "." / "big.csv"):
        with pytest.raises(InputRejected, match="is a file to be read"), RejectFile(rejects, [path]):
            pass
    assert path.read_text() == TEXT


def test_a_full_disk_under_the_rejects_is_told_with_its_name(app: Application) -> None:
    """And the rejection is recorded."""
    with (
        pytest.raises(InputRejected, match=r"/dev/full \(--rejects\) cannot be written: No space left"),
        RejectFile(Path("/dev/full")) as file,
    ):
        load(app, 1, lambda options: replace(options, rejects=file.note))
