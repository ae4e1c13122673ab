"""Masks cancel whoever drops out, the model is the weighted mean, and one masked update is noise."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedcli import tensors
from fedcli.aggregation.fold import fold
from fedcli.aggregation.rules import AggregationRule
from fedcli.aggregation.update import Update
from fedcli.errors import TrustError
from fedcli.privacy.masking import shamir
from fedcli.privacy.masking.mask_keys import Mask
from fedcli.privacy.masking.masked_delta import masked_blocks
from fedcli.privacy.masking.unmasked_sum import MaskedUpdate, SumFacts, new_model_blocks, sums
from fedcli.privacy.masking.word_pieces import StreamLengthError
from fedcli.tensors import TensorError
from tests.aggregation.models import arrays as model_arrays
from tests.privacy.masking.masked_round import MaskedRound, arrays_in, data_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    Arrays = dict[str, NDArray[Any]]

NAMES = [f"{letter}-{number}" for number, letter in enumerate("nqjxbtmfzc")]


def small(seed: int) -> Arrays:
    generator = np.random.default_rng(seed)
    return {
        "weight": (generator.standard_normal(11) * 1e-3).astype(np.float32),
        "norm.running_var": generator.random(3).astype(np.float32),
        "norm.num_batches_tracked": np.array(generator.integers(0, 50)),
    }


def quantised_sum(masked_round: MaskedRound, survivors: list[str]) -> list[int]:
    """Return S with Python's integers, from nothing but deltas and weights."""
    columns = []
    for site in survivors:
        delta, weight = masked_round.deltas[site], masked_round.weights[site]
        whole = [int(value) * weight for value in delta["norm.num_batches_tracked"].ravel()]
        floats = [*delta["norm.running_var"].tolist(), *delta["weight"].tolist()]
        columns.append(whole + [round(value * weight * 2**32) for value in floats])
    return [sum(column) for column in zip(*columns, strict=True)]


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_masks_cancel_whoever_drops_out(data: st.DataObject) -> None:
    """Participants U0 of K members, survivors U1 of these, and any T members who answer: S is exact, for K = 3 to 10."""
    num_members = data.draw(st.integers(3, 10))
    needed = max(3, shamir.threshold(num_members))
    members = NAMES[:num_members]
    participants = sorted(data.draw(st.permutations(members))[: data.draw(st.integers(needed, num_members))])
    survivors = data.draw(st.permutations(participants))[: data.draw(st.integers(needed, len(participants)))]
    answering = data.draw(st.permutations(members))[: data.draw(st.integers(needed, num_members))]
    masked_round = MaskedRound(
        deltas={site: small(number) for number, site in enumerate(members)},
        weights={site: data.draw(st.integers(1, 1 << 20)) for site in members},
        participants=participants,
        seed=data.draw(st.integers(0, 1000)),
    )
    assert masked_round.totals(survivors, answering).tolist() == quantised_sum(masked_round, survivors)


@pytest.mark.parametrize("num_members", range(3, 11))
def test_the_sum_comes_out_after_as_many_losses_as_are_tolerated_and_not_after_one_more(num_members: int) -> None:
    members = NAMES[:num_members]
    masked_round = MaskedRound(
        deltas={site: small(number) for number, site in enumerate(members)}, weights=dict.fromkeys(members, 7)
    )
    losses = shamir.tolerated_losses(num_members)
    survivors = masked_round.members[losses:]
    assert masked_round.totals(survivors, survivors).tolist() == quantised_sum(masked_round, survivors)
    too_few = masked_round.restored(survivors, survivors[1:])
    assert not too_few.complete
    assert too_few.lacking == dict.fromkeys(masked_round.members, 1)
    assert too_few.secrets == {}


def test_without_one_secret_the_sum_stays_covered() -> None:
    """What is left of the masks of one site, or of one pair, is noise."""
    masked_round = MaskedRound(deltas={site: small(0) for site in "abcde"}, weights=dict.fromkeys("abcde", 1))
    expected = np.array(quantised_sum(masked_round, list("abcd")), np.int64)
    updates = {site: masked_round.masked(site) for site in "abcd"}
    streams = [MaskedUpdate(site, io.BytesIO(data)) for site, data in updates.items()]
    (*parts,) = sums(streams, masked_round.layout, [], 1)
    covered = np.concatenate(parts) - expected
    assert np.abs(covered.astype(np.float64)).min() > 2.0**48


