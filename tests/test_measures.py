"""What is withheld where small cells are not published."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain

from hypothesis import given
from hypothesis import strategies as st

from fedcli.measures import Estimate, Measures, PairedDifference, withhold, withhold_digits

KNOWN = Estimate(value=0.123456, interval=(0.111111, 0.999999))
MEASURES = Measures(
    count=60,
    kappa=KNOWN,
    quadratic_kappa=KNOWN,
    accuracy=KNOWN,
    balanced_accuracy=KNOWN,
    macro_auc=KNOWN,
    dense_auc=Estimate(),
    calibration_error=KNOWN,
    confusion=((20, 3, 0), (1, 20, 7), (0, 4, 5)),
)


def test_without_a_limit_everything_is_published() -> None:
    assert withhold(MEASURES, 0) is MEASURES


def test_small_cells_are_null_and_figures_rounded() -> None:
    result = withhold(MEASURES, 5)
    assert result.confusion == ((20, None, 0), (None, 20, 7), (0, None, 5))
    assert result.kappa == Estimate(value=0.12, interval=(0.11, 1.0))
    assert result.dense_auc == Estimate()
    assert withhold(MEASURES, 5, confusion=False).confusion is None


def test_a_single_small_cell_hides_another() -> None:
    single = replace(MEASURES, confusion=((20, 9, 0), (1, 20, 6), (0, 8, 7)))
    assert withhold(single, 5).confusion == ((20, 9, 0), (None, 20, None), (0, 8, 7))


@given(st.lists(st.lists(st.integers(0, 12), min_size=3, max_size=3), min_size=3, max_size=3), st.integers(1, 9))
def test_no_small_cell_is_published_nor_can_be_told_from_the_others(rows: list[list[int]], min_cell: int) -> None:
    published = withhold(replace(MEASURES, confusion=tuple(map(tuple, rows))), min_cell).confusion
    assert published is not None
    pairs = list(zip(chain(*rows), chain(*published), strict=True))
    assert all(shown in (count, None) for count, shown in pairs)
    assert all(shown is None for count, shown in pairs if 0 < count < min_cell)
    assert all(shown == 0 for count, shown in pairs if count == 0)
    hidden = [count for count, shown in pairs if shown is None]
    everything = all(shown in (0, None) for _, shown in pairs)
    assert not hidden or everything or (len(hidden) >= 2 and sum(hidden) >= min_cell)


def test_comparisons_are_rounded_too() -> None:
    result = PairedDifference(cases=60, difference=0.123456, interval=(0.01234, 0.98765), p_value=0.012345, permutations=1000)
    assert withhold_digits(result, 0) is result
    assert withhold_digits(result, 5) == replace(result, difference=0.12, interval=(0.01, 0.99))
    undefined = PairedDifference(cases=1, difference=None, interval=None, p_value=None, permutations=0)
    assert withhold_digits(undefined, 5) is undefined
