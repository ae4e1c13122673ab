"""Numbers and lists as the report writes them."""

from __future__ import annotations

import pytest

from fedcli.reporting import formats


@pytest.mark.parametrize(("value", "text"), [(None, "–"), (0.6249, "0.62"), (-0.0, "0.00"), (-0.004, "0.00"), (-0.05, "−0.05")])
def test_number(value: float | None, text: str) -> None:
    assert formats.number(value) == text


@pytest.mark.parametrize(
    ("share", "text"), [(None, "undefined"), (0.0604, "+6.0\u00a0%"), (-0.1, "−10.0\u00a0%"), (0.0, "+0.0\u00a0%")]
)
def test_percent(share: float | None, text: str) -> None:
    assert formats.percent(share) == text


@pytest.mark.parametrize(
    ("num_bytes", "text"), [(0, "0 B"), (999, "999 B"), (28_139_520, "28.1 MB"), (14_100_000_000, "14.1 GB")]
)
def test_size(num_bytes: int, text: str) -> None:
    assert formats.size(num_bytes) == text


@pytest.mark.parametrize(("value", "text"), [(None, "–"), (36.04, "36 h"), (0.5, "30 min"), (0.01, "36 s")])
def test_hours(value: float | None, text: str) -> None:
    assert formats.hours(value) == text


def test_lists() -> None:
    assert formats.names(("a",)) == "a"
    assert formats.names(("a", "b")) == "a and b"
    assert formats.names(("a", "b", "c")) == "a, b and c"
    assert formats.ranges((1, 2, 3, 7, 9, 10)) == "1 to 3, 7, 9 to 10"
    assert formats.ranges(()) == "–"
    assert [formats.compact(value) for value in (23.04, 8.6, 4.0, 0.02)] == ["23.04", "8.6", "4", "0.02"]
    assert formats.count(22933) == "22\u202f933"