def test_order_and_threads_change_no_bit() -> None:
    masked_round = MaskedRound(
        deltas={site: model_arrays(number, length=140_000, scale=1e-3) for number, site in enumerate("abcdef")},
        weights={site: 5 + number for number, site in enumerate("abcdef")},
    )
    deltas = {site: limited(delta) for site, delta in masked_round.deltas.items()}
    masked_round.deltas = deltas
    updates = {site: masked_round.masked(site) for site in "abcde"}
    first = masked_round.totals(list("abcde"), list("abcde"), updates=updates)
    for order, threads in (("edcba", 1), ("cadbe", 2), ("bdeac", 5), ("abcde", 9)):
        again = masked_round.totals(list(order), list("fbcde"), threads=threads, updates=updates)
        assert np.array_equal(first, again)


def limited(delta: Arrays) -> Arrays:
    """Return a delta whose floats can be summed: the models of the plain mean's tests have far larger ones."""
    return {name: value if value.dtype.kind == "i" else np.clip(value, -1, 1) for name, value in delta.items()}


@pytest.mark.parametrize("num_members", [3, 5, 10])
def test_the_model_is_that_of_the_plain_mean(num_members: int, tmp_path: Path) -> None:
    """Within 1e-6 of the step's norm in the weights, and equal in every integer; one tolerated loss included."""
    generator = np.random.default_rng(num_members)
    members = NAMES[:num_members]
    base = network(generator, 1.0)
    deltas = {site: network(generator, 1e-4) for site in members}
    masked_round = MaskedRound(deltas=deltas, weights={site: int(generator.integers(3, 300)) for site in members})
    survivors = masked_round.members[shamir.tolerated_losses(num_members) :]
    masked = masked_round.model(base, survivors, masked_round.totals(survivors, survivors))
    plain = plain_mean(tmp_path, base, {site: deltas[site] for site in survivors}, masked_round.weights)
    assert masked.keys() == plain.keys()
    for name, value in plain.items():
        if value.dtype.kind == "i":
            assert np.array_equal(masked[name], value)
    exact, step = exact_steps(base, {site: deltas[site] for site in survivors}, masked_round.weights)
    quantisation = np.concatenate([masked_exact.ravel() for masked_exact in exact]) - np.concatenate(
        [each.ravel() for each in step]
    )
    norm = np.linalg.norm(np.concatenate([each.ravel() for each in step]))
    assert 0 < np.linalg.norm(quantisation) < 1e-6 * norm
    differing = sum(int((masked[name] != value).sum()) for name, value in plain.items())
    assert differing < 1e-3 * sum(value.size for value in plain.values())  # float32's rounding hides nearly all of it
    for name, value in plain.items():
        if value.dtype.kind == "f":
            rounding = len(survivors) * 2.0**-33 / sum(masked_round.weights[site] for site in survivors)
            assert (np.abs(masked[name].astype(np.float64) - value) <= np.spacing(np.abs(value)) + rounding).all()


def network(generator: np.random.Generator, scale: float) -> Arrays:
    return {
        "conv.weight": (generator.standard_normal((64, 32, 3, 3)) * scale).astype(np.float32),
        "norm.running_mean": (generator.standard_normal(64) * scale).astype(np.float32),
        "norm.running_var": (1 + generator.random(64) * scale).astype(np.float32),
        "norm.num_batches_tracked": np.array(generator.integers(0, 300)),
        "fc.bias": (generator.standard_normal(4) * scale).astype(np.float32),
    }


def exact_steps(
    base: Arrays, deltas: Mapping[str, Arrays], weights: Mapping[str, int]
) -> tuple[list[NDArray[np.float64]], list[NDArray[np.float64]]]:
    """Return the step of each float tensor with and without quantisation, in float64 before it is rounded to float32."""
    total = sum(weights[site] for site in deltas)
    names = [name for name, value in base.items() if value.dtype.kind == "f"]
    quantised = [sum(np.rint(weights[site] * delta[name] * 2.0**32) for site, delta in wide(deltas)) for name in names]
    plain = [sum(weights[site] * delta[name] for site, delta in wide(deltas)) / total for name in names]
    return [np.asarray(value) / 2.0**32 / total for value in quantised], [np.asarray(value) for value in plain]


