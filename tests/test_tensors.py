"""Canonical safetensors: the same tensors are the same bytes everywhere, and no header can lie."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from fedcli import disk, tensors, wire
from fedcli.errors import TrustError
from fedcli.tensors import TensorError

Arrays = dict[str, np.ndarray]

NAMES = st.from_regex(r"[A-Za-z0-9_.:/-]{1,20}", fullmatch=True).filter(lambda name: name != "__metadata__")
SHAPES = st_numpy.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
MODELS = st.dictionaries(NAMES, st_numpy.arrays(st.sampled_from([np.float32, np.int64]), SHAPES), max_size=6)
ALL_DTYPES = st.dictionaries(NAMES, st_numpy.arrays(st.sampled_from(sorted(tensors.NUMPY_DTYPES.values())), SHAPES), max_size=6)

AN_ENTRY = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}

OTHER_PROCESS = """
import sys
from pathlib import Path
import numpy as np
from fedcli import tensors
arrays = {
    "norm.num_batches_tracked": np.array(7),
    "empty": np.zeros((0, 3), np.float32),
    "classifier.bias": np.linspace(-1, 1, 4, dtype=">f4"),
    "conv.weight": np.asfortranarray(np.arange(18, dtype=np.float32).reshape(2, 1, 3, 3)),
}
print(tensors.write(Path(sys.argv[1]), arrays).sha256)
"""


def state_dict() -> Arrays:
    return {
        "conv.weight": np.arange(18, dtype=np.float32).reshape(2, 1, 3, 3),
        "norm.num_batches_tracked": np.array(7, np.int64),
        "classifier.bias": np.linspace(-1, 1, 4, dtype=np.float32),
        "empty": np.zeros((0, 3), np.float32),
    }


def written(arrays: Arrays) -> bytes:
    """Return the bytes of the file that `write` makes, checking what it says of it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        said = tensors.write(path, arrays)
        data = path.read_bytes()
        assert said == disk.measure(path) == disk.Measured(size=len(data), sha256=wire.sha256(data))
        return data


def assert_identical(actual: Arrays, expected: Arrays) -> None:
    assert actual.keys() == expected.keys()
    for name, array in expected.items():
        assert (actual[name].dtype, actual[name].shape) == (array.dtype, array.shape)
        assert actual[name].tobytes() == array.tobytes()


def compact(entries: object) -> bytes:
    return json.dumps(entries, separators=(",", ":")).encode()


def padded(text: bytes) -> bytes:
    return text + b" " * (-len(text) % 8)


def prefixed(text: bytes) -> bytes:
    return len(text).to_bytes(8, "little") + text


def entry(dtype: str, shape: Any, begin: Any, end: Any) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


# ---------------------------------------------------------------------------------------------------- what is written


@given(MODELS)
@settings(max_examples=30)
def test_bytes_are_those_of_safetensors_itself(arrays: Arrays) -> None:
    assert written(arrays) == safetensors.numpy.save(arrays)


def test_safetensors_opens_the_file(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    tensors.write(path, state_dict())
    with safetensors.safe_open(path, framework="numpy") as file:
        assert file.metadata() is None
        assert_identical({name: file.get_tensor(name) for name in file.keys()}, state_dict())  # noqa: SIM118 - no mapping


@pytest.mark.parametrize("hash_seed", ["0", "1", "4711"])
def test_another_process_with_another_order_writes_the_same_bytes(tmp_path: Path, hash_seed: str) -> None:
    path = tmp_path / "model.safetensors"
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    finished = subprocess.run(
        [sys.executable, "-c", OTHER_PROCESS, path], check=True, capture_output=True, text=True, env=environment
    )
    assert path.read_bytes() == written(state_dict())
    assert finished.stdout.strip() == wire.sha256(path.read_bytes())


@given(ALL_DTYPES, st.randoms(use_true_random=False))
@settings(max_examples=30)
def test_order_of_the_dictionary_does_not_matter(arrays: Arrays, chance: Any) -> None:
    names = list(arrays)
    chance.shuffle(names)
    assert written({name: arrays[name] for name in names}) == written(arrays)


@given(ALL_DTYPES)
@settings(max_examples=50)
def test_round_trip(arrays: Arrays) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        tensors.write(path, arrays)
        assert_identical(tensors.read(path), arrays)
        with path.open("rb") as file:
            layout = tensors.read_layout(file)
            assert file.tell() == len(layout.header)
        assert layout == tensors.layout_of(arrays)
        tensors.check_size(layout, path)


def test_what_is_read_may_be_changed_in_place(tmp_path: Path) -> None:
    tensors.write(tmp_path / "model", state_dict())
    loaded = tensors.read(tmp_path / "model")
    loaded["classifier.bias"] += 1
    assert_identical(tensors.read(tmp_path / "model"), state_dict())


def test_an_existing_file_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(b"mine")
    with pytest.raises(FileExistsError):
        tensors.write(tmp_path / "model", state_dict())
    assert (tmp_path / "model").read_bytes() == b"mine"


def test_large_alignments_come_first_then_names() -> None:
    layout = tensors.layout([("b", "F32", ()), ("z", "I64", ()), ("a", "U8", ()), ("a.b", "F32", ()), ("B", "F32", ())])
    assert [tensor.name for tensor in layout.tensors] == ["z", "B", "a.b", "b", "a"]
    assert [(tensor.begin, tensor.end) for tensor in layout.tensors] == [(0, 8), (8, 12), (12, 16), (16, 20), (20, 21)]
    assert len(layout.header) % 8 == 0


@pytest.mark.parametrize(
    "item",
    [
        ("", "F32", ()),
        ("__metadata__", "F32", ()),
        ("name with space", "F32", ()),
        ("name\n", "F32", ()),
        ('quote"', "F32", ()),
        ("ünicode", "F32", ()),
        ("n" * 257, "F32", ()),
        ("a", "C64", ()),
        ("a", "f32", ()),
        ("a", "", ()),
        ("a", "F32", (-1,)),
        ("a", "F32", (2, -3, -1)),
        ("a", "F32", (1 << 61,)),
        ("a", "F32", (1 << 40, 1 << 40)),
        ("a", "F32", (0, 1 << 62)),
        ("a", "F32", (0, 1 << 40, 1 << 40)),
        ("a", "F32", (1,) * 33),
    ],
)
def test_what_cannot_be_stored_is_refused(item: tuple[str, str, tuple[int, ...]]) -> None:
    with pytest.raises(TensorError, match="cannot be stored"):
        tensors.layout([("fine", "F32", (3,)), item])


@pytest.mark.parametrize("array", [np.array(["text"]), np.array([None]), np.array([1j]), np.array(["2020-01-01"], "M8[D]")])
def test_arrays_without_a_dtype_of_safetensors_are_refused(array: np.ndarray) -> None:
    with pytest.raises(TensorError, match="cannot be stored"):
        tensors.layout_of({"a": array})


def test_a_name_given_twice_is_refused() -> None:
    with pytest.raises(TensorError, match="given twice"):
        tensors.layout([("a", "F32", (1,)), ("a", "I64", (1,))])


def test_a_header_longer_than_the_limit_is_not_written() -> None:
    names = (f"{number:06d}{'n' * 250}" for number in range(tensors.MAX_HEADER_BYTES // 300))
    with pytest.raises(TensorError, match="header has"):
        tensors.layout((name, "F32", (1,)) for name in names)


# -------------------------------------------------------------------------------------------------------- lying headers

LYING = {
    "overlap": {"a": entry("F32", [2], 0, 8), "b": entry("F32", [2], 4, 12)},
    "same place": {"a": entry("F32", [2], 0, 8), "b": entry("F32", [2], 0, 8)},
    "offsets past the end": {"a": entry("F32", [2], 0, 8), "b": entry("F32", [2], 8, 1 << 40)},
    "offsets of another size": {"a": entry("F32", [2], 0, 4)},
    "gap before": {"a": entry("F32", [2], 8, 16)},
    "gap between": {"a": entry("F32", [2], 0, 8), "b": entry("F32", [2], 16, 24)},
    "backwards": {"a": entry("F32", [2], 8, 0)},
    "names in the wrong order": {"b": entry("F32", [2], 0, 8), "a": entry("F32", [2], 8, 16)},
    "dtypes in the wrong order": {"a": entry("F32", [2], 0, 8), "b": entry("I64", [1], 8, 16)},
    "names listed out of the order of their data": {"b": entry("F32", [2], 8, 16), "a": entry("F32", [2], 0, 8)},
    "metadata": {"__metadata__": {"format": "pt"}, "a": AN_ENTRY},
    "empty metadata": {"__metadata__": {}, "a": AN_ENTRY},
    "metadata in the shape of a tensor": {"__metadata__": AN_ENTRY},
    "negative length": {"a": entry("F32", [-2], 0, -8)},
    "two negative lengths": {"a": entry("F32", [-2, -1], 0, 8)},
    "float length": {"a": entry("F32", [2.0], 0, 8)},
    "true as a length": {"a": entry("F32", [True], 0, 4)},
    "false as a length": {"a": entry("F32", [False], 0, 0)},
    "null as a length": {"a": entry("F32", [None], 0, 4)},
    "text as a length": {"a": entry("F32", ["2"], 0, 8)},
    "text as a shape": {"a": entry("F32", "2", 0, 8)},
    "mapping as a shape": {"a": entry("F32", {}, 0, 4)},
    "nested shape": {"a": entry("F32", [[2]], 0, 8)},
    "no shape": {"a": {"dtype": "F32", "data_offsets": [0, 4]}},
    "no dtype": {"a": {"shape": [2], "data_offsets": [0, 8]}},
    "no offsets": {"a": {"dtype": "F32", "shape": [2]}},
    "one more key": {"a": {**AN_ENTRY, "stride": [1]}},
    "other order of keys": {"a": {"shape": [2], "dtype": "F32", "data_offsets": [0, 8]}},
    "float offsets": {"a": entry("F32", [2], 0.0, 8.0)},
    "false for offset 0": {"a": {"dtype": "F32", "shape": [2], "data_offsets": [False, 8]}},
    "three offsets": {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8, 8]}},
    "unknown dtype": {"a": entry("F31", [2], 0, 8)},
    "lower-case dtype": {"a": entry("f32", [2], 0, 8)},
    "list as a dtype": {"a": {"dtype": ["F32"], "shape": [2], "data_offsets": [0, 8]}},
    "name with a newline": {"a\n": AN_ENTRY},
    "empty name": {"": AN_ENTRY},
    "endless shape": {"a": entry("F32", [1] * 1000, 0, 4)},
    "shape of astronomic numbers": {"a": entry("F32", [0, 10**4000], 0, 0)},
    "list instead of a mapping": [AN_ENTRY],
    "entry that is a list": {"a": [AN_ENTRY]},
    "number": 1,
    "null": None,
}


def refuse(data: bytes) -> TensorError:
    """Check that neither way of reading takes the bytes, and return the refusal."""
    with pytest.raises(TensorError) as caught:
        tensors.read_layout(io.BytesIO(data))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        path.write_bytes(data)
        with pytest.raises(TensorError):
            tensors.read(path)
    return caught.value


def test_the_honest_header_is_taken() -> None:
    data = prefixed(padded(compact({"a": AN_ENTRY}))) + b"\0" * 8
    assert tensors.read_layout(io.BytesIO(data)).tensors == (tensors.Tensor(name="a", dtype="F32", shape=(2,), begin=0, end=8),)


@pytest.mark.parametrize("entries", LYING.values(), ids=LYING)
def test_a_lying_header_is_refused(entries: object) -> None:
    refuse(prefixed(padded(compact(entries))) + b"\0" * 24)


def test_a_name_given_twice_in_a_header_is_refused() -> None:
    one = compact(AN_ENTRY).decode()
    other = compact(entry("F32", [2], 8, 16)).decode()
    refuse(prefixed(padded(f'{{"a":{one},"a":{one}}}'.encode())) + b"\0" * 8)
    refuse(prefixed(padded(f'{{"a":{one},"a":{other}}}'.encode())) + b"\0" * 16)


CANONICAL = compact({"a": AN_ENTRY})
MALLEATED = {
    "no padding": CANONICAL,
    "eight more spaces": padded(CANONICAL) + b" " * 8,
    "padding in front": b" " * (-len(CANONICAL) % 8) + CANONICAL,
    "newline as padding": CANONICAL + b"\n" * (-len(CANONICAL) % 8),
    "zeros as padding": CANONICAL + b"\0" * (-len(CANONICAL) % 8),
    "spaced": padded(json.dumps({"a": AN_ENTRY}).encode()),
    "indented": padded(json.dumps({"a": AN_ENTRY}, indent=1).encode()),
    "escaped name": padded(CANONICAL.replace(b'"a"', b'"\\u0061"')),
    "escaped dtype": padded(CANONICAL.replace(b"F32", b"\\u004632")),
    "negative zero": padded(CANONICAL.replace(b"[0,", b"[-0,")),
    "exponent": padded(CANONICAL.replace(b"[2]", b"[2e0]")),
    "byte order mark": padded(b"\xef\xbb\xbf" + CANONICAL),
    "UTF-16": padded(CANONICAL.decode().encode("utf-16-le")),
    "not UTF-8": padded(CANONICAL.replace(b'"a"', b'"\xff"')),
    "NaN": padded(CANONICAL.replace(b"[2]", b"[NaN]")),
    "cut off": padded(CANONICAL[:-1]),
    "nothing but spaces": b" " * 8,
    "deep": padded(b"[" * 100_000),
    "endless number": padded(CANONICAL.replace(b"[2]", b"[" + b"9" * 5000 + b"]")),
}


@pytest.mark.parametrize("text", MALLEATED.values(), ids=MALLEATED)
def test_another_spelling_of_the_same_header_is_refused(text: bytes) -> None:
    assert text != padded(CANONICAL)
    refuse(prefixed(text) + b"\0" * 8)


@pytest.mark.parametrize("claimed", [0, tensors.MAX_HEADER_BYTES + 1, 100_000_000, 1 << 63, (1 << 64) - 1])
def test_a_claimed_length_is_refused_before_it_is_read(claimed: int) -> None:
    class Counting(io.BytesIO):
        asked = 0

        def read(self, size: int | None = -1, /) -> bytes:
            self.asked += size or 0
            return super().read(size)

    file = Counting(claimed.to_bytes(8, "little") + padded(CANONICAL))
    with pytest.raises(TensorError, match=f"claims {claimed} bytes"):
        tensors.read_layout(file)
    assert file.asked == 8


@pytest.mark.parametrize("text", [b"{}      ", padded(compact({"a": entry("F32", [0], 0, 0)}))])
def test_a_header_that_claims_more_than_the_file_has_is_refused(text: bytes) -> None:
    tensors.read_layout(io.BytesIO(prefixed(text)))
    refuse((len(text) + 8).to_bytes(8, "little") + text)


def test_every_truncated_file_is_refused() -> None:
    data = written(state_dict())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        for length in range(len(data)):
            path.write_bytes(data[:length])
            with pytest.raises(TensorError):
                tensors.read(path)


@given(MODELS, st.binary(min_size=1, max_size=20))
@settings(max_examples=25)
def test_an_extended_file_is_refused(arrays: Arrays, more: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        path.write_bytes(written(arrays) + more)
        with pytest.raises(TensorError, match="the header describes"):
            tensors.read(path)


@given(st.data())
@settings(max_examples=200)
def test_one_changed_byte_of_a_header_is_another_layout_or_an_error(data: st.DataObject) -> None:
    original = tensors.layout_of(state_dict())
    position = data.draw(st.integers(0, len(original.header) - 1))
    changed = bytearray(original.header)
    changed[position] ^= data.draw(st.integers(1, 255))
    try:
        layout = tensors.read_layout(io.BytesIO(bytes(changed) + b"\0" * 512))
    except TensorError:
        return
    assert layout.header == bytes(changed)
    assert original.difference(layout)


def test_a_dtype_that_numpy_lacks_has_a_layout_and_no_arrays(tmp_path: Path) -> None:
    layout = tensors.layout([("half", "BF16", (2,))])
    (tmp_path / "model").write_bytes(layout.header + b"\0" * 4)
    with (tmp_path / "model").open("rb") as file:
        assert tensors.read_layout(file) == layout
    with pytest.raises(TensorError, match="BF16"):
        tensors.read(tmp_path / "model")


def test_a_tensor_error_is_a_breach_of_trust() -> None:
    assert issubclass(TensorError, TrustError)


# ------------------------------------------------------------------------------------------------------------ comparing


def test_differences_are_named() -> None:
    expected = tensors.layout([("a", "F32", (2,)), ("b", "F32", (3,)), ("c", "I64", ())])
    assert expected.difference(tensors.layout([("c", "I64", ()), ("b", "F32", (3,)), ("a", "F32", (2,))])) == ""
    assert expected.difference(tensors.layout([("b", "F32", (3,))])) == "2 missing tensors, first a"
    more = [("a", "F32", (2,)), ("b", "F32", (3,)), ("c", "I64", ()), ("d", "I64", ())]
    assert expected.difference(tensors.layout(more)) == "1 extra tensors, first d"
    reshaped = [("a", "F32", (2,)), ("b", "F32", (3, 1)), ("c", "I64", ())]
    assert expected.difference(tensors.layout(reshaped)) == "tensor b: expected F32 [3], found F32 [3, 1]"
    retyped = [("a", "F32", (2,)), ("b", "F32", (3,)), ("c", "U64", ())]
    assert expected.difference(tensors.layout(retyped)) == "tensor c: expected I64 [], found U64 []"
