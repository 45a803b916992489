"""Call files: how their layout is found, and that every row stays the text that it was."""

from __future__ import annotations

import re
from hashlib import sha256
from itertools import compress, product
from pathlib import Path

import numpy as np
import pytest

from agent.adapters import call_file
from agent.adapters.call_file import CsvCallFile, open_call_file
from agent.adapters.call_file_layout import CallFileLayout, LayoutOptions, find_layout
from agent.domain.errors import InputRejected
from agent.domain.phone_number import EmergencyNumber
from agent.domain.profile import NL_BMNR

PLAIN = b"name;phone;town\nJan;0612345678;Ede\nAnn;06-12345679;Urk\n"


def write(folder: Path, content: bytes) -> Path:
    """A call file."""
    path = folder / "calls.csv"
    path.write_bytes(content)
    return path


def layout(
    folder: Path, content: bytes, *, column: str | None = None, header: bool | None = None, encoding: str | None = None
) -> CallFileLayout:
    """As it is found out."""
    options = LayoutOptions(column=column, header=header, encoding=encoding)
    return find_layout(write(folder, content), options, NL_BMNR)


def opened(folder: Path, content: bytes, **options: str | bool | None) -> CsvCallFile:
    """A call file, opened."""
    return open_call_file(write(folder, content), LayoutOptions(**options), NL_BMNR)  # type: ignore[arg-type]


def parted(file: CsvCallFile, *, keep: bool) -> tuple[bytes, list[int]]:
    """What is written when all rows stay, or all go with the reason ``x``; and the numbers."""
    text, numbers = b"", []
    for rows in file.rows(lambda *_: None):
        count = len(rows.numbers)
        text += rows.kept(np.ones(count, dtype=np.bool_)) if keep else rows.removed(range(count), ["x"] * count)
        numbers += rows.numbers.tolist()
    return text, numbers


# --- layout


@pytest.mark.parametrize("delimiter", [";", ",", "\t", "|"])
def test_the_delimiter_is_found(tmp_path: Path, delimiter: str) -> None:
    """The one that cuts all rows alike."""
    found = layout(tmp_path, PLAIN.replace(b";", delimiter.encode()))
    assert (found.delimiter, found.column, found.column_name, found.header) == (delimiter, 1, "phone", True)


def test_a_delimiter_within_quotation_marks_does_not_count(tmp_path: Path) -> None:
    """The comma here is more frequent than the semicolon."""
    content = b'name;phone\n"Jansen, J., jr.";0612345678\n"Bos, A., sr., dr.";0612345679\n'
    assert layout(tmp_path, content).delimiter == ";"


def test_one_column_needs_no_delimiter(tmp_path: Path) -> None:
    """With and without a header."""
    assert layout(tmp_path, b"phone\n0612345678\n0612345679\n").column == 0
    found = layout(tmp_path, b"0612345678\n06-12345679\n")
    assert (found.column, found.header, found.columns) == (0, False, 1)


@pytest.mark.parametrize(
    ("content", "encoding", "marked"),
    [
        (PLAIN, "utf-8", False),
        (b"\xef\xbb\xbf" + PLAIN, "utf-8", True),
        (b"\xff\xfe" + PLAIN.decode().encode("utf-16-le"), "utf-16-le", True),
        (b"\xfe\xff" + PLAIN.decode().encode("utf-16-be"), "utf-16-be", True),
        (PLAIN.decode().encode("utf-16-le"), "utf-16-le", False),
        (PLAIN.decode().encode("utf-16-be"), "utf-16-be", False),
        (PLAIN.replace(b"Ann", b"Ren\xe9"), "cp1252", False),
        (PLAIN.replace(b"Ann", "René".encode()), "utf-8", False),
    ],
)
def test_the_encoding_is_found(tmp_path: Path, content: bytes, encoding: str, marked: bool) -> None:
    """By its mark, by its NUL bytes, or because it is no UTF-8; and the file comes out as it was."""
    found = layout(tmp_path, content)
    assert (found.encoding, found.marked, found.column) == (encoding, marked, 1)
    assert parted(opened(tmp_path, content), keep=True) == (content, [31612345678, 31612345679])


@pytest.mark.parametrize("heading", ["Telefoonnummer", "PHONE", "phone_number", "Tel.", "msisdn", "Mobiel 1", "gsm"])
def test_a_column_is_known_by_its_heading(tmp_path: Path, heading: str) -> None:
    """Although the customer's number reads as a telephone number, too."""
    content = f"customer;{heading}\n612345678;0612345600\n612345679;0612345601\n".encode()
    assert layout(tmp_path, content).column == 1


