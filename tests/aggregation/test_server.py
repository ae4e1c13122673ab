"""The rules whose server remembers: against the papers' lines element by element, over rounds, with the state in a file."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from fedcli import disk, tensors
from fedcli.aggregation.fold import StateFiles
from fedcli.aggregation.rules import AggregationRule, rule_of
from fedcli.aggregation.server_state import TrainedElements, state_layout
from fedcli.errors import TrustError
from fedcli.plan import Aggregation
from fedcli.plan import Rule as Name
from tests.aggregation.models import Bench, arrays, same, weighted_mean

if TYPE_CHECKING:
    from pathlib import Path

    from tests.aggregation.models import Arrays

SETTINGS = {
    Name.MOMENTUM: Aggregation(rule=Name.MOMENTUM, momentum=0.8, server_rate=0.7),
    Name.ADAM: Aggregation(rule=Name.ADAM, server_rate=0.01, beta1=0.9, beta2=0.95, tau=1e-3),
    Name.YOGI: Aggregation(rule=Name.YOGI, server_rate=0.01, beta1=0.9, beta2=0.95, tau=1e-3),
}
WEIGHTS = {"a": 7, "b": 2, "c": 3}


def moved(settings: Aggregation, mean: float, state: list[np.float32]) -> tuple[float, list[np.float32]]:
    """Return one weight's movement and state by the papers' lines, in Python's floats."""
    if settings.rule is Name.MOMENTUM:
        velocity = np.float32(settings.momentum * float(state[0]) + mean)
        return settings.server_rate * float(velocity), [velocity]
    first, second = map(float, state)
    square = mean * mean
    first = float(np.float32(settings.beta1 * first + (1 - settings.beta1) * mean))
    if settings.rule is Name.ADAM:
        after = settings.beta2 * second + (1 - settings.beta2) * square
    else:
        after = second - (1 - settings.beta2) * square * float(np.sign(second - square))
    second = float(np.float32(after))
    return settings.server_rate * first / (math.sqrt(second) + settings.tau), [np.float32(first), np.float32(second)]


def by_hand(settings: Aggregation, base: Arrays, deltas: dict[str, Arrays], state: dict[str, np.ndarray]) -> Arrays:
    """Return the next model, and change the state."""
    total = sum(WEIGHTS.values())
    result = weighted_mean(base, deltas, WEIGHTS)  # buffers and integers keep the mean
    names = ["momentum"] if settings.rule is Name.MOMENTUM else ["momentum", "variance"]
    for name, previous in base.items():
        if previous.dtype != np.float32 or name.endswith(("running_mean", "running_var")):
            continue
        for position in np.ndindex(previous.shape):
            accumulated = 0.0
            for site in sorted(deltas):
                accumulated = accumulated + WEIGHTS[site] * float(deltas[site][name][position])
            before = [state[f"{kind}/{name}"][position] for kind in names]
            movement, after = moved(settings, accumulated / total, before)
            result[name][position] = np.float32(float(previous[position]) + movement)
            for kind, value in zip(names, after, strict=True):
                state[f"{kind}/{name}"][position] = value
    return result


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize(("memory", "threads"), [(0, 2), (1 << 20, 1)])
def test_three_rounds_are_the_papers(tmp_path: Path, name: Name, memory: int, threads: int) -> None:
    settings = SETTINGS[name]
    rule = rule_of(settings)
    model, before = arrays(0, length=9001), None
    floats = {key: value for key, value in model.items() if value.dtype == np.float32 and "running" not in key}
    expected = {f"momentum/{key}": np.zeros_like(value) for key, value in floats.items()}
    if name is not Name.MOMENTUM:
        expected |= {f"variance/{key}": np.full_like(value, settings.tau**2) for key, value in floats.items()}
    for number in (1, 2, 3):
        deltas = {site: arrays(10 * number + offset, scale=1e-3, length=9001) for offset, site in enumerate(WEIGHTS)}
        made = Bench(tmp_path, model, deltas, WEIGHTS)
        files = StateFiles(before=before, target=tmp_path / f"state-{number}")
        folded = made.fold(rule, state=files, memory=memory, threads=threads)
        model = by_hand(settings, model, deltas, expected)
        assert same(tensors.read(tmp_path / "out"), model)
        assert same(tensors.read(files.target), expected)
        assert folded.state == disk.measure(files.target)
        before = files.target


def test_momentum_of_nothing_at_rate_one_is_the_mean(tmp_path: Path) -> None:
    deltas = {site: arrays(number, scale=1e-3) for number, site in enumerate(WEIGHTS, 1)}
    deltas = {site: {n: v for n, v in delta.items() if n != "classifier.bias"} for site, delta in deltas.items()}
    base = {n: v for n, v in arrays(0).items() if n != "classifier.bias"}
    made = Bench(tmp_path, base, deltas, WEIGHTS)
    rule = rule_of(Aggregation(rule=Name.MOMENTUM, momentum=0.0, server_rate=1.0))
    result = made.result(rule, state=StateFiles(before=None, target=tmp_path / "state"))
    expected = made.result()
    for name, value in result.items():  # the velocity is rounded to float32 on its way
        np.testing.assert_allclose(value, expected[name], rtol=1e-6, atol=1e-9)


