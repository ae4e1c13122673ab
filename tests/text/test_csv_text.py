"""CSV for people: no spreadsheet runs a cell, whatever its list separator is; numbers stay numbers."""

from __future__ import annotations

import csv
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedcli.text.csv_text import csv_text, guarded

WIDE = "＝＋－＠"


@pytest.mark.parametrize("sign", ["=", "+", "-", "@", *WIDE])
@pytest.mark.parametrize("before", ["", "a;", "a,", "a|", "a; ", ' "', "a;\u00a0", 'a;"'])
def test_a_formula_is_guarded_after_any_separator(sign: str, before: str) -> None:
    kept = before[: re.match(r".*[;,|]|", before).end()]  # type: ignore[union-attr]
    assert guarded(f"{before}{sign}1+cmd()") == f"{kept}'{before.removeprefix(kept)}{sign}1+cmd()"


@pytest.mark.parametrize("text", ["-1", "-0.25", "+3", "-1e-05", "a-b", "north", "x=1", "2026-11-28", ""])
def test_numbers_and_plain_text_stay(text: str) -> None:
    assert guarded(text) == text


@pytest.mark.parametrize(("text", "shown"), [("a; -5", "a;' -5"), ("-1;", "'-1;"), ("-1;=1", "'-1;'=1")])
def test_a_number_beside_a_separator_is_guarded(text: str, shown: str) -> None:
    assert guarded(text) == shown


@pytest.mark.parametrize("text", ["\t=1+1", "\r=1+1", "\n=1+1", "\u200b=1+1"])
def test_a_hidden_character_before_a_formula_is_shown(text: str) -> None:
    assert guarded(text)[0] == "\\"


def test_a_negative_number_is_written_as_a_number() -> None:
    assert csv_text([("low", "kappa"), (-0.25, None)]) == "low,kappa\n-0.25,\n"


@given(st.text(st.sampled_from("=+-@;,|\"'\t\r\n a1\u00a0＝－\u202e")))
def test_no_spreadsheet_runs_what_any_separator_makes_of_a_line(cell: str) -> None:
    line = csv_text([("north", cell, "end")])
    for separator in ",;|":
        (cells,) = csv.reader([line.removesuffix("\n")], delimiter=separator)
        for one in cells:
            assert not re.match(r"\s*[=+\-@＝－]", one) or re.fullmatch(r"\s*[+-]?\d+\s*\"*", one)
