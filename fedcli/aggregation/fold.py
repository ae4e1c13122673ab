"""The fold of K updates into one model, in bounded memory.

    φ(t) = float32(φ(t-1) + step)        with the step of the rule, in float64; each element by itself

Integers: φ(t-1) + step in exact integers. No sum that decides a bit of the model runs over elements. So the result is the same
for every order of updates, number of threads and size of memory. The same pass measures the norm of each delta, and the cosine
between the delta and the step (before the server's own momentum). A person sees which update is the odd one out by those of the
trained weights: BatchNorm's running variances are nearly all of the norm of a delta.
"""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from statistics import median_low
from typing import TYPE_CHECKING

import numpy as np

from fedcli.aggregation import clipping, krum
from fedcli.aggregation.engine.dot_products import DotProducts
from fedcli.aggregation.engine.output import Output
from fedcli.aggregation.engine.update_matrix import UpdateMatrix
from fedcli.aggregation.new_model import NewModel
from fedcli.aggregation.server_state import ServerState, TrainedElements
from fedcli.errors import TrustError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from numpy.typing import NDArray

    from fedcli.aggregation.rules import AggregationRule
    from fedcli.aggregation.update import Update
    from fedcli.disk import Measured
    from fedcli.tensors import Layout

_DIGITS = 6
_LOST = 1e-5
"""What remains of a squared norm without one delta, where that is so small a part of it, may be rounding."""
_INTEGERS = 1 << 16
"""Python integers held at a time; each takes about forty bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What the update of one site contributed.

    Attributes:
        site: The site's name.
        weight: What its delta was multiplied by; 0 where Krum did not choose it.
        norm: Euclidean norm of the delta's float tensors as sent, to six digits.
        trained_norm: The norm of its trained weights, as they are used: after clipping; to six digits.
        cosine: Between its delta and the step, to six digits; None where one of them is zero.
        others_cosine: Between its trained weights and the mean of all others', to six digits; None where there are none, or where
            one of the two is zero or too short beside the other. In this mean no update counts by more than the median weight.
            The rules that weigh nobody are bounded by themselves: under them it is the cosine to the step.
    """

    site: str
    weight: int
    norm: float
    trained_norm: float
    cosine: float | None
    others_cosine: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Folded:
    """A new model.

    Attributes:
        model: Size and digest of its file.
        state: Those of the server's state.
        shares: The share of every site, sorted by site.
        base_norm: The norm of the trained weights of φ(t-1), to six digits.
    """

    model: Measured
    state: Measured | None
    shares: tuple[Share, ...]
    base_norm: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StateFiles:
    """The server's state: the file after the round before (None where there is none), and where the new one goes."""

    before: Path | None
    target: Path


def fold(
    rule: AggregationRule,
    layout: Layout,
    base: Update,
    updates: Sequence[Update],
    target: Path | None,
    *,
    state: StateFiles | None = None,
    threads: int = 1,
    memory: int | None = None,
    reviewed: bool = True,
) -> Folded:
    """Compute φ(t).

    Args:
        rule: The rule.
        layout: What every file must hold.
        base: φ(t-1).
        updates: At least one, in any order, each site once.
        target: Where φ(t) goes; None computes its digest only.
        state: The server's state, if the rule has one.
        threads: The number of threads that read and compute.
        memory: Bytes of numbers that each thread holds; None chooses what suits the processor's cache.
        reviewed: Whether `others_cosine` is measured, which takes a fifth of the time.

    Raises:
        UpdateError: Updates (or φ(t-1)) are not what their records say, or must not become part of φ(t); nothing is written.
        TrustError: No choice of sites makes φ(t) finite, a tensor cannot be aggregated, or the rule needs more updates.
    """
    ordered = _ordered(rule, updates)
    opened, trained = partial(UpdateMatrix, layout=layout, threads=threads, memory=memory), TrainedElements(layout)
    weights, scales, norms = _participation(rule, ordered, opened, trained)
    with (
        opened([base, *ordered], scales=[1.0, *scales]) as matrix,
        Output(target, layout) as output,
        _server_state(rule, layout, state) as server,
    ):
        sums, compared = DotProducts.zeros(len(ordered)), _compared(weights) if rule.weighted else None
        model = NewModel(rule, ordered, weights, reviewed, compared, trained, matrix, server, output, sums)
        matrix.run(matrix.integers, model.integers, output.write, longest=max(1, _INTEGERS // len(matrix)))
        matrix.run(matrix.floats, model.floats, model.write)
        matrix.check_digests()
        after = server.finish() if server is not None else None
        shares = _shares(ordered, weights, scales, sums, norms, compared)
        return Folded(model=output.finish(), state=after, shares=shares, base_norm=_rounded(sums.trained[0]))


def _ordered(rule: AggregationRule, updates: Sequence[Update]) -> list[Update]:
    """Return the updates in bytewise order of their sites, if there are enough for the rule."""
    if len(updates) < rule.least:
        msg = f"the plan's rule needs at least {rule.least} updates, found {len(updates)}"
        raise TrustError(msg, hint="wait for more sites, or amend the plan's [aggregation]")
    return sorted(updates, key=lambda update: update.site.encode())


def _participation(
    rule: AggregationRule, updates: Sequence[Update], opened: Callable[..., UpdateMatrix], trained: TrainedElements
) -> tuple[list[int], list[float], list[float] | None]:
    """Return the weight of each update, what its floats are multiplied by, and the norms if those of all floats were measured."""
    weights, scales, norms = [update.weight for update in updates], [1.0] * len(updates), None
    measured = trained if rule.trained_only else None
    if rule.clip_norm:
        with opened(updates) as matrix:
            norms = clipping.norms(matrix, measured)
        scales = clipping.scales(norms, rule.clip_norm)
        norms = norms if measured is None else None
    if rule.krum is not None:
        with opened(updates, scales=scales) as matrix:
            chosen = rule.krum.choose(krum.squared_distances(matrix, measured))
        weights = [weight if number in chosen else 0 for number, weight in enumerate(weights)]
    return weights, scales, norms


def _server_state(rule: AggregationRule, layout: Layout, state: StateFiles | None) -> AbstractContextManager[ServerState | None]:
    if rule.server is None:
        return nullcontext()
    if state is None:
        msg = "a rule that keeps a state needs files for it"
        raise TypeError(msg)
    return ServerState(rule.server, layout, state.before, state.target)


def _compared(weights: Sequence[int]) -> NDArray[np.float32]:
    """Return each delta's part in the mean of which a review asks how it would be without one of them."""
    most = median_low(weight for weight in weights if weight)
    limited = [min(weight, most) for weight in weights]
    return np.array(limited, np.float32) / np.float32(sum(limited))


def _shares(
    updates: Sequence[Update],
    weights: Sequence[int],
    scales: Sequence[float],
    dots: DotProducts,
    norms: Sequence[float] | None,
    compared: NDArray[np.float32] | None,
) -> tuple[Share, ...]:
    """Return the share of every site; `norms` are those before the deltas were clipped."""
    shares = []
    for number, update in enumerate(updates):
        square, trained, along = float(dots.squares[number]), float(dots.trained[1 + number]), float(dots.along[number])
        part = float(compared[number]) if compared is not None else 0.0
        left_square = dots.direction_square - 2 * part * along + part**2 * trained  # of the direction without this delta
        sent = square / scales[number] ** 2 if norms is None else norms[number] ** 2
        shares.append(
            Share(
                site=update.site,
                weight=weights[number],
                norm=_rounded(sent),
                trained_norm=_rounded(trained),
                cosine=_cosine(float(dots.products[number]), square, dots.step_square),
                others_cosine=_cosine(along - part * trained, trained, left_square)
                if left_square > _LOST * dots.direction_square
                else None,
            )
        )
    return tuple(shares)


def _cosine(product: float, first_square: float, second_square: float) -> float | None:
    if first_square <= 0 or second_square <= 0:
        return None
    cosine = product / math.sqrt(first_square) / math.sqrt(second_square)
    return round(min(1.0, max(-1.0, cosine)), _DIGITS)


def _rounded(square: float) -> float:
    """Return a norm to six digits."""
    return float(f"{math.sqrt(square):.{_DIGITS}g}")