def wide(deltas: Mapping[str, Arrays]) -> list[tuple[str, dict[str, NDArray[np.float64]]]]:
    return [(site, {name: value.astype(np.float64) for name, value in delta.items()}) for site, delta in deltas.items()]


def plain_mean(folder: Path, base: Arrays, deltas: Mapping[str, Arrays], weights: Mapping[str, int]) -> Arrays:
    for name, model in {"base": base, **deltas}.items():
        tensors.write(folder / name, model)
    updates = [Update(site=site, path=folder / site, weight=weights[site]) for site in deltas]
    fold(AggregationRule(), tensors.layout_of(base), Update(site="", path=folder / "base"), updates, folder / "model")
    return tensors.read(folder / "model")


def model_of(base: Arrays, totals: list[list[int]], facts: SumFacts) -> Arrays:
    parts = [np.array(part, np.int64) for part in totals]
    return arrays_in(b"".join(new_model_blocks(data_of(base), tensors.layout_of(base), parts, facts)))


def test_integers_are_floored_and_floats_rounded_as_the_protocol_says() -> None:
    base = {"count": np.array([10, 10, 10, 10]), "weight": np.array([1, 0, 2**-24, 0], np.float32)}
    halves = [2**32, -(2**63), 2**32 * 3, 2**63 - 1]
    model = model_of(base, [[7, -7, 6, 0], halves], SumFacts(weight=3, num_updates=3))
    assert model["count"].tolist() == [12, 7, 12, 10]
    expected = [float(value) + float(total) / (2.0**32 * 3) for value, total in zip(base["weight"], halves, strict=True)]
    assert model["weight"].tolist() == np.array(expected, np.float32).tolist()


def test_the_extremes_of_int64() -> None:
    edges = {"count": np.array([2**63 - 2, -(2**63) + 1])}
    assert model_of(edges, [[3, -3]], SumFacts(weight=3, num_updates=3))["count"].tolist() == [2**63 - 1, -(2**63)]
    for total in ([6, 0], [0, -6], [2**63 - 1, 0], [0, -(2**63)]):
        with pytest.raises(TrustError, match="tensor count of the global model leaves its range, by the sum of the masked"):
            model_of(edges, [total], SumFacts(weight=3, num_updates=3))
    largest = np.finfo(np.float32).max  # half a unit in its last place is 2**103, and no sum moves a weight by more than 2**31
    weights = {"weight": np.array([largest, -largest])}
    moved = model_of(weights, [[2**63 - 1, -(2**63)]], SumFacts(weight=1, num_updates=3))["weight"]
    assert moved.tolist() == [largest, -largest]
    for value in (np.nan, np.inf):
        with pytest.raises(TrustError, match="tensor weight of the global model is not finite"):
            model_of({"weight": np.array([value], np.float32)}, [[0]], SumFacts(weight=1, num_updates=3))


def test_buffers_and_counts_are_bounded_where_the_plan_bounds_them() -> None:
    base = {"a.running_var": np.array([1.0, 1e-12], np.float32), "b.num_batches_tracked": np.array(5)}
    facts = SumFacts(weight=10, num_updates=4, most_counted=120)
    assert model_of(base, [[120], [0, 0]], facts)["b.num_batches_tracked"] == 17
    for count in (-1, 121):
        with pytest.raises(TrustError, match=r"tensor b\.num_batches_tracked .* counts more than the sites' steps, or backwards"):
            model_of(base, [[count], [0, 0]], facts)
    rounding = model_of(base, [[0], [0, -2]], facts)["a.running_var"]  # 4 updates are rounded by half a unit each
    assert -5e-11 < rounding[1] < 0
    for total in ([0, -3], [-11 * 2**32, 0]):
        with pytest.raises(TrustError, match=r"tensor a\.running_var of the global model becomes negative"):
            model_of(base, [[0], total], facts)
    large = {"a.running_mean": np.array([9.999e14], np.float32)}
    with pytest.raises(TrustError, match=r"a\.running_mean of the global model becomes negative, or larger than 1e15"):
        model_of({"a.running_mean": np.array([1.1e15], np.float32)}, [[0]], facts)
    assert model_of(large, [[0]], facts)["a.running_mean"] == large["a.running_mean"]