def test_a_column_is_known_by_its_content(tmp_path: Path) -> None:
    """Under a heading that says nothing, and under none."""
    assert layout(tmp_path, b"a;b\nJan;0612345678\n").column == 1
    found = layout(tmp_path, b"Jan;0612345678\nAnn;0612345679\n")
    assert (found.column, found.header) == (1, False)


def test_of_two_known_headings_the_filled_one_is_taken(tmp_path: Path) -> None:
    """An empty column holds nothing to scrub."""
    assert layout(tmp_path, b"phone;mobile\n;0612345678\n;0612345679\n").column == 1


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (
            b"phone;mobile\n0201234567;0612345678\n",
            "several columns of calls.csv hold telephone numbers (phone,",
        ),
        (
            b"telefoon;werk\n0201234567;0612345678\n",
            "several columns of calls.csv hold telephone numbers (telefoon, werk",
        ),
        (
            b"nummer;contact\n612345678;0612345678\n",
            "several columns of calls.csv hold telephone numbers (nummer, contact",
        ),
        (b"0201234567;0612345678\n", "several columns of calls.csv hold telephone numbers (1, 2)"),
        (b"name;town\nJan;Ede\n", "no column of calls.csv holds telephone numbers: name it with --column (name, town)"),
        (b"", "there is no row"),
        (b"\n \n", "there is no row"),
        (PLAIN + b"\0\n", "NUL"),
    ],
)
def test_doubt_is_refused(tmp_path: Path, content: bytes, told: str) -> None:
    """With what to add to the command."""
    with pytest.raises(InputRejected, match=re.escape(told)):
        layout(tmp_path, content)


def test_a_column_can_be_named_or_counted(tmp_path: Path) -> None:
    """By its heading, in any case, or its place from 1 on."""
    content = b"phone;mobile\n0201234567;0612345678\n"
    assert layout(tmp_path, content, column="Mobile").column == 1
    assert layout(tmp_path, content, column="1").column == 0
    for wrong in ("fax", "0", "3"):
        with pytest.raises(InputRejected, match=rf"there is no column {wrong} in calls.csv \(phone, mobile\)"):
            layout(tmp_path, content, column=wrong)


def test_a_first_row_with_a_broken_number_is_no_header(tmp_path: Path) -> None:
    """It has to be removed, and not copied to both outputs; --header says otherwise."""
    content = b"Jan;061234567\nAnn;0612345679\nBob;0612345679\n"
    assert layout(tmp_path, content).header is False
    assert layout(tmp_path, content, header=True).header is True
    assert layout(tmp_path, PLAIN, header=False).header is False


def test_the_wrong_encoding_is_refused(tmp_path: Path) -> None:
    """Where it cannot be."""
    with pytest.raises(InputRejected, match="not text in utf-16-le"):
        layout(tmp_path, b"0612345678\xd8\n\n", encoding="utf-16-le")


# --- rows

ODD = [
    b'name;phone;note\r\n"Bos; A.";"0612345678";"he said ""no""\r\nand left"\r\nJan;0612345679;5" pipe\r\n',
    b"name;phone\n  Jan ; 06 1234 5678 \nAnn;'0612345679';extra;cells\nBob\n;;;;\n",
    b"name;phone\nJan;0612345678\n\n \t\nAnn;0612345679",
    b"name\tphone\rJan\t0612345678\rAnn\t0612345679\r",
    b'"name","phone"\n"J\xc3\xb6rg","0612345678"\n"\xff\xfe","0612345679"\n',
    b"\xef\xbb\xbf0612345678\n0612345679\n",
    "name;phone\r\nJ\u00f6rg;\uff10\uff16\uff11\uff12\uff13\uff14\uff15\uff16\uff17\uff18\r\n".encode(),
    b'phone\n"0612345678\n"\n0612345679\n',
]


