"""Small models and updates as files, and design section 5 done element by element with Python's own numbers."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from fedcli import disk, tensors
from fedcli.aggregation.fold import fold
from fedcli.aggregation.rules import AggregationRule
from fedcli.aggregation.update import Update

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from fedcli.aggregation.fold import Folded, StateFiles

    Arrays = dict[str, NDArray[Any]]

MEAN = AggregationRule()


def arrays(seed: int, *, scale: float = 1.0, length: int = 1003) -> Arrays:
    """Return a small state dict with every kind of tensor that a network has."""
    generator = np.random.default_rng(seed)
    wide = generator.standard_normal(length) * 10.0 ** generator.integers(-20, 20, length) * scale
    return {
        "stem.weight": (generator.standard_normal((8, 1, 3, 3)) * scale).astype(np.float32),
        "norm.running_mean": (generator.standard_normal(8) * scale).astype(np.float32),
        "norm.running_var": (generator.random(8) * scale).astype(np.float32),
        "norm.num_batches_tracked": np.array(generator.integers(-50, 1000), np.int64),
        "classifier.bias": wide.astype(np.float32),
        "empty": np.zeros((0, 3), np.float32),
    }


@dataclass(slots=True)
class Bench:
    """A folder with a base and updates, ready to be folded.

    Attributes:
        base: φ(t-1).
        deltas: Each site's.
        weights: Each site's.
    """

    folder: Path
    base: Arrays
    deltas: Mapping[str, Arrays]
    weights: Mapping[str, int]

    def __post_init__(self) -> None:
        for name, model in ({"base": self.base} | {f"site-{site}": delta for site, delta in self.deltas.items()}).items():
            (self.folder / name).unlink(missing_ok=True)
            tensors.write(self.folder / name, model)

    def path(self, site: str) -> Path:
        return self.folder / f"site-{site}"

    def updates(self, order: Sequence[str] = (), *, hashed: bool = False) -> list[Update]:
        """Return the updates, in some order of arrival; `hashed` names their digests."""
        return [
            Update(
                site=site,
                path=self.path(site),
                weight=self.weights[site],
                sha256=disk.measure(self.path(site)).sha256 if hashed else None,
            )
            for site in order or self.deltas
        ]

    def fold(
        self,
        rule: AggregationRule = MEAN,
        *,
        updates: Sequence[Update] = (),
        threads: int = 1,
        memory: int | None = None,
        state: StateFiles | None = None,
        out: str = "out",
    ) -> Folded:
        """Fold all updates into `out`."""
        (self.folder / out).unlink(missing_ok=True)
        base = Update(site="coordinator", path=self.folder / "base")
        layout, target = tensors.layout_of(self.base), self.folder / out
        return fold(rule, layout, base, updates or self.updates(), target, state=state, threads=threads, memory=memory)

    def result(self, rule: AggregationRule = MEAN, **options: Any) -> Arrays:
        """Fold, and return the new model."""
        self.fold(rule, **options)
        return tensors.read(self.folder / options.get("out", "out"))


def bench(folder: Path, weights: Mapping[str, int], **options: Any) -> Bench:
    """Return a base and one random update a site."""
    deltas = {site: arrays(number, scale=1e-3, **options) for number, site in enumerate(weights, 1)}
    return Bench(folder, arrays(0, **options), deltas, weights)


def same(result: Arrays, expected: Arrays) -> bool:
    """Tell whether two state dicts are the same to the bit."""
    return {name: (value.dtype, value.tobytes()) for name, value in result.items()} == {
        name: (value.dtype, value.tobytes()) for name, value in expected.items()
    }


def weighted_mean(base: Arrays, deltas: Mapping[str, Arrays], weights: Mapping[str, int]) -> Arrays:
    """Compute design section 5 element by element with Python's own floats and integers."""
    total = sum(weights[site] for site in deltas)
    result = {}
    for name, previous in base.items():
        flat = []
        for position, value in enumerate(previous.reshape(-1)):
            column = {site: deltas[site][name].reshape(-1)[position] for site in sorted(deltas, key=str.encode)}
            if previous.dtype == np.int64:
                exact = sum(Fraction(weights[site]) * int(item) for site, item in column.items())
                flat.append(int(value) + exact / total // 1)
                continue
            accumulated = 0.0
            for site, item in column.items():
                accumulated = accumulated + weights[site] * float(item)
            flat.append(np.float32(float(value) + accumulated / total))
        result[name] = np.array(flat, previous.dtype).reshape(previous.shape)
    return result
