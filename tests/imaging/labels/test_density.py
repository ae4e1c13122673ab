"""How a class may be written."""

from __future__ import annotations

import pytest

from fedcli.imaging.labels.density import class_of

BIRADS = ("a", "b", "c", "d")


@pytest.mark.parametrize(
    ("text", "position"),
    [
        *(("a", 0), ("1", 0), ("A", 0), ("Fatty", 0)),
        *(("2", 1), ("2.0", 1), ("scattered", 1)),
        *(("DENSITY C", 2), ("C", 2), ("heterogeneously dense", 2)),
        *(("4", 3), ("Extremely dense", 3)),
        *(("ACR B", 1), ("ACR-b", 1), ("acr 3", 2), ("ACR III", 2), ("iv", 3), ("BI-RADS A", 0), ("BIRADS d", 3)),
        *(("BI-RADS density 2", 1), ("Density: C", 2), ("breast_density=4", 3), ("Category c", 2), ("Type 1", 0)),
        *(("ACR BI-RADS b", 1), ("Scattered  fibroglandular-densities", 1), ("breast composition D", 3)),
        # With a number, BI-RADS is the assessment: VinDr-Mammo's column breast_birads has such cells.
        *(("BI-RADS 2", None), ("BIRADS 4", None), ("bi-rads: 3", None), ("ACR BI-RADS II", None)),
        *(("BI-RADS 4A", None), ("B (benign)", None), ("acrb", None), ("density", None), ("1.5", None), ("-1", None)),
        *(("Level A", 0), ("b - scattered", 1), ("b: scattered fibroglandular densities", 1), ("2 - scattered", 1)),
        *(("(c)", 2), ("acr3", 2), ("ACR 2", 1), ("ACR typ II", 1), ("02", 1), ("c.", 2), ("fatty (a)", 0)),
        *(("b - fatty", None), ("C/D", None), ("b-c", None), ("dense", None), ("25-50%", None), ("9", None)),
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
