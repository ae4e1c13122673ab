"""How the numbers of an update are written: what is lost is bounded, and what must not be lost is not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from fedcli import disk, encodings, tensors
from fedcli.plan import Encoding
from fedcli.tensors import TensorError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

LOSSY = [Encoding.BFLOAT16, Encoding.INT8]
FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False)
MATRICES = arrays_of.arrays(np.float32, arrays_of.array_shapes(min_dims=2, max_dims=4, min_side=0, max_side=5), elements=FINITE)


def through(folder: Path, delta: dict[str, NDArray[Any]], encoding: Encoding) -> tuple[dict[str, NDArray[Any]], Path]:
    """Return what arrives of a delta, and its encoded file."""
    plain, encoded, decoded = (folder / name for name in ("plain", "encoded", "decoded"))
    for path in (plain, encoded, decoded):
        path.unlink(missing_ok=True)
    tensors.write(plain, delta)
    measured = encodings.encode(plain, encoded, encoding)
    assert measured == disk.measure(encoded)
    assert encodings.decode(encoded, decoded, tensors.layout_of(delta), encoding) == disk.measure(decoded)
    return tensors.read(decoded), encoded


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("encodings")


@given(values=arrays_of.arrays(np.float32, st.integers(0, 40), elements=FINITE))
def test_bfloat16_rounds_to_nearest_even_as_torch_does(folder: Path, values: NDArray[np.float32]) -> None:
    decoded, _ = through(folder, {"w": values}, Encoding.BFLOAT16)
    expected = torch.from_numpy(values.copy()).to(torch.bfloat16).to(torch.float32).numpy()
    assert decoded["w"].tobytes() == expected.tobytes()


@given(values=MATRICES)
def test_int8_is_the_formula_done_by_hand(folder: Path, values: NDArray[np.float32]) -> None:
    decoded, encoded = through(folder, {"w": values}, Encoding.INT8)
    stored = tensors.read(encoded)
    for channel in range(values.shape[0]):
        row = values[channel].ravel()
        scale = np.float32(max((abs(value) for value in row), default=np.float32(0))) / np.float32(127)
        assert stored["w:scale"][channel] == scale
        for value, level, back in zip(row, stored["w"][channel].ravel(), decoded["w"][channel].ravel(), strict=True):
            with np.errstate(over="ignore"):
                expected = int(np.clip(np.rint(value / scale), -127, 127)) if scale else 0
                assert level == expected
                assert back == np.float32(level) * scale


@given(values=MATRICES.filter(lambda values: values.size > 0))
def test_int8_errs_by_half_a_level_at_most(folder: Path, values: NDArray[np.float32]) -> None:
    moderate = np.clip(values, -1e30, 1e30)
    decoded, encoded = through(folder, {"w": moderate}, Encoding.INT8)
    scales = tensors.read(encoded)["w:scale"].astype(np.float64).reshape(-1, *(1,) * (values.ndim - 1))
    smallest = np.finfo(np.float32).smallest_normal  # below it the scale itself has few digits
    error = np.abs(decoded["w"].astype(np.float64) - moderate)
    assert (error <= scales * (0.5 + 1e-4) + smallest).all()


def test_what_bfloat16_cannot_hold_becomes_infinite_and_so_never_leaves_unseen(folder: Path) -> None:
    largest = np.array([np.finfo(np.float32).max], np.float32)
    decoded, _ = through(folder, {"w": largest}, Encoding.BFLOAT16)
    assert np.isinf(decoded["w"]).all()


UNTOUCHED: dict[str, NDArray[Any]] = {
    "norm.running_mean": np.array([-1e-7, 3.3333333, 0.1], np.float32),
    "norm.running_var": np.array([1e-38, 0.1, 7.7777777], np.float32),
    "norm.num_batches_tracked": np.array((1 << 53) + 1, np.int64),
}


@pytest.mark.parametrize("encoding", Encoding)
def test_buffers_and_integers_travel_as_they_are(folder: Path, encoding: Encoding) -> None:
    delta = UNTOUCHED | {"layer.weight": np.linspace(-1, 1, 21, dtype=np.float32).reshape(3, 7)}
    decoded, _ = through(folder, delta, encoding)
    for name, value in UNTOUCHED.items():
        assert decoded[name].tobytes() == value.tobytes()
    assert (decoded["layer.weight"].tobytes() == delta["layer.weight"].tobytes()) is (encoding is Encoding.FLOAT32)


def test_int8_leaves_tensors_of_one_dimension_alone_and_bfloat16_does_not(folder: Path) -> None:
    bias = np.array([0.1, 0.2, 0.3], np.float32)
    assert through(folder, {"bias": bias}, Encoding.INT8)[0]["bias"].tobytes() == bias.tobytes()
    assert through(folder, {"bias": bias}, Encoding.BFLOAT16)[0]["bias"].tobytes() != bias.tobytes()


def test_float32_is_the_same_file(folder: Path) -> None:
    delta = UNTOUCHED | {"layer.weight": np.ones((2, 2), np.float32)}
    _, encoded = through(folder, delta, Encoding.FLOAT32)
    assert encoded.read_bytes() == (folder / "plain").read_bytes()


@given(
    variances=arrays_of.arrays(np.float32, st.tuples(st.just(3), st.integers(1, 20)), elements=st.floats(0, 2.0**100, width=32)),
    encoding=st.sampled_from(Encoding),
)
def test_no_variance_becomes_negative(folder: Path, variances: NDArray[np.float32], encoding: Encoding) -> None:
    """A site's variance is the received one and its delta, and neither is below zero: not for any encoding."""
    received, *own = variances
    for trained in own:
        decoded, _ = through(folder, {"running_var": trained - received}, encoding)
        assert (received + decoded["running_var"] >= 0).all()


