"""Small figures made of characters."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedcli.cli.render import bars


@pytest.mark.parametrize(
    ("values", "decades", "drawn"),
    [
        ([], 0, ""),
        ([0, 0], 0, "  "),
        ([0, 1, 2, 4, 8], 0, " ▁▂▄█"),
        ([1000, 1, 0], 0, "█▁ "),
        ([1000, 1, 0], 3, "█▁ "),
        ([10_000, 100, 1], 4, "█▄▁"),
    ],
)
def test_bars(values: list[int], decades: int, drawn: str) -> None:
    assert bars(values, decades=decades) == drawn


@given(values=st.lists(st.integers(0, 10**9), min_size=1), decades=st.integers(0, 9))
def test_bars_show_what_is_there_and_rise_with_it(values: list[int], decades: int) -> None:
    drawn = bars(values, decades=decades)
    assert len(drawn) == len(values)
    for first, one in zip(values, drawn, strict=True):
        assert (one == " ") == (first == 0)
        for second, other in zip(values, drawn, strict=True):
            assert first > second or one <= other
