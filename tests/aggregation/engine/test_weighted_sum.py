"""Rows are added one after another, to the bit, whatever numpy's `einsum` does with an array of that shape."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from fedcli.aggregation.engine.weighted_sum import add_row_by_row, einsum_adds_row_by_row, weighted_sum

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray


@pytest.fixture(params=[True, False], ids=["at once", "row by row"])
def in_order(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[bool]:
    """Whether numpy's `einsum` adds in the order of the rows; the other one adds the last row first."""
    einsum = np.einsum
    if not request.param:
        monkeypatch.setattr(np, "einsum", lambda text, left, right, **options: einsum(text, left[::-1], right[::-1], **options))
    einsum_adds_row_by_row.cache_clear()
    yield request.param
    einsum_adds_row_by_row.cache_clear()


def numbers(count: int, elements: int) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Return rows of all magnitudes, some of them negative zeros, and weights."""
    generator = np.random.default_rng(count * elements)
    exponents = generator.integers(-140, 100, (count, elements))
    rows = np.ldexp(generator.standard_normal((count, elements)), exponents).astype(np.float32)
    rows[generator.random(rows.shape) < 0.1] = -0.0
    rows[:, 0] = -0.0
    return rows, generator.integers(1, 2**29, count).astype(np.float64)


@pytest.mark.parametrize("elements", [1, 2, 3, 17, 8191, 8192, 8193, 70_001])
@pytest.mark.parametrize("count", [1, 2, 3, 7, 8, 9, 33, 150])
def test_rows_are_added_one_after_another(count: int, elements: int, in_order: bool) -> None:  # noqa: FBT001 - pytest passes it
    """The sum of negative zeros is +0.0."""
    assert einsum_adds_row_by_row() is in_order
    rows, weights = numbers(count, elements)
    expected = np.zeros(elements)
    for row, weight in zip(rows.astype(np.float64), weights, strict=True):
        expected = expected + row * weight
    for function in (weighted_sum, add_row_by_row):
        out = np.full(elements, np.nan)
        function(rows, weights, out)
        assert out.tobytes() == expected.tobytes()
