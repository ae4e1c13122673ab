"""A value of the model that would leave its range names the sites that take it there, and only these."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedcli import disk, tensors
from fedcli.aggregation.fold import StateFiles, fold
from fedcli.aggregation.overflow import culprits
from fedcli.aggregation.rules import rule_of
from fedcli.aggregation.update import Update, UpdateError
from fedcli.errors import TrustError
from fedcli.plan import Aggregation, Rule
from tests.aggregation.models import Bench

if TYPE_CHECKING:
    from pathlib import Path

    from tests.aggregation.models import Arrays

LARGEST = float(np.finfo(np.float32).max)
MOMENTUM = Aggregation(rule=Rule.MOMENTUM, momentum=0.9)


def model(weight: float, counter: int = 0) -> Arrays:
    """Return a model of one value that matters."""
    weights = np.zeros(3000, np.float32)
    weights[2500] = weight
    return {"layer.weight": weights, "norm.num_batches_tracked": np.array(counter, np.int64)}


def bench(folder: Path, base: float, **deltas: float) -> Bench:
    return Bench(folder, model(base), {site: model(delta) for site, delta in deltas.items()}, dict.fromkeys(deltas, 1))


def refused(made: Bench, settings: Aggregation | None = None, *, state: StateFiles | None = None) -> dict[str, str]:
    """Fold, which refuses some sites; return the reasons. Nothing is written."""
    rule = rule_of(settings or Aggregation())
    if state is None and rule.server is not None:
        state = StateFiles(before=None, target=made.folder / "state")
    with pytest.raises(UpdateError) as caught:
        made.fold(rule, state=state)
    assert not (made.folder / "out").exists()
    return caught.value.reasons


@given(
    st.floats(-10, 10),
    st.lists(st.tuples(st.floats(-100, 100), st.integers(1, 9)), min_size=1, max_size=7),
)
def test_every_named_update_is_needed_and_together_they_suffice(base: float, sites: list[tuple[float, int]]) -> None:
    def value(kept: list[int]) -> float:
        total = sum(sites[number][1] for number in kept)
        return base + sum(sites[number][0] * sites[number][1] for number in kept) / total if kept else base

    every = list(range(len(sites)))
    named = culprits([delta for delta, _ in sites], value(every), lambda kept: abs(value(kept)) <= 20)
    if abs(value(every)) > 20:
        assert abs(value([number for number in every if number not in named])) <= 20
        for spared in named:
            assert abs(value([number for number in every if number not in named or number == spared])) > 20


def test_nobody_is_named_where_nobodys_removal_helps() -> None:
    assert culprits([1.0, 2.0], 99.0, lambda _: False) == []


def test_a_site_is_named_with_the_value_that_it_moves(tmp_path: Path) -> None:
    made = bench(tmp_path, LARGEST * 0.9, north=LARGEST * 0.9, valley=0.25, west=-0.25)
    reason = "the update of north moves tensor layer.weight out of its range, from 3.06254e+38 by 3.06254e+38"
    assert refused(made) == {"north": reason}


def test_two_sites_that_only_together_leave_the_range_are_one_too_many(tmp_path: Path) -> None:
    made = bench(tmp_path, LARGEST * 0.5, a=LARGEST * 0.9, b=LARGEST * 0.9, c=0.25)
    assert len(refused(made)) == 1


def test_all_sites_that_have_to_go_are_named(tmp_path: Path) -> None:
    made = bench(tmp_path, -LARGEST * 0.99, a=-LARGEST, b=-LARGEST, c=0.25, d=LARGEST * 1e-3)
    assert list(refused(made)) == ["a", "b"]


@pytest.mark.parametrize("rule", [Rule.MEDIAN, Rule.TRIMMED_MEAN, Rule.ADAM, Rule.YOGI, Rule.MOMENTUM, Rule.AVERAGED, Rule.KRUM])
def test_under_every_rule(tmp_path: Path, rule: Rule) -> None:
    honest = dict.fromkeys("cdefg", 1e-3)
    spread = {"a": LARGEST, "b": LARGEST} if rule is not Rule.KRUM else dict.fromkeys("abhijk", LARGEST)
    if rule in {Rule.MEDIAN, Rule.TRIMMED_MEAN}:
        spread |= dict.fromkeys("hijkl", LARGEST)
    settings = Aggregation(rule=rule, server_rate=100.0 if rule in {Rule.ADAM, Rule.YOGI} else 1.0, keep=2)
    made = bench(tmp_path, LARGEST * 0.99, **honest, **spread)
    named = refused(made, settings)
    assert named
    assert set(named) <= set(spread)


def test_a_state_that_would_overflow_counts_too(tmp_path: Path) -> None:
    """The variance of Adam is a square: it overflows long before the model, and would then stop all movement for ever."""
    made = bench(tmp_path, 0.0, a=1e22, b=1e-3, c=1e-3)
    assert list(refused(made, Aggregation(rule=Rule.ADAM, server_rate=0.01))) == ["a"]


def test_a_state_that_overflows_by_itself_names_nobody(tmp_path: Path) -> None:
    made = bench(tmp_path, LARGEST * 0.8, a=0.0, b=0.0)
    tensors.write(tmp_path / "before", {"momentum/layer.weight": model(LARGEST)["layer.weight"]})
    state = StateFiles(before=tmp_path / "before", target=tmp_path / "state")
    with pytest.raises(
        TrustError, match=r"tensor layer.weight of the global model would leave its range, whichever sites take part"
    ) as caught:
        made.fold(rule_of(MOMENTUM), state=state)
    assert not isinstance(caught.value, UpdateError)


def test_clipped_updates_are_judged_as_they_are_used(tmp_path: Path) -> None:
    made = bench(tmp_path, LARGEST * 0.9, a=LARGEST, b=0.25)
    assert np.isfinite(made.result(rule_of(Aggregation(clip_norm=1.0)))["layer.weight"]).all()


def test_integers_name_their_site_too(tmp_path: Path) -> None:
    deltas = {"a": model(0, 2**63 - 1), "b": model(0, 3), "c": model(0, 4)}
    made = Bench(tmp_path, model(0, 2**62), deltas, {"a": 5, "b": 1, "c": 1})
    reason = "the update of a moves tensor norm.num_batches_tracked out of its range, from 4.61169e+18 by 9.22337e+18"
    assert refused(made) == {"a": reason}


def test_a_counter_is_bounded_by_the_steps(tmp_path: Path) -> None:
    deltas = {site: model(0, counter) for site, counter in (("a", 11), ("b", 10), ("c", -1), ("d", 0))}
    made = Bench(tmp_path, model(0, 2**40), deltas, dict.fromkeys(deltas, 1))
    bounded = [replace(update, most_counted=10) for update in made.updates()]
    with pytest.raises(UpdateError) as caught:
        made.fold(updates=bounded)
    assert caught.value.reasons == {
        "a": "the update of a counts 11 in tensor norm.num_batches_tracked, expected 0 to its 10 steps",
        "c": "the update of c counts -1 in tensor norm.num_batches_tracked, expected 0 to its 10 steps",
    }
    made.fold()  # without a bound


def buffers(mean: float, variance: float) -> Arrays:
    """Return a layer of one weight, and its statistics."""
    return {
        "layer.weight": np.ones(2000, np.float32),
        "norm.running_mean": np.full(3, mean, np.float32),
        "norm.running_var": np.full(3, variance, np.float32),
    }


@pytest.mark.parametrize(
    ("mean", "variance", "named"),
    [(0.0, -10.0, "running_var"), (0.0, -0.6, ""), (-2e16, 0.0, "running_mean"), (0.0, 2e16, "running_var"), (-5.0, 0.1, "")],
)
def test_buffers_that_no_network_can_use_are_refused(tmp_path: Path, mean: float, variance: float, named: str) -> None:
    """One element below 0 would stop every honest site in the next round."""
    made = Bench(tmp_path, buffers(0.0, 1.0), {"a": buffers(mean, variance), "b": buffers(0.0, -0.5)}, {"a": 1, "b": 1})
    bounded = [replace(update, most_counted=10) for update in made.updates()]
    if named:
        with pytest.raises(UpdateError) as caught:
            made.fold(updates=bounded)
        assert list(caught.value.reasons) == ["a"]
        assert f"moves tensor norm.{named} out of its range" in caught.value.reasons["a"]
    else:
        made.fold(updates=bounded)
    made.fold()  # without a bound


def test_a_variance_that_rounding_takes_below_zero_is_honest(tmp_path: Path) -> None:
    base = np.float32(1000.1)
    delta = np.float32(0) - base
    made = Bench(
        tmp_path, buffers(0.0, float(base)), {"a": buffers(0.0, float(np.nextafter(delta, np.float32(-np.inf))))}, {"a": 1}
    )
    made.fold(updates=[replace(update, most_counted=10) for update in made.updates()])


@pytest.mark.parametrize(("swapped", "named"), [("site-a", "a"), ("base", "coordinator")])
def test_a_swapped_file_is_named_for_what_it_is(tmp_path: Path, swapped: str, named: str) -> None:
    """Whoever runs the store can write any numbers: no site is accused of them, nor of what follows from them."""
    made = bench(tmp_path, 0.0, a=1.0, b=LARGEST)
    base = Update(site="coordinator", path=tmp_path / "base", sha256=disk.measure(tmp_path / "base").sha256)
    updates = made.updates(hashed=True)
    (tmp_path / swapped).unlink()
    tensors.write(tmp_path / swapped, model(LARGEST))
    if named == "a":
        base = replace(base, path=tmp_path / "larger", sha256=None)
        tensors.write(tmp_path / "larger", model(LARGEST * 0.9))
    with pytest.raises(UpdateError) as caught:
        fold(rule_of(Aggregation()), tensors.layout_of(made.base), base, updates, None)
    assert "SHA-256" in caught.value.reasons[named]
