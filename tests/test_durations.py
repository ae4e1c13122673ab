"""Durations as people read them."""

from __future__ import annotations

import pytest

from fedcli.durations import duration


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7199, "120 min"), (7200, "2.0 h"), (129_600, "36.0 h")]
)
def test_durations(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown
