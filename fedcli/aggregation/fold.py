"""The fold of K updates into one model, in bounded memory.

    φ(t) = float32(φ(t-1) + step)        with the step of the rule, in float64; each element by itself

Integers: φ(t-1) + step in exact integers. No sum that decides a bit of the model runs over elements. So the result is the same
for every order of updates, number of threads and size of memory. The same pass measures the norm of each delta, and the cosine
between the delta and the step (before the server's own momentum): they tell a person which update is the odd one out.
"""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from fedcli.aggregation import clipping, krum
from fedcli.aggregation.engine.dot_products import DotProducts
from fedcli.aggregation.engine.output import Output
from fedcli.aggregation.engine.update_matrix import UpdateMatrix
from fedcli.aggregation.new_model import NewModel
from fedcli.aggregation.server_state import ServerState
from fedcli.errors import TrustError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from fedcli.aggregation.rules import AggregationRule
    from fedcli.aggregation.update import Update
    from fedcli.disk import Measured
    from fedcli.tensors import Layout

_DIGITS = 6
_INTEGERS = 1 << 16
"""Python integers held at a time; each takes about forty bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What the update of one site contributed.

    Attributes:
        site: The site's name.
        weight: What its delta was multiplied by; 0 where Krum did not choose it.
        norm: Euclidean norm of the delta's float tensors as sent, to six digits.
        cosine: Between its delta and the step, to six digits; None where one of them is zero.
    """

    site: str
    weight: int
    norm: float
    cosine: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Folded:
    """A new model: size and digest of its file and of the server's state, and the share of every site, sorted by site."""

    model: Measured
    state: Measured | None
    shares: tuple[Share, ...]


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

    Raises:
        UpdateError: Updates (or φ(t-1)) are not what their records say, or must not become part of φ(t); nothing is written.
        TrustError: φ(t) would not be finite whoever takes part, a tensor cannot be aggregated, or the rule needs more updates.
    """
    ordered = sorted(updates, key=lambda update: update.site.encode())
    if len(ordered) < rule.least:
        msg = f"the plan's rule needs at least {rule.least} updates, found {len(ordered)}"
        raise TrustError(msg, hint="wait for more sites, or amend the plan's [aggregation]")
    opened = partial(UpdateMatrix, layout=layout, threads=threads, memory=memory)
    weights, scales, norms = _participation(rule, ordered, opened)
    with (
        opened([base, *ordered], scales=[1.0, *scales]) as matrix,
        Output(target, layout) as output,
        _server_state(rule, layout, state) as server,
    ):
        model = NewModel(rule, ordered, weights, matrix, server, output, DotProducts.zeros(len(ordered)))
        matrix.run(matrix.integers, model.integers, output.write, longest=max(1, _INTEGERS // len(matrix)))
        matrix.run(matrix.floats, model.floats, model.write)
        matrix.check_digests()
        after = server.finish() if server is not None else None
        return Folded(model=output.finish(), state=after, shares=_shares(ordered, weights, model.sums, norms))


def _participation(
    rule: AggregationRule, updates: Sequence[Update], opened: Callable[..., UpdateMatrix]
) -> tuple[list[int], list[float], list[float] | None]:
    """Return the weight of each update and what its floats are multiplied by, and the norms if they had to be measured."""
    weights, scales, norms = [update.weight for update in updates], [1.0] * len(updates), None
    if rule.clip_norm:
        with opened(updates) as matrix:
            norms = clipping.norms(matrix)
        scales = clipping.scales(norms, rule.clip_norm)
    if rule.krum is not None:
        with opened(updates, scales=scales) as matrix:
            chosen = rule.krum.choose(krum.squared_distances(matrix))
        weights = [weight if number in chosen else 0 for number, weight in enumerate(weights)]
    return weights, scales, norms


def _server_state(rule: AggregationRule, layout: Layout, state: StateFiles | None) -> AbstractContextManager[ServerState | None]:
    if rule.server is None:
        return nullcontext()
    if state is None:
        msg = "a rule that keeps a state needs files for it"
        raise TypeError(msg)
    return ServerState(rule.server, layout, state.before, state.target)


def _shares(
    updates: Sequence[Update], weights: Sequence[int], dots: DotProducts, norms: Sequence[float] | None
) -> tuple[Share, ...]:
    """Return the share of every site; `norms` are those before the deltas were clipped."""
    shares = []
    length = math.sqrt(dots.step_square)
    for number, update in enumerate(updates):
        norm = math.sqrt(dots.squares[number])
        cosine = None
        if norm > 0 and length > 0:
            cosine = round(min(1.0, max(-1.0, float(dots.products[number]) / norm / length)), _DIGITS)
        sent = norm if norms is None else norms[number]
        shares.append(Share(site=update.site, weight=weights[number], norm=float(f"{sent:.{_DIGITS}g}"), cosine=cosine))
    return tuple(shares)
