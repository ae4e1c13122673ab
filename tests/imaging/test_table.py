"""CSV files as people write them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fedcli.errors import DataError
from fedcli.imaging import table

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_separators_and_byte_order_mark(separator: str, mark: bytes, tmp_path: Path) -> None:
    lines = ['Patient ID,"density"', "p1 , 2", "", '"p,2",3']
    text = "\r\n".join(lines[:3]).replace(",", separator) + "\r\n" + f'"p,2"{separator}3'
    (tmp_path / "t.csv").write_bytes(mark + text.encode())
    read = table.read(tmp_path / "t.csv")
    assert read.names == ("Patient ID", "density")
    assert [(row.line, row.cells) for row in read.rows] == [(2, ("p1", "2")), (4, ("p,2", "3"))]
    assert read.column("PATIENT id") == 0
    assert read.column("study") is None


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "empty"), (b"a,b\n1\n", "line 2"), (b"a,b\n1,\xff\n", "CSV"), (b'a,b\n"1,2\n', "CSV")],
)
def test_what_is_no_table(content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(DataError, match=words) as caught:
        table.read(tmp_path / "t.csv")
    assert "UTF-8" in caught.value.hint
    assert "t.csv" in str(caught.value)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file"):
        table.read(tmp_path / "t.csv")
