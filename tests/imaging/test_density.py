"""How a class may be written."""

from __future__ import annotations

import pytest

from fedcli.imaging.density import class_of

BIRADS = ("a", "b", "c", "d")


@pytest.mark.parametrize(
    ("text", "position"),
    [
        *(("a", 0), ("1", 0), ("A", 0), ("Fatty", 0)),
        *(("2", 1), ("2.0", 1), ("scattered", 1)),
        *(("DENSITY C", 2), ("C", 2), ("heterogeneously dense", 2)),
        *(("4", 3), ("Extremely dense", 3)),
        *(("5", None), ("0", None), ("e", None), ("", None)),
    ],
)
def test_birads(text: str, position: int | None) -> None:
    assert class_of(text, BIRADS) == position


@pytest.mark.parametrize("classes", [("d", "c", "b", "a"), ("1", "2", "3", "4"), ("low", "high"), ("a", "b", "c")])
def test_the_plans_own_names_win(classes: tuple[str, ...]) -> None:
    assert [class_of(name, classes) for name in classes] == list(range(len(classes)))
    assert class_of("fatty", classes) is None
    assert class_of("1" if "1" not in classes else "a", classes) is None
