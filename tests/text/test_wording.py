"""Durations in messages and on pages."""

from __future__ import annotations

import pytest

from fedcli.text.wording import duration


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7199, "120 min"), (7200, "2 h"), (12600, "3.5 h"), (172799, "48 h"),
     (172800, "2 days"), (864000, "10 days")],
)  # fmt: skip
def test_durations(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown
