"""The aggregate is Algorithm 1's, bit for bit."""

from __future__ import annotations

import random
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import pytest

from fedcli import tensors
from fedcli.aggregation import mean
from fedcli.aggregation.mean import NotFiniteError, Update, weighted_mean
from fedcli.errors import TrustError

if TYPE_CHECKING:
    from pathlib import Path

WEIGHTS = {"a": 717, "b": 262, "b-1": 1379, "c": 1}


def arrays(seed: int, *, scale: float = 1.0) -> dict[str, np.ndarray]:
    """Return a small state dict with every kind of tensor that a network has."""
    generator = np.random.default_rng(seed)
    return {
        "stem.weight": (generator.standard_normal((8, 1, 3, 3)) * scale).astype(np.float32),
        "norm.running_var": (generator.random(8) * scale).astype(np.float32),
        "norm.num_batches_tracked": np.array(generator.integers(-50, 1000), np.int64),
        "classifier.bias": (generator.standard_normal(1003) * 10.0 ** generator.integers(-20, 20, 1003) * scale).astype(
            np.float32
        ),
        "empty": np.zeros((0, 3), np.float32),
    }


def written(folder: Path, **models: dict[str, np.ndarray]) -> dict[str, Path]:
    paths = {name: folder / f"{name}.safetensors" for name in models}
    for name, path in paths.items():
        tensors.write(path, models[name])
    return paths


def reference(base: dict[str, np.ndarray], deltas: dict[str, dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Compute design section 5 element by element with Python's own floats and integers."""
    total = sum(WEIGHTS[site] for site in deltas)
    result = {}
    for name, previous in base.items():
        flat = []
        for position, value in enumerate(previous.reshape(-1)):
            if previous.dtype == np.int64:
                exact = sum(Fraction(WEIGHTS[site]) * int(deltas[site][name].reshape(-1)[position]) for site in deltas)
                flat.append(int(value) + exact / total // 1)
                continue
            accumulated = 0.0
            for site in sorted(deltas, key=str.encode):
                accumulated = accumulated + WEIGHTS[site] * float(deltas[site][name].reshape(-1)[position])
            flat.append(np.float32(float(value) + accumulated / total))
        result[name] = np.array(flat, previous.dtype).reshape(previous.shape)
    return result


@pytest.fixture
def base() -> dict[str, np.ndarray]:
    return arrays(0)


@pytest.fixture
def deltas() -> dict[str, dict[str, np.ndarray]]:
    return {site: arrays(number, scale=1e-3) for number, site in enumerate(WEIGHTS, 1)}


@pytest.mark.parametrize("order", range(6))
def test_equals_the_plain_reference_for_any_order_of_arrival(
    tmp_path: Path, base: dict[str, np.ndarray], deltas: dict[str, dict[str, np.ndarray]], order: int
) -> None:
    paths = written(tmp_path, base=base, **deltas)
    updates = [Update(site=site, path=paths[site], weight=weight) for site, weight in WEIGHTS.items()]
    random.Random(order).shuffle(updates)
    measured = weighted_mean(paths["base"], updates, tmp_path / "out")
    expected = reference(base, deltas)
    found = tensors.read(tmp_path / "out")
    assert {name: value.tobytes() for name, value in found.items()} == {name: value.tobytes() for name, value in expected.items()}
    assert found["norm.num_batches_tracked"].dtype == np.int64
    assert measured == tensors.measure(tmp_path / "out")
    again = tmp_path / "again"
    assert tensors.write(again, expected) == measured


def test_chunks_and_blocks_do_not_show(
    tmp_path: Path, base: dict[str, np.ndarray], deltas: dict[str, dict[str, np.ndarray]], monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = written(tmp_path, base=base, **deltas)
    updates = [Update(site=site, path=paths[site], weight=weight) for site, weight in WEIGHTS.items()]
    whole = weighted_mean(paths["base"], updates, tmp_path / "whole")
    monkeypatch.setattr(mean, "CHUNK", 7)
    monkeypatch.setattr(mean, "BLOCK", 64)
    assert weighted_mean(paths["base"], updates, tmp_path / "small") == whole


def test_integers_are_floored_not_truncated(tmp_path: Path) -> None:
    counter = np.array(10, np.int64)
    paths = written(tmp_path, base={"n": counter}, a={"n": np.array(-1, np.int64)}, b={"n": np.array(0, np.int64)})
    weighted_mean(
        paths["base"],
        [Update(site="a", path=paths["a"], weight=1), Update(site="b", path=paths["b"], weight=2)],
        tmp_path / "out",
    )
    assert tensors.read(tmp_path / "out")["n"] == 9  # 10 + floor(-1/3)


def test_integers_beyond_float64_stay_exact(tmp_path: Path) -> None:
    large = 2**62 + 1
    paths = written(tmp_path, base={"n": np.array(0, np.int64)}, a={"n": np.array(large, np.int64)})
    weighted_mean(paths["base"], [Update(site="a", path=paths["a"], weight=3)], tmp_path / "out")
    assert int(tensors.read(tmp_path / "out")["n"]) == large


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_names_the_site_and_tensor_that_are_not_finite(
    tmp_path: Path, base: dict[str, np.ndarray], deltas: dict[str, dict[str, np.ndarray]], value: float
) -> None:
    deltas["b"]["norm.running_var"][3] = value
    paths = written(tmp_path, base=base, **deltas)
    updates = [Update(site=site, path=paths[site], weight=weight) for site, weight in WEIGHTS.items()]
    with pytest.raises(NotFiniteError, match=r"update of b holds NaN or infinity in tensor norm\.running_var") as caught:
        weighted_mean(paths["base"], updates, tmp_path / "out")
    assert caught.value.site == "b"


def test_refuses_a_result_that_is_not_finite(tmp_path: Path) -> None:
    largest = np.full(3, np.finfo(np.float32).max, np.float32)
    paths = written(tmp_path, base={"w": largest}, a={"w": largest})
    with pytest.raises(TrustError, match="would not be finite in tensor w"):
        weighted_mean(paths["base"], [Update(site="a", path=paths["a"], weight=1)], tmp_path / "out")


def test_refuses_a_file_that_ends_early(
    tmp_path: Path, base: dict[str, np.ndarray], deltas: dict[str, dict[str, np.ndarray]]
) -> None:
    paths = written(tmp_path, base=base, **deltas)
    with paths["a"].open("r+b") as file:
        file.truncate(paths["a"].stat().st_size - 4)
    with pytest.raises(TrustError, match="cut off after"):
        weighted_mean(paths["base"], [Update(site="a", path=paths["a"], weight=1)], tmp_path / "out")
