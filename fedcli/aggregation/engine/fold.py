"""The pass that folds K updates into one model: exact to the bit, in bounded memory, the same for every order and thread count.

    φ(t) = float32(φ(t-1) + step)        step from the rule, in float64; each element by itself

Integers: φ(t-1) + step in exact integers. The files are read range by range, and each element's arithmetic is its rule's: neither
the ranges nor the threads show in the result. In the same pass each site's norm and the cosine between its delta and the step
(before the server's own momentum) are measured. They tell a person who is the odd one out and decide no bit, and are therefore
summed as BLAS likes.
"""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedcli.aggregation import clipping, krum
from fedcli.aggregation.engine.floats import FloatFold
from fedcli.aggregation.engine.integers import fold_integers
from fedcli.aggregation.engine.output import Output
from fedcli.aggregation.engine.stack import MEMORY, Stack
from fedcli.aggregation.engine.thread_pool import Crew
from fedcli.aggregation.state import ServerState
from fedcli.aggregation.update import runs
from fedcli.errors import TrustError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from fedcli.aggregation.rules import Rule
    from fedcli.aggregation.update import Update
    from fedcli.tensors import Layout, Measured

_DIGITS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What one site's update was to the model.

    Attributes:
        site: Whose.
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
    """A new model: its file's size and digest, those of the server's state, and every site's share, sorted by site."""

    model: Measured
    state: Measured | None
    shares: tuple[Share, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StateFiles:
    """The server's state: the file after the round before (None begins), and where the new one goes."""

    before: Path | None
    target: Path


def fold(
    rule: Rule,
    layout: Layout,
    base: Update,
    updates: Sequence[Update],
    target: Path | None,
    *,
    state: StateFiles | None = None,
    crew: Crew,
    memory: int = MEMORY,
) -> Folded:
    """Compute φ(t).

    Args:
        rule: How.
        layout: What every file must hold, byte for byte in its header.
        base: φ(t-1); an error about it names `base.site`.
        updates: At least one, in any order, each site once.
        target: Where φ(t) goes; None computes its digest only.
        state: The server's state, where the rule has any.
        crew: Threads.
        memory: Bytes of each thread's buffer for updates; more are used where one range of all sites needs more.

    Raises:
        UpdateError: Updates are not finite, or not what their records say; nothing is written.
        TrustError: φ(t) would not be finite, or the rule needs more updates.
    """
    ordered = sorted(updates, key=lambda update: update.site.encode())
    if len(ordered) < rule.least:
        msg = f"the plan's rule needs at least {rule.least} updates, found {len(ordered)}"
        raise TrustError(msg, hint="wait for more sites, or amend the plan's [aggregation]")
    norms, scales = None, []
    if rule.clip_norm:
        with crew.rooms.lend() as loan, Stack(ordered, layout, crew, loan, memory=memory) as stack:
            norms = clipping.norms(stack, layout, crew)
        scales = clipping.scales(norms, rule.clip_norm)
    weights = [update.weight for update in ordered]
    if rule.krum is not None:
        with crew.rooms.lend() as loan, Stack(ordered, layout, crew, loan, memory=memory, scales=scales) as stack:
            chosen = rule.krum.choose(krum.squared_distances(stack, layout, crew))
        weights = [weight if number in chosen else 0 for number, weight in enumerate(weights)]
    alone = Crew(1)  # each thread reads the ranges that it folds
    with (
        crew.rooms.lend() as loan,
        Stack(ordered, layout, alone, loan, memory=memory, scales=scales) as stack,
        Stack([base], layout, alone, loan) as before,
        Output(target) as output,
        _opened(rule, layout, state) as server,
    ):
        output.reserve(layout.size)
        output.write(layout.header)
        integers, floats = runs(layout)
        if integers is not None:
            fold_integers(rule, weights, stack, before, integers, layout, output)
        work = FloatFold(rule, weights, stack, before, server, crew, loan)
        if floats is not None:
            work.fold(floats, layout, output)
        stack.close_books()
        before.close_books()
        shares = _shares(ordered, weights, work, norms)
        after = server.finish() if server is not None else None
        return Folded(model=output.finish(), state=after, shares=shares)


def _opened(rule: Rule, layout: Layout, state: StateFiles | None) -> AbstractContextManager[ServerState | None]:
    if rule.server is None:
        return nullcontext()
    if state is None:
        msg = "a rule with a server of its own needs files for its state"
        raise TypeError(msg)
    return ServerState(rule.server, layout, state.before, state.target)


def _shares(
    updates: Sequence[Update], weights: Sequence[int], work: FloatFold, norms: Sequence[float] | None
) -> tuple[Share, ...]:
    """Return every site's share; where deltas were clipped, `norms` are those before."""
    found = []
    length = math.sqrt(work.squares[-1])
    for number, update in enumerate(updates):
        norm = math.sqrt(work.squares[number])
        cosine = None
        if norm > 0 and length > 0:
            cosine = round(min(1.0, max(-1.0, float(work.products[number]) / norm / length)), _DIGITS)
        sent = norm if norms is None else norms[number]
        found.append(Share(site=update.site, weight=weights[number], norm=float(f"{sent:.{_DIGITS}g}"), cosine=cosine))
    return tuple(found)
