"""Which cells of a confusion matrix of many patients are published."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedcli.disclosure.matrix import figures_fit, fitting_matrices, hidden_cells, published_matrix
from fedcli.learning.evaluation.metrics import kappas

if TYPE_CHECKING:
    from fedcli.disclosure.matrix import Confusion

USUAL: Confusion = ((38, 9, 3, 0), (6, 40, 5, 1), (0, 7, 33, 8), (0, 1, 9, 20))
"""Of 180 patients."""
MATRICES = st.lists(st.lists(st.integers(0, 30), min_size=4, max_size=4), min_size=4, max_size=4)


def test_of_a_usual_matrix_the_large_cells_are_published() -> None:
    assert published_matrix(USUAL, 5) == (
        (38, None, None, None),
        (6, 40, None, None),
        (None, None, 33, 8),
        (None, None, None, 20),
    )


def test_zeros_are_withheld_together_with_small_counts_until_they_hold_enough() -> None:
    assert hidden_cells(np.array([12, 3, 0, 0]), 5).tolist() == [True, True, True, True]
    assert hidden_cells(np.array([12, 6, 0, 0]), 5).tolist() == [False, True, True, True]
    assert hidden_cells(np.array([12, 5, 4, 1]), 5).tolist() == [False, False, True, True]


@given(MATRICES, st.integers(1, 9))
@settings(max_examples=25, deadline=None)
def test_no_row_states_its_sum_and_no_small_cell_is_published(rows: list[list[int]], min_cell: int) -> None:
    published = published_matrix(tuple(map(tuple, rows)), min_cell) if sum(map(sum, rows)) else None
    if published is None:
        return
    pairs = list(zip(chain(*rows), chain(*published), strict=True))
    assert all(shown in (count, None) for count, shown in pairs)
    assert all(shown is None for count, shown in pairs if count < min_cell)
    for row, shown in zip(rows, published, strict=True):
        hidden = [count for count, cell in zip(row, shown, strict=True) if cell is None]
        assert len(hidden) >= 2
        assert sum(hidden) >= min_cell or len(hidden) == len(row)


@pytest.mark.parametrize(
    "matrix",
    [
        ((12, 0, 0, 0), (0, 13, 0, 0), (0, 0, 12, 0), (0, 0, 0, 13)),  # every cell off the diagonal would follow
        ((30, 3), (4, 25)),  # with two classes, at most one cell of a row could be published
    ],
)
def test_a_matrix_that_would_follow_is_withheld_as_a_whole(matrix: Confusion) -> None:
    assert published_matrix(matrix, 5) is None


def test_figures_that_identify_a_matrix_do_not_fit() -> None:
    assert figures_fit(USUAL)
    assert not figures_fit(((60, 0, 0, 0), (0, 0, 0, 0), (0, 0, 0, 0), (0, 0, 0, 0)))


def test_the_ten_matrices_have_the_same_published_figures() -> None:
    """The kappas by the code that scores models: so the search for other matrices does not differ from what is published."""
    counts = np.array(USUAL)
    others = [*fitting_matrices(counts, hidden_cells(counts, 5), 5)]
    assert len(others) >= 10
    assert len({other.tobytes() for other in others}) == len(others)
    flat = np.stack([counts, *others]).reshape(len(others) + 1, -1).astype(float)
    for power in (1, 2):
        assert len(set(kappas(flat, power).round(2).tolist())) == 1
