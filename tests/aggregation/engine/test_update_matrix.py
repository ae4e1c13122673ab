"""Files that are not what they must be are refused by their site's name, before anything is published; memory stays bounded."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from fedcli import disk, tensors
from fedcli.aggregation.engine.dot_products import PIECE
from fedcli.aggregation.fold import fold
from fedcli.aggregation.krum import Krum
from fedcli.aggregation.mean import WeightedMean
from fedcli.aggregation.median import Median
from fedcli.aggregation.rules import AggregationRule
from fedcli.aggregation.update import Update, UpdateError
from tests.aggregation.models import MEAN, Bench, bench

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

WEIGHTS = {"a": 7, "b": 2, "c": 3, "d": 5, "e": 1}
RULES = {
    "mean": MEAN,
    "median": AggregationRule(average=Median()),
    "krum": AggregationRule(krum=Krum(byzantine=1, keep=1)),
    "clipped": AggregationRule(clip_norm=1.0),
}


def refused(made: Bench, rule: AggregationRule = MEAN, *, hashed: bool = False, memory: int = 1 << 20) -> dict[str, str]:
    """Return why sites are refused; nothing may be left behind."""
    with pytest.raises(UpdateError) as caught:
        made.fold(rule, updates=made.updates(hashed=hashed), memory=memory)
    assert not list(made.folder.glob("*out*"))
    return caught.value.reasons


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_names_the_sites_and_tensors_that_are_not_finite(tmp_path: Path, rule: AggregationRule, value: float) -> None:
    made = bench(tmp_path, WEIGHTS)
    made.deltas["b"]["norm.running_var"][3] = value
    made.deltas["d"]["classifier.bias"][500] = value
    made = Bench(tmp_path, made.base, made.deltas, WEIGHTS)
    assert refused(made, rule, hashed=True) == {
        "b": "the update of b holds NaN or infinity in tensor norm.running_var",
        "d": "the update of d holds NaN or infinity in tensor classifier.bias",
    }


def test_not_finite_values_are_found_beyond_the_first_range(tmp_path: Path) -> None:
    weights = {f"s{number:03d}": 1 for number in range(260)}
    made = bench(tmp_path, weights, length=5000)
    made.deltas["s100"]["stem.weight"][7, 0, 2, 2] = np.nan
    made = Bench(tmp_path, made.base, made.deltas, weights)
    assert refused(made, memory=0) == {"s100": "the update of s100 holds NaN or infinity in tensor stem.weight"}


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@pytest.mark.parametrize("place", [0, 200, -1])
def test_a_file_with_another_digest_is_refused(tmp_path: Path, rule: AggregationRule, place: int) -> None:
    """In the header, among the integers, or in the last float: with the digest named, no byte may differ."""
    made = bench(tmp_path, WEIGHTS)
    updates = made.updates(hashed=True)
    data = bytearray(made.path("c").read_bytes())
    data[place] ^= 1
    made.path("c").write_bytes(data)
    with pytest.raises(UpdateError) as caught:
        made.fold(rule, updates=updates)
    assert list(caught.value.reasons) == ["c"]
    if place == -1:
        assert f"site-c of c: SHA-256 {disk.measure(made.path('c')).sha256[:12]}, expected" in caught.value.reasons["c"]
    assert not list(tmp_path.glob("*out*"))


def test_a_changed_file_is_blamed_on_its_digest_not_on_its_numbers(tmp_path: Path) -> None:
    """Whoever changes a stored file must not make a site look as if it had sent nonsense."""
    made = bench(tmp_path, WEIGHTS)
    updates = made.updates(hashed=True)
    spoiled = made.deltas["a"] | {"classifier.bias": np.full(1003, np.nan, np.float32)}
    made.path("a").unlink()
    tensors.write(made.path("a"), spoiled)
    with pytest.raises(UpdateError, match="site-a of a: SHA-256"):
        made.fold(updates=updates)


def test_the_base_is_hashed_too(tmp_path: Path) -> None:
    made = bench(tmp_path, WEIGHTS)
    base = Update(site="coordinator", path=tmp_path / "base", sha256=disk.measure(tmp_path / "base").sha256)
    layout = tensors.layout_of(made.base)
    assert fold(MEAN, layout, base, made.updates(), None).model == made.fold().model
    with pytest.raises(UpdateError, match="base of coordinator: SHA-256") as caught:
        fold(MEAN, layout, replace(base, sha256="0" * 64), made.updates(), None)
    assert list(caught.value.reasons) == ["coordinator"]


def test_a_file_of_another_model_is_refused(tmp_path: Path) -> None:
    made = bench(tmp_path, WEIGHTS)
    other = {name: value for name, value in made.deltas["b"].items() if name != "empty"} | {"other": np.zeros((0, 3), np.float32)}
    made.path("b").unlink()
    tensors.write(made.path("b"), other)
    assert refused(made) == {"b": "the update of b: not the federation's model: 1 missing tensors, first empty"}


def test_a_file_that_ends_early_or_is_none_is_refused(tmp_path: Path) -> None:
    made = bench(tmp_path, WEIGHTS)
    size = made.path("a").stat().st_size
    with made.path("a").open("r+b") as file:
        file.truncate(size - 4)
    made.path("b").unlink()
    made.path("c").unlink()
    os.mkfifo(made.path("c"))  # would be waited for
    reasons = refused(made)
    assert reasons["a"] == f"the update of a: {size - 4} bytes, expected {size}"
    assert reasons["b"] == "the update of b cannot be read: No such file or directory"
    assert reasons["c"] == f"the update of c: 0 bytes, expected {size}"


class ShapeOfDeltas(WeightedMean):
    """The mean, which notes how many deltas and elements it sums at a time."""

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def floats(self, deltas: NDArray[np.float32], weights: Sequence[int], step: NDArray[np.float64]) -> None:
        """Note and sum."""
        self.shapes.append(deltas.shape)
        super().floats(deltas, weights, step)


@pytest.mark.parametrize("count", [2, 3, 20, 100, 200])
def test_a_range_has_more_dot_products_than_numpy_takes_under_the_lock(tmp_path: Path, count: int) -> None:
    """Of up to 500 in one call of `vecdot`, numpy keeps Python's lock, and two threads would measure one after the other."""
    model = {"w": np.ones(300_000, np.float32)}
    made = Bench(tmp_path, model, {"a": model}, {"a": 1})
    updates = [replace(made.updates()[0], site=f"s{number:03d}") for number in range(count)]
    average = ShapeOfDeltas()
    made.fold(AggregationRule(average=average), updates=updates)
    deltas, elements = average.shapes[0]
    assert deltas * elements // PIECE > 500


