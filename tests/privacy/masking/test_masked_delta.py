"""The quantised delta: exact, bounded, and every value that cannot be summed is refused by its tensor's name."""

from __future__ import annotations

import io
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedcli import tensors
from fedcli.errors import TrainingError
from fedcli.privacy.masking.mask_keys import Mask
from fedcli.privacy.masking.masked_delta import masked_blocks
from fedcli.privacy.masking.word_pieces import StreamLengthError, masked_layout
from fedcli.tensors import TensorError
from tests.privacy.masking.masked_round import arrays_in, data_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)
WEIGHTS = st.integers(1, (1 << 29) - 1)


def quantised(arrays: dict[str, NDArray[Any]], weight: int, num_members: int, masks: tuple[Mask, ...] = ()) -> NDArray[np.int64]:
    layout = tensors.layout_of(arrays)
    data = b"".join(masked_blocks(data_of(arrays), layout, weight, num_members, masks))
    (total,) = arrays_in(data).values()
    assert tensors.read_layout(io.BytesIO(data)) == masked_layout(layout)
    return total


def half_to_even(value: Fraction) -> int:
    return round(value)


@given(values=st.lists(FLOATS, min_size=1, max_size=20), weight=WEIGHTS, num_members=st.integers(3, 1000))
def test_a_float_is_its_exact_multiple_rounded_half_to_even(values: list[float], weight: int, num_members: int) -> None:
    expected = [half_to_even(Fraction(value) * weight * 2**32) for value in values]
    outside = [abs(number) * num_members >= 2**63 for number in expected]
    arrays = {"weight": np.array(values, np.float32)}
    if any(outside):
        with pytest.raises(TrainingError, match="tensor weight: the delta"):
            quantised(arrays, weight, num_members)
    else:
        assert quantised(arrays, weight, num_members).tolist() == expected


@given(
    values=st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(-100, 100), min_size=1, max_size=5),
    weight=WEIGHTS,
    num_members=st.integers(3, 1000),
)
def test_an_integer_is_its_exact_multiple(values: list[int], weight: int, num_members: int) -> None:
    expected = [value * weight for value in values]
    arrays = {"count": np.array(values, np.int64)}
    if any(abs(number) * num_members >= 2**63 for number in expected):
        with pytest.raises(TrainingError, match="tensor count: the delta"):
            quantised(arrays, weight, num_members)
    else:
        assert quantised(arrays, weight, num_members).tolist() == expected


def test_ties_go_to_the_even_number() -> None:
    ties = np.array([0.5, 1.5, 2.5, -0.5, -1.5, -2.5], np.float32) * np.float32(2.0**-32)
    assert quantised({"weight": ties}, 1, 3).tolist() == [0, 2, 2, 0, -2, -2]
    assert quantised({"weight": ties}, 3, 3).tolist() == [2, 4, 8, -2, -4, -8]


@pytest.mark.parametrize("num_members", [3, 4, 7, 8, 100])
def test_the_largest_sum_of_all_members_is_a_signed_number_of_64_bits(num_members: int) -> None:
    most = (2**63 - 1) // num_members
    assert quantised({"count": np.array([most, -most])}, 1, num_members).tolist() == [most, -most]
    assert most * num_members < 2**63
    for beyond in (most + 1, -most - 1):
        with pytest.raises(TrainingError, match="tensor count"):
            quantised({"count": np.array([beyond])}, 1, num_members)
    for value in (np.float32(2.0**31 / num_members), np.nextafter(np.float32(2.0**31 / num_members), np.float32(0))):
        exact = int(Fraction(float(value)) * 2**32)
        arrays = {"weight": np.array([value, -value])}
        if exact * num_members < 2**63:
            assert quantised(arrays, 1, num_members).tolist() == [exact, -exact]
        else:
            with pytest.raises(TrainingError, match="tensor weight"):
                quantised(arrays, 1, num_members)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3.4e38, 2.0**31])
def test_what_cannot_be_summed_is_named(value: float) -> None:
    arrays = {"a.weight": np.zeros(1 << 17, np.float32), "b.weight": np.array([[0, 1], [value, 1]], np.float32)}
    with pytest.raises(TrainingError, match=r"tensor b\.weight: the delta .* with weight 7 cannot be masked, expected .* below"):
        quantised(arrays, 7, 5)


def test_a_weight_out_of_bounds_is_refused() -> None:
    for weight in (0, -1, 1 << 29):
        with pytest.raises(TrainingError, match=f"weight of the update is {weight}, expected 1 to 536870911"):
            quantised({"weight": np.ones(3, np.float32)}, weight, 3)


def test_words_follow_the_order_of_the_file_across_pieces() -> None:
    """Integers come first, then floats, each by name; a piece holds 131,072 words."""
    generator = np.random.default_rng(0)
    arrays: dict[str, NDArray[Any]] = {
        "a.weight": generator.standard_normal((1 << 17) + 5).astype(np.float32),
        "b.counts": np.arange((1 << 17) + 3),
        "a.empty": np.zeros((0, 3), np.float32),
        "z.num_batches_tracked": np.array(-7),
        "c.weight": generator.standard_normal((3, 5)).astype(np.float32),
    }
    floats = np.concatenate([arrays["a.weight"], arrays["c.weight"].ravel()]).astype(np.float64)
    expected = [5 * arrays["b.counts"], [-35], np.rint(floats * 5 * 2.0**32).astype(np.int64)]
    assert np.array_equal(quantised(arrays, 5, 3), np.concatenate(expected))


def test_a_delta_of_another_length_is_refused() -> None:
    arrays = {"weight": np.ones(300_000, np.float32)}
    layout, data = tensors.layout_of(arrays), data_of(arrays).read()
    with pytest.raises(StreamLengthError, match="the delta: 1 bytes are missing at the end"):
        list(masked_blocks(io.BytesIO(data[:-1]), layout, 1, 3, ()))
    with pytest.raises(StreamLengthError, match="the delta: there are bytes after the last number"):
        list(masked_blocks(io.BytesIO(data + b"\0"), layout, 1, 3, ()))


def test_a_model_of_other_dtypes_cannot_be_masked() -> None:
    with pytest.raises(TensorError, match="tensor weight: F64 cannot be masked, expected F32 or I64"):
        quantised({"weight": np.ones(3)}, 1, 3)


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
def test_threads_change_no_bit(threads: int) -> None:
    arrays = {"weight": np.ones(150_001, np.float32), "count": np.arange(9)}
    layout = tensors.layout_of(arrays)
    masks = [Mask(key=bytes([number]) * 32, adds=number % 3 > 0) for number in range(5)]
    alone, together = (b"".join(masked_blocks(data_of(arrays), layout, 3, 5, masks, number)) for number in (1, threads))
    assert alone == together
