"""Complete or not there at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fedcli.errors import DataError
from fedcli.staging import replacing

if TYPE_CHECKING:
    from pathlib import Path


def write(out: Path, text: str) -> None:
    with replacing(out, known=["a"], what="a result") as folder:
        (folder / "a").write_text(text)


def interrupted(out: Path) -> None:
    with replacing(out, known=["a"], what="a result") as folder:
        (folder / "a").write_text("half")
        raise KeyboardInterrupt


def test_new_and_replaced(tmp_path: Path) -> None:
    for text in ("one", "two"):
        write(tmp_path / "deep" / "out", text)
        assert (tmp_path / "deep" / "out" / "a").read_text() == text
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["out"]


def test_interruption_leaves_what_was_there(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        interrupted(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
    write(tmp_path / "out", "whole")
    with pytest.raises(KeyboardInterrupt):
        interrupted(tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (tmp_path / "out" / "a").read_text() == "whole"


def test_after_a_power_cut(tmp_path: Path) -> None:
    write(tmp_path / "out", "whole")
    (tmp_path / "out").rename(tmp_path / ".out.replaced")
    (tmp_path / ".out.partial").mkdir()
    (tmp_path / ".out.partial" / "junk").touch()
    with pytest.raises(KeyboardInterrupt):
        interrupted(tmp_path / "out")
    assert (tmp_path / "out" / "a").read_text() == "whole"


def test_foreign_files_are_safe(tmp_path: Path) -> None:
    (tmp_path / "thesis").touch()
    with pytest.raises(DataError, match="thesis"):
        write(tmp_path, "x")
    assert (tmp_path / "thesis").exists()


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(DataError, match="cannot be written"):
        write(tmp_path / "out", "x")