def test_an_update_of_another_length_or_header_is_refused_by_its_site() -> None:
    masked_round = MaskedRound(deltas={site: small(0) for site in "abc"}, weights=dict.fromkeys("abc", 1))
    data = masked_round.masked("b")
    for changed, message in ((data[:-1], "the update of b: 1 bytes are missing"), (data + b"\0", "of b: there are bytes after")):
        with pytest.raises(StreamLengthError, match=message) as caught:
            list(sums([MaskedUpdate("b", io.BytesIO(changed))], masked_round.layout, []))
        assert caught.value.owner == "the update of b"
    plain = b"".join([tensors.layout_of(small(0)).header, data_of(small(0)).read()])
    for wrong in (plain, data[:5], data.replace(b'"I64"', b'"U64"')):
        with pytest.raises(TensorError, match="the update of b is not a masked update of this federation's model"):
            list(sums([MaskedUpdate("b", io.BytesIO(wrong))], masked_round.layout, []))


def test_one_masked_update_is_noise() -> None:
    """2**24 words of one update, under its own mask and one pair mask.

    Bytes: χ² with 255 degrees of freedom at each of the eight places is below 255 + 2·sqrt(255·25) + 2·25, and above
    255 - 2·sqrt(255·25); true noise fails either at any place with a probability below 16·e**-25 = 2.3e-10 (Laurent and Massart
    2000). The correlation with the delta would be 4 standard deviations at 1e-3. The keys are fixed, so this does not vary.
    """
    count, generator = 1 << 24, np.random.default_rng(0)
    delta = (generator.standard_normal(count, np.float32) * 1e-3).astype(np.float32)
    layout = tensors.layout([("weight", "F32", (count,))])
    masks = [Mask(key=bytes(range(32)), adds=True), Mask(key=bytes(range(1, 33)), adds=False)]
    blocks = masked_blocks(io.BytesIO(delta.tobytes()), layout, 100, 100, masks, 2)
    next(blocks)
    counts, products, squares, position = np.zeros((8, 256), np.int64), 0.0, 0.0, 0
    for block in blocks:
        places = np.frombuffer(block, np.uint8).reshape(-1, 8)
        counts += np.stack([np.bincount(places[:, place], minlength=256) for place in range(8)])
        words = np.frombuffer(block, "<i8") / 2.0**63
        products += float(words @ delta[position : position + words.size])
        squares += float(words @ words)
        position += words.size
    assert position == count
    chi_square = ((counts - count / 256) ** 2 / (count / 256)).sum(axis=1)
    assert (chi_square < 255 + 2 * np.sqrt(255 * 25) + 50).all()
    assert (chi_square > 255 - 2 * np.sqrt(255 * 25)).all()
    assert abs(products / np.sqrt(squares * float(delta.astype(np.float64) @ delta))) < 1e-3
    assert abs(squares / count - 1 / 3) < 1e-3  # uniform on [-1, 1)


def test_the_tests_for_noise_find_an_unmasked_update() -> None:
    """A delta without masks has bytes that are far from uniform."""
    delta = (np.random.default_rng(0).standard_normal(1 << 16) * 1e-3).astype(np.float32)
    blocks = masked_blocks(io.BytesIO(delta.tobytes()), tensors.layout([("weight", "F32", delta.shape)]), 100, 100, [])
    next(blocks)
    places = np.frombuffer(b"".join(blocks), np.uint8).reshape(-1, 8)
    top = np.bincount(places[:, 7], minlength=256)
    assert ((top - 256) ** 2 / 256).sum() > 1e6


def test_the_name_of_the_only_tensor_says_nothing() -> None:
    masked_round = MaskedRound(deltas={site: small(0) for site in "abc"}, weights=dict.fromkeys("abc", 1))
    data = masked_round.masked("a")
    length = int.from_bytes(data[:8], "little")
    assert json.loads(data[8 : 8 + length]) == {"masked_sum": {"dtype": "I64", "shape": [15], "data_offsets": [0, 120]}}


def test_members_in_league_learn_the_sum_of_the_others() -> None:
    masked_round = MaskedRound(
        deltas={site: small(number) for number, site in enumerate("abcd")}, weights=dict.fromkeys("abcd", 3)
    )
    own = quantised_sum(masked_round, ["a", "b"])
    others = [total - known for total, known in zip(masked_round.totals("abcd", "abcd").tolist(), own, strict=True)]
    assert others == quantised_sum(masked_round, ["c", "d"])
    assert others != quantised_sum(masked_round, ["c"])