MEASURE = """
import sys
from pathlib import Path
from fedcli import disk, tensors
from fedcli.aggregation.fold import fold
from fedcli.aggregation.rules import rule_of
from fedcli.aggregation.update import Update
from fedcli.plan import Aggregation, Rule

def peak():
    return int(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))

folder, sites, rule = Path(sys.argv[1]), int(sys.argv[2]), Rule(sys.argv[3])
update = folder / "site-a"
with (folder / "base").open("rb") as file:
    layout = tensors.read_layout(file)
updates = [Update(site=f"s{number:04d}", path=update, sha256=disk.measure(update).sha256) for number in range(sites)]
base = Update(site="coordinator", path=folder / "base")
before = peak()
fold(rule_of(Aggregation(rule=rule)), layout, base, updates, folder / "out", threads=2)
print(before, peak())
"""


@pytest.mark.parametrize(
    ("rule", "megabytes", "sites", "most"),
    [("mean", 40, 12, 36), ("mean", 1, 1000, 96), ("median", 40, 6, 52), ("krum", 40, 5, 42)],
)
def test_memory_does_not_grow_with_sites_nor_with_the_model(
    tmp_path: Path, rule: str, megabytes: int, sites: int, most: int
) -> None:
    """A fold that held one of the large files, or a list of the many small ones, would take more than `most` MiB."""
    model = {"w": np.random.default_rng(0).standard_normal(megabytes * 10**6 // 4).astype(np.float32)}
    Bench(tmp_path, model, {"a": model}, {"a": 1})
    arguments = [sys.executable, "-c", MEASURE, str(tmp_path), str(sites), rule]
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(arguments, check=True, capture_output=True, text=True, timeout=300, env=environment)
    before, peak = map(int, done.stdout.split())
    assert (peak - before) / 1024 < most
