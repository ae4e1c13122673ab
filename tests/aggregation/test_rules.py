"""Each rule against a plain reference, element by element, to the bit."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fedcli.aggregation.krum import Krum
from fedcli.aggregation.median import Median
from fedcli.aggregation.rules import AggregationRule, rule_of
from fedcli.aggregation.trimmed_mean import TrimmedMean
from fedcli.errors import TrustError
from fedcli.plan import Aggregation
from fedcli.plan import Rule as Name
from tests.aggregation.models import Bench, bench, same, weighted_mean

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.aggregation.models import Arrays

UNIT = 1024


def columns(
    base: Arrays, deltas: dict[str, Arrays], pick: Callable[[list[float]], float], whole: Callable[[list[int]], int]
) -> Arrays:
    """Apply a function to every coordinate's sorted values."""
    result = {}
    for name, previous in base.items():
        integer = previous.dtype == np.int64
        flat = []
        for position, value in enumerate(previous.reshape(-1)):
            column = sorted((int if integer else float)(delta[name].reshape(-1)[position]) for delta in deltas.values())
            flat.append(int(value) + whole(column) if integer else np.float32(float(value) + pick(column)))
        result[name] = np.array(flat, previous.dtype).reshape(previous.shape)
    return result


def middle(column: list[float]) -> float:
    return (column[(len(column) - 1) // 2] + column[len(column) // 2]) * 0.5


def floored_middle(column: list[int]) -> int:
    return (column[(len(column) - 1) // 2] + column[len(column) // 2]) // 2


@pytest.mark.parametrize("sites", ["a", "ab", "abc", "abcd", "abcdefg"])
@pytest.mark.parametrize("memory", [0, 1 << 20])
def test_median(tmp_path: Path, sites: str, memory: int) -> None:
    made = bench(tmp_path, dict.fromkeys(sites, 5) | {sites[0]: 500}, length=2500)
    result = made.result(AggregationRule(average=Median()), memory=memory, threads=2)
    assert same(result, columns(made.base, made.deltas, middle, floored_middle))


@pytest.mark.parametrize(("sites", "trim"), [("abc", 0), ("abc", 1), ("abcdefg", 2), ("abcdefg", 3)])
def test_trimmed_mean(tmp_path: Path, sites: str, trim: int) -> None:
    made = bench(tmp_path, dict.fromkeys(sites, 5), length=2500)
    kept = len(sites) - 2 * trim

    def mean(column: list[float]) -> float:
        total = 0.0
        for value in column[trim : trim + kept]:
            total = total + value
        return total / kept

    result = made.result(AggregationRule(average=TrimmedMean(trim=trim)), memory=0)
    assert same(result, columns(made.base, made.deltas, mean, lambda column: sum(column[trim : trim + kept]) // kept))


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations(list("abcde")), threads=st.integers(1, 3), memory=st.integers(0, 200_000))
@pytest.mark.parametrize("name", list(Name))
def test_no_rule_shows_order_threads_or_memory(tmp_path: Path, name: Name, order: list[str], threads: int, memory: int) -> None:
    made = bench(tmp_path, dict(zip("abcde", (5, 1, 9, 2, 2), strict=True)), length=9001)
    rule = replace(rule_of(Aggregation(rule=name, clip_norm=2.0)), server=None)  # the server's part has tests of its own
    assert made.fold(rule, updates=made.updates(order), threads=threads, memory=memory).model == made.fold(rule, out="o").model


def test_negative_zeros_do_not_depend_on_how_they_were_sorted(tmp_path: Path) -> None:
    base = {"w": np.full(2, -0.0, np.float32)}
    for signs in itertools.product([0.0, -0.0], repeat=3):
        deltas = {site: {"w": np.full(2, sign, np.float32)} for site, sign in zip("abc", signs, strict=True)}
        for rule in (AggregationRule(average=Median()), AggregationRule(average=TrimmedMean(trim=1))):
            assert not np.signbit(Bench(tmp_path, base, deltas, dict.fromkeys("abc", 1)).result(rule)["w"]).any()


def flat(delta: Arrays) -> np.ndarray:
    """Return the float tensors as they lie in the file, in float64."""
    return np.concatenate(
        [delta[name].reshape(-1).astype(np.float64) for name in sorted(delta) if delta[name].dtype == np.float32]
    )


def sum_of_squares(values: np.ndarray) -> float:
    """Sum squares as the rule states: by halving within units of 1024, the units in order."""
    total = 0.0
    for first in range(0, values.size, UNIT):
        unit = [value * value for value in values[first : first + UNIT].tolist()]
        unit += [0.0] * (UNIT - len(unit))
        while len(unit) > 1:
            half = len(unit) // 2
            unit = [unit[number] + unit[number + half] for number in range(half)]
        total = total + unit[0]
    return total


def krum_by_hand(deltas: dict[str, Arrays], byzantine: int, keep: int) -> set[str]:
    scores = []
    for site in sorted(deltas):
        near = sorted(sum_of_squares(flat(deltas[site]) - flat(deltas[other])) for other in deltas if other != site)
        score = 0.0
        for distance in near[: len(deltas) - byzantine - 2]:
            score = score + distance
        scores.append((score, site))
    return {site for _, site in sorted(scores)[:keep]}


@pytest.mark.parametrize(("byzantine", "keep"), [(0, 1), (1, 1), (2, 1), (2, 3), (1, 6)])
@pytest.mark.parametrize("memory", [0, 1 << 20])
def test_krum_is_the_papers_on_the_stated_sums(tmp_path: Path, byzantine: int, keep: int, memory: int) -> None:
    weights = dict(zip("abcdefg", (5, 1, 9, 2, 2, 7, 3), strict=True))
    made = bench(tmp_path, weights, length=3001)
    chosen = krum_by_hand(dict(made.deltas), byzantine, keep)
    rule = AggregationRule(krum=Krum(byzantine=byzantine, keep=keep))
    folded = made.fold(rule, memory=memory, threads=2)
    assert {share.site: share.weight for share in folded.shares} == {s: w if s in chosen else 0 for s, w in weights.items()}
    assert same(made.result(rule), weighted_mean(made.base, {site: made.deltas[site] for site in chosen}, weights))


@pytest.mark.parametrize("keep", [1, 3])
def test_krum_chooses_honest_updates(tmp_path: Path, keep: int) -> None:
    """Two that lie together, far from the others: closer to one another than the honest ones are, and never chosen."""
    generator = np.random.default_rng(5)
    deltas = {site: {"w": generator.normal(1.0, 0.1, 5000).astype(np.float32)} for site in "cdefg"}
    deltas |= {site: {"w": np.full(5000, -50.0, np.float32)} for site in "ab"}
    made = Bench(tmp_path, {"w": np.zeros(5000, np.float32)}, deltas, dict.fromkeys("abcdefg", 1))
    shares = made.fold(AggregationRule(krum=Krum(byzantine=2, keep=keep))).shares
    chosen = {share.site for share in shares if share.weight}
    assert len(chosen) == keep
    assert chosen <= set("cdefg")
    assert all((share.cosine or 0) < 0 for share in shares if share.site in "ab")
    assert abs(made.result(AggregationRule(average=Median()))["w"].mean() - 1) < 0.1
    assert abs(made.result(AggregationRule(average=TrimmedMean(trim=2)))["w"].mean() - 1) < 0.1
    assert abs(made.result()["w"].mean() - 1) > 10


def test_of_equal_scores_the_first_by_name_is_chosen(tmp_path: Path) -> None:
    one = {"w": np.ones(3, np.float32)}
    made = Bench(tmp_path, one, dict.fromkeys("cba", one), dict.fromkeys("cba", 4))
    shares = made.fold(AggregationRule(krum=Krum(byzantine=0, keep=1))).shares
    assert [(share.site, share.weight) for share in shares] == [("a", 4), ("b", 0), ("c", 0)]


@pytest.mark.parametrize("trained_only", [True, False])
def test_krum_and_clipping_measure_trained_weights_unless_the_plan_says_otherwise(tmp_path: Path, *, trained_only: bool) -> None:
    """Two liars turn their weights, and send the statistics of the site in the middle, which are nearly all of the distance."""
    generator = np.random.default_rng(8)
    statistics = {site: generator.normal(0, 100, 40).astype(np.float32) for site in "abcde"}
    statistics |= dict.fromkeys("fg", sum(statistics.values()) / np.float32(5))
    deltas = {
        site: {
            "bn.running_var": statistics[site],
            "w": generator.normal(1.0 if site in "abcde" else -1.0, 0.1, 3000).astype(np.float32),
        }
        for site in "abcdefg"
    }
    base = {"bn.running_var": np.zeros(40, np.float32), "w": np.zeros(3000, np.float32)}
    made = Bench(tmp_path, base, deltas, dict.fromkeys("abcdefg", 1))
    shares = made.fold(AggregationRule(krum=Krum(byzantine=2, keep=1), trained_only=trained_only)).shares
    assert {share.site for share in shares if share.weight} <= set("abcde" if trained_only else "fg")
    clipped = made.fold(AggregationRule(clip_norm=1.0, trained_only=trained_only)).shares
    assert all((abs(share.trained_norm - 1) < 1e-5) is trained_only for share in clipped)
    for share in clipped:
        squares = sum(np.square(value, dtype=np.float64).sum() for value in deltas[share.site].values())
        assert share.norm == pytest.approx(math.sqrt(squares), rel=1e-5)


@pytest.mark.parametrize("memory", [0, 1 << 20])
def test_clipping(tmp_path: Path, memory: int) -> None:
    weights = {"a": 3, "b": 5}
    made = bench(tmp_path, weights, length=2500)
    norms = {site: math.sqrt(sum_of_squares(flat(delta))) for site, delta in made.deltas.items()}
    bound = sum(norms.values()) / 2
    clipped = {}
    for site, delta in made.deltas.items():
        scale = bound / norms[site] if norms[site] > bound else 1.0
        clipped[site] = {n: (v * np.float64(scale)).astype(np.float32) if v.dtype == np.float32 else v for n, v in delta.items()}
    rule = AggregationRule(clip_norm=bound)
    assert same(made.result(rule, memory=memory, threads=2), weighted_mean(made.base, clipped, weights))
    for share in made.fold(rule).shares:
        assert share.norm == float(f"{norms[share.site]:.6g}")  # as it was sent
    rule = AggregationRule(clip_norm=max(norms.values()) * 1.01)
    assert same(made.result(rule), weighted_mean(made.base, made.deltas, weights))


def test_clipping_with_more_sites_than_stand_together(tmp_path: Path) -> None:
    weights = {f"s{number:03d}": 1 for number in range(258)}
    made = bench(tmp_path, weights, length=2000)
    one = dict(itertools.islice(made.deltas.items(), 1))
    alone = Bench(tmp_path, made.base, one, {"s000": 1}).fold(AggregationRule(clip_norm=1e-3)).shares[0]
    made = Bench(tmp_path, made.base, made.deltas, weights)
    assert made.fold(AggregationRule(clip_norm=1e-3), memory=0).shares[0].norm == alone.norm


def test_too_few_updates_for_the_rule_are_refused_with_the_number(tmp_path: Path) -> None:
    made = bench(tmp_path, {"a": 1, "b": 1, "c": 1, "d": 1})
    with pytest.raises(TrustError, match="needs at least 5 updates, found 4"):
        made.fold(rule_of(Aggregation(rule=Name.KRUM, byzantine=1)))
    with pytest.raises(TrustError, match="needs at least 7 updates, found 4"):
        made.fold(rule_of(Aggregation(rule=Name.TRIMMED_MEAN, trim=3)))
    assert not (tmp_path / "out").exists()