@pytest.mark.parametrize("encoding", Encoding)
def test_the_layout_follows_from_the_models(folder: Path, encoding: Encoding) -> None:
    delta = UNTOUCHED | {"a.weight": np.ones((2, 3, 1, 1), np.float32), "a.bias": np.ones(2, np.float32)}
    _, encoded = through(folder, delta, encoding)
    with encoded.open("rb") as file:
        assert tensors.read_layout(file) == encodings.encoded_layout(tensors.layout_of(delta), encoding)


def test_a_model_that_has_a_scales_name_already_cannot_be_encoded() -> None:
    twice = tensors.layout_of({"a": np.ones((2, 2), np.float32), "a:scale": np.ones(2, np.float32)})
    with pytest.raises(TensorError, match="given twice"):
        encodings.encoded_layout(twice, Encoding.INT8)


@pytest.mark.parametrize("encoding", LOSSY)
def test_a_file_in_another_encoding_is_refused(folder: Path, encoding: Encoding) -> None:
    delta = {"a": np.ones((2, 2), np.float32)}
    _, encoded = through(folder, delta, encoding)
    for other in set(Encoding) - {encoding}:
        with pytest.raises(TensorError, match=f"not the federation's model in {other}: "):
            encodings.decode(encoded, folder / "never", tensors.layout_of(delta), other)
        assert not (folder / "never").exists()


@pytest.mark.parametrize("encoding", LOSSY)
def test_a_file_that_is_cut_off_or_goes_on_is_refused(folder: Path, encoding: Encoding) -> None:
    delta = {"a": np.ones((2, 2), np.float32)}
    _, encoded = through(folder, delta, encoding)
    content = encoded.read_bytes()
    for other in (content[:-1], content + b"\0"):
        encoded.write_bytes(other)
        with pytest.raises(TensorError, match=f"the header describes {len(content)} bytes, the file has {len(other)}"):
            encodings.decode(encoded, folder / "never", tensors.layout_of(delta), encoding)


def test_a_peers_scale_that_is_no_number_is_decoded_to_what_folding_refuses(folder: Path) -> None:
    path = folder / "hostile"
    tensors.write(path, {"a": np.array([[0, 1]], np.int8), "a:scale": np.array([np.inf], np.float32)})
    encodings.decode(path, folder / "decoded-hostile", tensors.layout_of({"a": np.ones((1, 2), np.float32)}), Encoding.INT8)
    assert not np.isfinite(tensors.read(folder / "decoded-hostile")["a"]).any()