@pytest.mark.parametrize(("content", "block"), list(product(ODD, [1, 2, 7, 30, 1 << 20])))
def test_rows_stay_as_they_came(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, block: int) -> None:
    """Byte for byte but for empty lines, wherever a block ends."""
    monkeypatch.setattr(call_file, "_BLOCK_BYTES", block)
    text, numbers = parted(opened(tmp_path, content), keep=True)
    assert text == content.replace(b"\n\n \t\n", b"\n")
    assert numbers[0] == 31612345678


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
@pytest.mark.parametrize("heading", ["", "name;phone\r\n", 'name;"phone"\r\n'])
def test_a_file_can_be_parted_in_every_way(tmp_path: Path, encoding: str, heading: str) -> None:
    """Each row goes to one part, in its order and its encoding, be it long, short or the last one."""
    rows = [
        "Jan;0612345678\r\n",
        "J\u00f6rg;0612345679\r\n",
        "\u20ac;061;more\r\n",
        ";0612345680\r\n",
        "Ann;0612345681",
    ]
    file = opened(tmp_path, (heading + rows[0] + " \r\n" + "".join(rows[1:])).encode(encoding))
    (read,) = file.rows(lambda *_: None)
    for keep in product([True, False], repeat=len(rows)):
        text = heading + "".join(compress(rows, keep))
        assert read.kept(np.array(keep)) == text.encode(encoding)
        gone = [place for place, kept in enumerate(keep) if not kept]
        reasons = [str(place) for place in gone]
        parted = heading.replace("\r", ";reason\r") + "".join(
            row.rstrip() + f";{place}" + row[len(row.rstrip()) :] for place, row in enumerate(rows) if not keep[place]
        )
        assert read.removed(gone, reasons) == parted.encode(encoding)


@pytest.mark.parametrize(
    ("encoding", "letters"), [("utf-8", b"Ren\xc3\xa9 \xff\xc3"), ("cp1252", b"Ren\xe9 \xc3\x81\x8d\x80")]
)
def test_bytes_of_no_letter_stay_as_they_came(tmp_path: Path, encoding: str, letters: bytes) -> None:
    """In the rows that stay and in those that go."""
    content = b"".join(b"%b;061234567%d\n" % (letters, end) for end in range(3))
    file = opened(tmp_path, content, encoding=encoding)
    assert parted(file, keep=True)[0] == content
    assert parted(file, keep=False)[0] == content.replace(b"\n", b";x\n")


def test_a_reason_is_one_more_cell(tmp_path: Path) -> None:
    """Before the line end, in the file's own delimiter, and in the header; also within a byte order mark's file."""
    text, _ = parted(opened(tmp_path, ODD[0]), keep=False)
    assert text == (
        b'name;phone;note;reason\r\n"Bos; A.";"0612345678";"he said ""no""\r\nand left";x\r\n'
        b'Jan;0612345679;5" pipe;x\r\n'
    )
    assert parted(opened(tmp_path, ODD[5]), keep=False)[0] == b"\xef\xbb\xbf0612345678,x\n0612345679,x\n"
    assert parted(opened(tmp_path, b"0612345678"), keep=False)[0] == b"0612345678,x"


def test_rows_without_a_usable_number_say_what_they_have(tmp_path: Path) -> None:
    """Missing, empty, foreign, invalid, and 112."""
    content = b"name;phone\nA;0612345678\nB\nC;\nD;+3225551234\nE;061\nF;112\n"
    (rows,) = opened(tmp_path, content).rows(lambda *_: None)
    assert rows.numbers.tolist() == [31612345678, 0, 0, 0, 0, 0]
    foreign = {place: getattr(found, "foreign", None) for place, found in rows.unusable.items()}
    assert foreign == {1: False, 2: False, 3: True, 4: False, 5: None}
    assert isinstance(rows.unusable[5], EmergencyNumber)


@pytest.mark.parametrize("content", [ODD[2], ODD[5]])
def test_the_input_is_described(tmp_path: Path, content: bytes) -> None:
    """Its rows are counted without header and empty lines; its digest is that of the whole file."""
    file = opened(tmp_path, content)
    parted(file, keep=True)
    described = file.described()
    assert (described.name, described.rows) == ("calls.csv", 2)
    assert described.sha256 == sha256(content).hexdigest()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b'name;phone\nJan;0612345678\n"Ann;0612345679\nBob;0612345670\n', "line 3: a quotation mark"),
        (b'name;phone\n"Jan;0612345678\nPiet;0612345679\n"Kees";0612345670\n', "line 2: no CSV"),
        (b"name;phone\nJan;0612345678\n" + b"x" * 5_000, "a row is longer than"),
        (b"name;phone\n" + b"Jan;0612345678\n" * 200 + b'"' + b"x\n" * 200_000, "line 202: no CSV"),
    ],
)
def test_a_file_that_is_no_table_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, told: str
) -> None:
    """A quotation mark that is never closed, or closed where no cell ends, would hide all numbers after it."""
    monkeypatch.setattr(call_file, "_LONGEST_ROW", 4_000 if b"xxx" in content else 1 << 20)
    monkeypatch.setattr(call_file, "_BLOCK_BYTES", 4_500 if b"xxx" in content else 1 << 24)
    with pytest.raises(InputRejected, match=told):
        parted(opened(tmp_path, content), keep=True)
