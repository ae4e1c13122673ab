"""Recompute every global model from what its round record names, rounds in parallel, with the coordinator's own code.

Each file is hashed in the pass that folds it, so that a replay takes little longer than hashing. It needs no copies of what lies
on this machine, and keeps at most one round's private copies a thread.
"""

from __future__ import annotations

import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from fedcli.aggregation.fold import StateFiles, fold
from fedcli.aggregation.rules import rule_of
from fedcli.errors import TrustError, UnreadableError
from fedcli.exchange.history import Problem
from fedcli.exchange.records import Role
from fedcli.party.aggregation_input import base_of, layout_of, num_threads, state_before, update_of
from fedcli.party.folder import Folder

if TYPE_CHECKING:
    from fedcli.aggregation.fold import Folded
    from fedcli.exchange.checks import Verified
    from fedcli.exchange.history import History
    from fedcli.exchange.records import Contribution, RoundRecord, UpdateRecord
    from fedcli.progress import Progress

TOLERANCE = 1e-5
"""Norms and cosines are sums as BLAS likes: they differ in their last digits from machine to machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """What a replay has found.

    Attributes:
        rounds: Rounds whose model is the same, bit for bit.
        settled: Keys of the artifacts that were found to be what their records say on the way.
        problems: Rounds that give something else, or that cannot be replayed.
    """

    rounds: int
    settled: frozenset[str]
    problems: tuple[Problem, ...]


def replay(folder: Folder, history: History, progress: Progress, first: int) -> Replay:
    """Recompute every global model from round `first` on.

    Raises:
        StoreError: The drop folder cannot be read.
    """
    settled: set[str] = set()
    problems: list[Problem] = []
    numbers = range(first, len(history.rounds))
    with progress.track("replaying rounds", len(numbers), "rounds") as advance, ThreadPoolExecutor(num_threads()) as pool:
        for number, outcome in zip(numbers, pool.map(partial(_attempt, folder, history), numbers), strict=True):
            if isinstance(outcome, TrustError | UnreadableError):
                key = history.rounds[number].key
                problems.append(Problem(key=key, message=f"{key}: cannot be replayed: {outcome}"))
            else:
                settled |= outcome
            advance(1, "")
    return Replay(rounds=len(numbers) - len(problems), settled=frozenset(settled), problems=tuple(problems))


def _attempt(folder: Folder, history: History, number: int) -> set[str] | TrustError | UnreadableError:
    """Replay one round with private copies of its own; return the keys of the artifacts that it has settled, or what failed."""
    with tempfile.TemporaryDirectory(prefix="fedcli-replay-") as scratch:
        private = Folder(folder.store, coordinator=folder.ledger.pinned, cache=Path(scratch) / "cache")
        private.ledger = folder.ledger
        try:
            return _replay_round(private, history, number, Path(scratch))
        except (TrustError, UnreadableError) as error:
            return error


def _replay_round(folder: Folder, history: History, number: int, scratch: Path) -> set[str]:
    record = history.rounds[number].record
    settings = folder.ledger.in_force(number).record.plan.aggregation
    used = [_used(history, number, item) for item in record.contributions]
    base = base_of(folder, number)
    layout = layout_of(base)
    rule = rule_of(settings)
    updates = [update_of(folder, found, settings, layout) for found in used]
    state = None
    if rule.server is not None:
        state = StateFiles(before=state_before(folder, number, settings, layout), target=scratch / "state")
    _compare(record, fold(rule, layout, base, updates, None, state=state))
    return {history.rounds[number - 1].artifact.key, *(found.artifact.key for found in used)}


def _used(history: History, number: int, item: Contribution) -> Verified[UpdateRecord]:
    found = history.updates.get((item.site, number))
    if found is None or found.digest != item.update:
        msg = f"the update of {item.site} does not verify"
        raise TrustError(msg)
    return found


def _compare(record: RoundRecord, folded: Folded) -> None:
    """Raise a TrustError where a round's record says something else than its replay."""
    measured = {Role.MODEL: folded.model, Role.SERVER_STATE: folded.state}
    for artifact in record.artifacts:
        found = measured[artifact.role]
        if found is None or found.sha256 != artifact.content_sha256:
            digest = found.sha256[:12] if found is not None else "nothing"
            msg = f"{artifact.key}: replay gives {digest}, expected {artifact.content_sha256[:12]}"
            raise TrustError(msg)
    for item, share in zip(record.contributions, folded.shares, strict=True):
        if item.weight != share.weight:
            msg = f"weight of {item.site}: replay gives {share.weight}, expected {item.weight}"
            raise TrustError(msg)
        if not (_close(item.norm, share.norm, item.norm) and _close(item.cosine, share.cosine, 1.0)):
            msg = (
                f"norm and cosine of {item.site}: replay gives {share.norm} and {share.cosine}, "
                f"expected {item.norm} and {item.cosine}"
            )
            raise TrustError(msg)


def _close(expected: float | None, found: float | None, scale: float) -> bool:
    if expected is None or found is None:
        return expected is found
    return abs(expected - found) <= TOLERANCE * scale
