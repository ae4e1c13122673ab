"""The aggregate is Algorithm 1's, bit for bit, for every order, thread count and size of memory."""

from __future__ import annotations

import random
import resource
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from fedcli import disk, tensors
from fedcli.aggregation.mean import WeightedMean
from fedcli.aggregation.rules import AggregationRule
from fedcli.aggregation.trained_norms import trained_norms
from fedcli.errors import TrustError
from tests.aggregation.models import Bench, arrays, bench, same, weighted_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

WEIGHTS = {"a": 717, "b": 262, "b-1": 1379, "c": 1}
FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False, min_value=-(2.0**100), max_value=2.0**100)


def test_equals_the_plain_reference(tmp_path: Path) -> None:
    made = bench(tmp_path, WEIGHTS)
    expected = weighted_mean(made.base, made.deltas, WEIGHTS)
    folded = made.fold()
    assert same(tensors.read(tmp_path / "out"), expected)
    assert folded.model == disk.measure(tmp_path / "out")
    assert tensors.write(tmp_path / "again", expected) == folded.model
    assert [(share.site, share.weight) for share in folded.shares] == sorted(WEIGHTS.items())


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_equals_the_plain_reference_for_all_numbers(tmp_path: Path, data: st.DataObject) -> None:
    shape = data.draw(st.integers(1, 5))
    sites = data.draw(st.lists(st.sampled_from(["a", "a-b", "a0", "b", "z"]), min_size=1, max_size=5, unique=True))
    floats = arrays_of.arrays(np.float32, shape, elements=FINITE)
    whole = st.integers(-(2**55), 2**55).map(lambda value: np.array(value, np.int64))
    model = st.builds(lambda w, n: {"w": w, "n": n}, floats, whole)
    deltas = {site: data.draw(model) for site in sites}
    weights = {site: data.draw(st.integers(1, 2**29 - 1)) for site in sites}
    made = Bench(tmp_path, data.draw(model), deltas, weights)
    assert same(made.result(), weighted_mean(made.base, deltas, weights))


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations(list(WEIGHTS)), threads=st.integers(1, 5), memory=st.integers(0, 100_000), hashed=st.booleans())
def test_order_threads_and_memory_do_not_show(
    tmp_path: Path,
    order: list[str],
    threads: int,
    memory: int,
    hashed: bool,  # noqa: FBT001 - hypothesis passes it
) -> None:
    made = bench(tmp_path, WEIGHTS, length=9001)
    whole = made.fold(out="whole")
    again = made.fold(updates=made.updates(order, hashed=hashed), threads=threads, memory=memory)
    assert again.model == whole.model
    for share, expected in zip(again.shares, whole.shares, strict=True):
        assert share.norm == pytest.approx(expected.norm, rel=1e-5)
        assert share.cosine == pytest.approx(expected.cosine, abs=1e-5)