def test_a_state_of_another_rule_or_model_is_refused(tmp_path: Path) -> None:
    made = Bench(tmp_path, arrays(0), {"a": arrays(1)}, {"a": 1})
    momentum, adam = rule_of(SETTINGS[Name.MOMENTUM]), rule_of(SETTINGS[Name.ADAM])
    made.fold(momentum, state=StateFiles(before=None, target=tmp_path / "state"))
    with pytest.raises(TrustError, match=r"not the server state of this rule and model: .* missing tensors, first variance/"):
        made.fold(adam, state=StateFiles(before=tmp_path / "state", target=tmp_path / "next"), out="again")
    with (tmp_path / "state").open("r+b") as file:
        file.truncate(disk.measure(tmp_path / "state").size - 4)
    with pytest.raises(TrustError, match="the server state is cut off"):
        made.fold(momentum, state=StateFiles(before=tmp_path / "state", target=tmp_path / "next"), out="again")
    assert not list(tmp_path.glob("*again*")) + list(tmp_path.glob("*next*"))


def test_a_state_of_another_number_of_rounds_is_refused(tmp_path: Path) -> None:
    made = Bench(tmp_path, arrays(0), {"a": arrays(1)}, {"a": 1})
    made.fold(averaged(3), state=StateFiles(before=None, target=tmp_path / "state"))
    for rounds, named in ((4, "missing tensors, first difference_03/"), (2, "extra tensors, first difference_02/")):
        with pytest.raises(TrustError, match=f"not the server state of this rule and model: .*{named}"):
            made.fold(averaged(rounds), state=StateFiles(before=tmp_path / "state", target=tmp_path / "next"), out="again")


def averaged(rounds: int) -> AggregationRule:
    return rule_of(Aggregation(rule=Name.AVERAGED, averaged_rounds=rounds))


@pytest.mark.parametrize("rounds", [2, 3, 12])
def test_a_model_is_the_average_of_the_last(tmp_path: Path, rounds: int) -> None:
    """Against the formula in float64, where models before the first round are φ(0); buffers and integers take the mean."""
    initial, before = arrays(0, length=9001), None
    weights = [key for key, value in initial.items() if value.dtype == np.float32 and "running" not in key]
    model, made_models = initial, {key: [initial[key].astype(np.float64)] * rounds for key in weights}
    for number in range(1, 8):
        deltas = {site: arrays(10 * number + offset, scale=1e-3, length=9001) for offset, site in enumerate(WEIGHTS)}
        made = Bench(tmp_path, model, deltas, WEIGHTS)
        files = StateFiles(before=before, target=tmp_path / f"state-{number}")
        folded = made.fold(averaged(rounds), state=files, memory=0, threads=2)
        after, plain = tensors.read(tmp_path / "out"), weighted_mean(model, deltas, WEIGHTS)
        for key in weights:
            mean = sum(WEIGHTS[site] * deltas[site][key].astype(np.float64) for site in deltas) / sum(WEIGHTS.values())
            made_models[key] = [*made_models[key][1:], model[key].astype(np.float64) + mean]
            error = np.abs(after[key] - np.mean(made_models[key], axis=0))
            assert (error <= 1e-6 * np.max(np.abs(made_models[key]), axis=0)).all()
        assert all(np.array_equal(after[key], plain[key]) for key in after.keys() - set(weights))
        again = StateFiles(before=before, target=tmp_path / "again")
        assert made.fold(averaged(rounds), state=again, memory=1 << 20, threads=1) == folded
        model, before = after, files.target


def test_means_that_stay_the_same_move_an_average_by_two_of_n_plus_one() -> None:
    server = averaged(5).server
    assert server is not None
    state = tuple(np.full(1, initial, np.float32) for _, initial in server.state)
    moved = []
    for _ in range(200):
        movement, state = server.step(np.ones(1), state)
        moved.append(float(movement[0]))
    assert moved[0] == pytest.approx(0.2)
    assert moved[-1] == pytest.approx(2 / 6, rel=1e-5)


def test_which_elements_are_weights(tmp_path: Path) -> None:
    model = tensors.layout_of(arrays(0))
    trained = TrainedElements(model)
    names = [item for item in model.tensors if item.dtype == "F32" and item.begin != item.end]
    assert [item.name for item in names] == ["classifier.bias", "norm.running_mean", "norm.running_var", "stem.weight"]
    assert trained.count == 1003 + 72
    for first in range(0, 1091, 7):
        for last in (first + 1, first + 5, 1091):
            mask, position = trained.within(first, last - first)
            inside = (np.flatnonzero(mask) + first).tolist()
            assert inside == [number for number in range(first, min(last, 1091)) if number < 1003 or number >= 1019]
            assert not inside or position == sum(1 for number in range(inside[0]) if number < 1003 or number >= 1019)


def test_the_state_holds_weights_alone() -> None:
    server = rule_of(SETTINGS[Name.ADAM]).server
    assert server is not None
    layout = state_layout(server, tensors.layout_of(arrays(0)))
    assert [item.name for item in layout.tensors] == [
        f"{kind}/{name}" for kind in ("momentum", "variance") for name in ("classifier.bias", "empty", "stem.weight")
    ]
    assert {item.dtype for item in layout.tensors} == {"F32"}
    assert AggregationRule().server is None
