"""Every rule against Flower's own implementation of it, run in Flower's environment on the same numbers.

fedcli keeps the model and the server's state in float32 between rounds, Flower here in float64: after three rounds they may
differ by a few roundings of values below 1, for which 1e-6 is room. `benchmarks/aggregate/flower_rules.py` states where the
definitions differ and how they are made to meet.
"""

from __future__ import annotations

import runpy
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from fedcli import tensors
from fedcli.aggregation.fold import StateFiles, fold
from fedcli.aggregation.rules import rule_of
from fedcli.aggregation.update import Update
from fedcli.plan import Aggregation, Rule

if TYPE_CHECKING:
    from numpy.typing import NDArray

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
TOLERANCE = 1e-6
ROUNDS, SITES, ELEMENTS = 3, 7, 5000
SETTINGS = {"rate": 0.5, "momentum": 0.9, "beta1": 0.9, "beta2": 0.99, "tau": 1e-3, "trim": 2, "byzantine": 2, "keep": 3}
RULES = {
    "momentum": Aggregation(rule=Rule.MOMENTUM, server_rate=0.5, momentum=0.9),
    "adam": Aggregation(rule=Rule.ADAM, server_rate=0.5, beta1=0.9, beta2=0.99, tau=1e-3),
    "yogi": Aggregation(rule=Rule.YOGI, server_rate=0.5, beta1=0.9, beta2=0.99, tau=1e-3),
    "median": Aggregation(rule=Rule.MEDIAN),
    "trimmed-mean": Aggregation(rule=Rule.TRIMMED_MEAN, trim=2),
    "krum": Aggregation(rule=Rule.KRUM, byzantine=2, keep=1),
    "multi-krum": Aggregation(rule=Rule.KRUM, byzantine=2, keep=3),
}

pytestmark = pytest.mark.slow


def numbers() -> dict[str, NDArray[Any]]:
    """Return a model and deltas; one site lies in every round."""
    generator = np.random.default_rng(11)
    deltas = generator.standard_normal((ROUNDS, SITES, ELEMENTS)).astype(np.float32) * np.float32(1e-2)
    deltas[:, 3] *= 20
    base = generator.standard_normal(ELEMENTS).astype(np.float32) * np.float32(0.05)
    return {"base": base, "deltas": deltas, "weights": generator.integers(10, 500, SITES)}


@pytest.fixture(scope="module")
def flower(tmp_path_factory: pytest.TempPathFactory) -> dict[str, NDArray[Any]]:
    """What Flower makes of the numbers, by rule."""
    peers = runpy.run_path(str(BENCHMARKS / "peers.py"))
    python = peers["python_of"]("flwr")
    if python is None:
        pytest.skip(peers["gap"]("flwr"))
    folder = tmp_path_factory.mktemp("flower")
    np.savez(folder / "input.npz", **numbers(), **SETTINGS)
    script = BENCHMARKS / "aggregate" / "flower_rules.py"
    subprocess.run([str(python), str(script), str(folder / "input.npz"), str(folder / "output.npz")], check=True)
    with np.load(folder / "output.npz") as file:
        return dict(file)


@pytest.mark.parametrize("name", RULES)
def test_a_rule_is_flowers(tmp_path: Path, flower: dict[str, NDArray[Any]], name: str) -> None:
    given = numbers()
    rule = rule_of(RULES[name])
    tensors.write(tmp_path / "model-0", {"w": given["base"]})
    layout = tensors.layout_of({"w": given["base"]})
    for number, deltas in enumerate(given["deltas"], 1):
        updates = []
        for site, delta in enumerate(deltas):
            path = tmp_path / f"delta-{number}-{site}"
            tensors.write(path, {"w": delta})
            updates.append(Update(site=f"s{site}", path=path, weight=int(given["weights"][site])))
        before = tmp_path / f"state-{number - 1}"
        state = StateFiles(before=before if before.exists() else None, target=tmp_path / f"state-{number}")
        base = Update(site="coordinator", path=tmp_path / f"model-{number - 1}")
        fold(rule, layout, base, updates, tmp_path / f"model-{number}", state=state)
        model = tensors.read(tmp_path / f"model-{number}")["w"]
        assert np.abs(model - flower[name][number - 1]).max() <= TOLERANCE
    assert np.abs(model - given["base"]).max() > 1000 * TOLERANCE
