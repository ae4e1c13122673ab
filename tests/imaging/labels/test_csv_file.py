"""CSV files as people write them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fedcli.errors import DataError
from fedcli.imaging.labels import csv_file

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_separators_and_byte_order_mark(separator: str, mark: bytes, tmp_path: Path) -> None:
    lines = ['Patient ID,"density"', "p1 , 2", "", '"p,2",3']
    text = "\r\n".join(lines[:3]).replace(",", separator) + "\r\n" + f'"p,2"{separator}3'
    (tmp_path / "t.csv").write_bytes(mark + text.encode())
    read = csv_file.read(tmp_path / "t.csv")
    assert read.names == ("Patient ID", "density")
    assert [(row.line, row.cells) for row in read.rows] == [(2, ("p1", "2")), (4, ("p,2", "3"))]
    assert read.column("PATIENT id") == 0
    assert read.column("study") is None


def test_a_column_composed_of_others(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("Patient,left or right breast,image\np1,LEFT,7\np{2},RIGHT,\n")
    read = csv_file.read(tmp_path / "t.csv").composed("Mass_{patient}_{left or right breast}/{image}.png")
    assert read.names[-1] == "Mass_{patient}_{left or right breast}/{image}.png"
    assert [row.cells[-1] for row in read.rows] == ["Mass_p1_LEFT/7.png", "Mass_p{2}_RIGHT/.png"]
    assert [row.cells[:3] for row in read.rows] == [("p1", "LEFT", "7"), ("p{2}", "RIGHT", "")]
    with pytest.raises(KeyError, match="absent"):
        read.composed("{image}-{absent}")


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "empty"), (b"a,b\n1\n", "line 2"), (b"a,b\n1,\xff\n", "not UTF-8"), (b"PK\3\4", "workbook"), (b'a,b\n"1,2\n', "CSV")],
)
def test_what_is_no_table(content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(DataError, match=words) as caught:
        csv_file.read(tmp_path / "t.csv")
    assert "UTF-8" in caught.value.hint
    assert "t.csv" in str(caught.value)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file"):
        csv_file.read(tmp_path / "t.csv")


@pytest.mark.parametrize(
    "text",
    [
        "Patient ID;Density, final (A,B,C,D)\np1;b\np2;c\n",
        "sep=;\r\nPatient ID;density\r\np1;b\r\np2;c\r\n",
        "Patient ID;density\np1;b;\np2;c;\n",
        "Patient ID;density;;\np1;b;;\np2;c;;\n",
        "\r\n\r\nPatient ID,density\np1,\u00a0b\np2\u200b,c\0\n",
        "Patient ID\tdensity\rp1\tb\rp2\tc\r",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_tables_as_programs_export_them(text: str, encoding: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(text.encode(encoding))
    table = csv_file.read(tmp_path / "t.csv")
    assert [row.cells[:2] for row in table.rows] == [("p1", "b"), ("p2", "c")]


def test_only_needed_columns_are_kept_and_equal_cells_once(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b,c\n" + "".join(f"{number},text of {number % 2},x\n" for number in range(100)))
    table = csv_file.read(tmp_path / "t.csv", lambda name: name == "b")
    assert (table.names, table.header) == (("b",), ("a", "b", "c"))
    assert len({id(row.cells[0]) for row in table.rows}) == 2