def descriptors() -> int:
    """Count what this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


class CountingMean(WeightedMean):
    """The mean, which counts what is open while it sums."""

    def __init__(self) -> None:
        self.counts: list[int] = []

    def floats(self, deltas: NDArray[np.float32], weights: Sequence[int], step: NDArray[np.float64]) -> None:
        """Count and sum."""
        self.counts.append(descriptors())
        super().floats(deltas, weights, step)


@pytest.mark.parametrize("threads", [1, 2])
def test_more_sites_than_files_may_be_open(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, threads: int) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (400, 400))
    weights = {f"site-{number:03d}": number + 1 for number in range(300)}
    made = bench(tmp_path, weights, length=3001)
    names = list(weights)
    random.Random(0).shuffle(names)
    before, counting = descriptors(), CountingMean()
    rule = AggregationRule(average=counting)
    folded = made.fold(rule, updates=made.updates(names, hashed=True), threads=threads, memory=20_000)
    total = np.zeros(3001)
    for site in sorted(weights, key=str.encode):
        total = total + np.float64(weights[site]) * made.deltas[site]["classifier.bias"].astype(np.float64)
    expected = (made.base["classifier.bias"] + total / sum(weights.values())).astype(np.float32)
    assert tensors.read(tmp_path / "out")["classifier.bias"].tobytes() == expected.tobytes()
    assert len(folded.shares) == 300
    assert all(100 < count - before < 110 for count in counting.counts)


def test_norms_and_cosines_are_those_of_all_float_tensors(tmp_path: Path) -> None:
    made = bench(tmp_path, WEIGHTS)
    total = sum(WEIGHTS.values())

    def flat(site: str) -> np.ndarray:
        return np.concatenate([v.reshape(-1).astype(np.float64) for v in made.deltas[site].values() if v.dtype == np.float32])

    step = sum(WEIGHTS[site] * flat(site) for site in WEIGHTS) / total
    for share in made.fold().shares:
        norm = np.linalg.norm(flat(share.site))
        assert share.norm == pytest.approx(norm, rel=1e-5)
        assert share.cosine == pytest.approx(flat(share.site) @ step / norm / np.linalg.norm(step), abs=2e-6)


def test_a_delta_of_zeros_has_no_direction(tmp_path: Path) -> None:
    zero, one = {"w": np.zeros(5, np.float32)}, {"w": np.ones(5, np.float32)}
    shares = Bench(tmp_path, one, {"a": zero, "b": one}, {"a": 1, "b": 1}).fold().shares
    assert [(share.norm, share.cosine) for share in shares] == [(0.0, None), (pytest.approx(5**0.5, rel=1e-5), 1.0)]
    opposite = {"w": -np.ones(5, np.float32)}
    shares = Bench(tmp_path, one, {"a": opposite, "b": one}, {"a": 1, "b": 1}).fold().shares
    assert [share.cosine for share in shares] == [None, None]


def test_integers_are_floored_not_truncated(tmp_path: Path) -> None:
    deltas = {"a": {"n": np.array(-1, np.int64)}, "b": {"n": np.array(0, np.int64)}}
    assert Bench(tmp_path, {"n": np.array(10, np.int64)}, deltas, {"a": 1, "b": 2}).result()["n"] == 9  # 10 + floor(-1/3)


def test_integers_beyond_float64_stay_exact(tmp_path: Path) -> None:
    large = 2**62 + 1
    made = Bench(tmp_path, {"n": np.array(0, np.int64)}, {"a": {"n": np.array(large, np.int64)}}, {"a": 3})
    assert int(made.result()["n"]) == large


def test_refuses_a_dtype_that_no_rule_knows(tmp_path: Path) -> None:
    half = {"h": np.ones(3, np.float16)}
    with pytest.raises(TrustError, match="tensor h: F16 cannot be aggregated, expected F32 or I64"):
        Bench(tmp_path, half, {"a": half}, {"a": 1}).fold()


@pytest.mark.parametrize("scale", [1e-20, 1.0, 1e30])
@pytest.mark.parametrize("memory", [None, 20_000])
def test_the_cosine_to_the_others_is_of_trained_weights_and_bounds_every_weight(
    tmp_path: Path, scale: float, memory: int | None
) -> None:
    weights = {"a": 2, "b": 3, "c": 1_000_000, "d": 5, "e": 1}
    generator = np.random.default_rng(0)
    deltas = {}
    for site in weights:
        deltas[site] = arrays(ord(site), length=9001)
        deltas[site]["norm.running_var"] = deltas[site]["norm.running_var"] * np.float32(1e30)
        deltas[site]["classifier.bias"] = (generator.standard_normal(9001) * scale).astype(np.float32)
        deltas[site]["stem.weight"] = deltas[site]["stem.weight"] * np.float32(scale)
    flat = {
        site: np.concatenate([delta[name].reshape(-1).astype(np.float64) for name in ("stem.weight", "classifier.bias")])
        for site, delta in deltas.items()
    }
    for share in Bench(tmp_path, arrays(0, length=9001), deltas, weights).fold(memory=memory).shares:
        others = sum(min(weights[site], 3) * flat[site] for site in weights if site != share.site)
        expected = flat[share.site] @ others / np.linalg.norm(flat[share.site]) / np.linalg.norm(others)
        assert share.others_cosine == pytest.approx(expected, abs=2e-6)


def test_without_others_there_is_no_cosine_to_them(tmp_path: Path) -> None:
    one, short = {"w": np.ones(5, np.float32)}, {"w": np.full(5, 1e-6, np.float32)}
    (share,) = Bench(tmp_path, one, {"a": one}, {"a": 1}).fold().shares
    assert share.others_cosine is None
    shares = Bench(tmp_path, one, {"a": one, "b": short}, {"a": 1, "b": 1}).fold().shares
    assert [share.others_cosine for share in shares] == [None, 1.0]


@pytest.mark.parametrize("scale", [1e-3, 1e36])
def test_trained_norms_leave_out_the_buffers(tmp_path: Path, scale: float) -> None:
    """Also where the squares of the numbers are beyond float32; `trained_norms` measures the same without a fold."""
    deltas = {site: arrays(number, scale=1e-3, length=9001) for number, site in enumerate(WEIGHTS, 1)}
    for delta in deltas.values():
        delta["stem.weight"] = delta["stem.weight"] * np.float32(scale)
        delta["norm.running_var"] = delta["norm.running_var"] * np.float32(1e37)
        delta["classifier.bias"] = np.clip(delta["classifier.bias"], -1, 1)
    made = Bench(tmp_path, arrays(0, length=9001), deltas, WEIGHTS)
    folded = made.fold(memory=20_000)

    def norm(model: dict[str, NDArray[np.float32]]) -> float:
        weights = [value for name, value in model.items() if value.dtype == np.float32 and "running" not in name]
        return float(np.sqrt(sum((value.astype(float) ** 2).sum() for value in weights)))

    assert folded.base_norm == pytest.approx(norm(made.base), rel=1e-5)
    expected = [norm(deltas[site]) for site in sorted(deltas)]
    assert [share.trained_norm for share in folded.shares] == pytest.approx(expected, rel=1e-5)
    layout, updates = tensors.layout_of(made.base), made.updates(sorted(deltas))
    assert trained_norms(AggregationRule(), layout, updates) == pytest.approx(expected, rel=1e-12)
