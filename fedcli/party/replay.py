"""Recompute every global model from the files that its round record names, with the code that the coordinator uses.

Rounds are recomputed in parallel. Each file is hashed in the pass that folds it, so that a replay takes little longer than
hashing. Files on this machine are not copied; of others each thread keeps private copies for one round at a time.
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
from fedcli.aggregation.trained_norms import trained_norms
from fedcli.errors import SealedError, TrustError, UnreadableError
from fedcli.exchange.history import Problem
from fedcli.exchange.records import Role
from fedcli.party.aggregation_input import base_of, layout_of, num_threads, state_before, update_of
from fedcli.party.masking.masking_history import replay_masked
from fedcli.party.tree.regional_history import named_sum, replay_sum

if TYPE_CHECKING:
    from fedcli.aggregation.fold import Folded
    from fedcli.exchange.checks import Verified
    from fedcli.exchange.history import History
    from fedcli.exchange.records import Contribution, Rejected, RoundRecord, UpdateRecord
    from fedcli.party.folder import Folder
    from fedcli.progress import Progress

TOLERANCE = 1e-5
"""Norms and cosines are summed by BLAS, and differ in their last digits from machine to machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """The result of a replay.

    Attributes:
        rounds: The number of rounds whose model is the same, bit for bit.
        settled: Keys of the artifacts whose digests were compared on the way.
        problems: Rounds that give another model, or that cannot be replayed.
        unopened: Rounds that cannot be replayed here, since one of their files is sealed to others.
    """

    rounds: int
    settled: frozenset[str]
    problems: tuple[Problem, ...]
    unopened: tuple[int, ...]


def replay(folder: Folder, history: History, progress: Progress, first: int) -> Replay:
    """Recompute every global model from round `first` on.

    Raises:
        StoreError: The drop folder cannot be read.
    """
    settled: set[str] = set()
    problems: list[Problem] = []
    unopened: list[int] = []
    numbers = range(first, len(history.rounds))
    with progress.track("replaying rounds", len(numbers), "rounds") as advance, ThreadPoolExecutor(num_threads()) as pool:
        for number, outcome in zip(numbers, pool.map(partial(_attempt, folder, history), numbers), strict=True):
            if isinstance(outcome, SealedError):
                unopened.append(number)
            elif isinstance(outcome, TrustError | UnreadableError):
                key = history.rounds[number].key
                problems.append(Problem(key=key, message=f"{key}: cannot be replayed: {outcome}"))
            else:
                settled |= outcome
            advance(1, "")
    return Replay(
        rounds=len(numbers) - len(problems) - len(unopened),
        settled=frozenset(settled),
        problems=tuple(problems),
        unopened=tuple(unopened),
    )


def _attempt(folder: Folder, history: History, number: int) -> set[str] | TrustError | UnreadableError:
    """Replay one round with private copies of its own; return the keys of the artifacts that it has compared, or the error.

    The ledger has compared the digests of a restart with those of the earlier round; whom it names as a culprit is looked at.
    Of a region's round the sum is computed; its model is another federation's.
    """
    record = history.rounds[number].record
    if not record.aggregates and record.masked is None:
        return set()
    with tempfile.TemporaryDirectory(prefix="fedcli-replay-", dir=folder.scratch) as scratch:
        private = folder.beside(Path(scratch) / "cache")
        try:
            return _replay_round(private, history, number, Path(scratch))
        except (TrustError, UnreadableError) as error:
            return error


def _replay_round(folder: Folder, history: History, number: int, scratch: Path) -> set[str]:
    record = history.rounds[number].record
    plan = folder.ledger.in_force(number).record.plan
    settings = plan.aggregation
    used = [_update(history, number, item) for item in record.contributions]
    base = base_of(folder, number)
    layout = layout_of(base)
    if record.masked is not None:
        _compare_masked(record, replay_masked(folder, history, record, base, layout))
        return {history.rounds[number - 1].artifact.key, *(update.artifact.key for update in used)}
    rule = rule_of(settings)
    updates = [update_of(folder, update, plan, layout) for update in used]
    state = None
    if rule.server is not None:
        state = StateFiles(before=state_before(folder, number, settings, layout), target=scratch / "state")
    _compare(record, fold(rule, layout, base, updates, None, state=state, reviewed=False))
    if (summed := named_sum(history, history.rounds[number])) is not None:
        replay_sum(summed, settings, layout, updates, scratch)
    refused = [item for item in record.rejected if item.norm is not None]
    measured = [update_of(folder, _update(history, number, item), plan, layout) for item in refused]
    for item, norm in zip(refused, trained_norms(rule, layout, measured) if measured else (), strict=True):
        _require_close(f"norm of {item.site}, which was refused", item.norm, norm, norm)
    return {history.rounds[number - 1].artifact.key, *(update.artifact.key for update in used)}


def _compare_masked(record: RoundRecord, sha256: str) -> None:
    artifact = record.artifacts[0]
    if record.restart is None and sha256 != artifact.content_sha256:
        msg = f"{artifact.key}: replay gives {sha256[:12]}, expected {artifact.content_sha256[:12]}"
        raise TrustError(msg)


def _update(history: History, number: int, contribution: Contribution | Rejected) -> Verified[UpdateRecord]:
    update = history.updates.get((contribution.site, number))
    if update is None or update.digest != contribution.update:
        msg = f"the update of {contribution.site} does not verify"
        raise TrustError(msg)
    return update


def _compare(record: RoundRecord, folded: Folded) -> None:
    """Raise a TrustError where a round record differs from its replay; a region's model is not computed from its updates."""
    measured = {Role.MODEL: folded.model, Role.SERVER_STATE: folded.state}
    for artifact in record.artifacts if record.relayed is None else ():
        file = measured[artifact.role]
        if file is None or file.sha256 != artifact.content_sha256:
            digest = file.sha256[:12] if file is not None else "nothing"
            msg = f"{artifact.key}: replay gives {digest}, expected {artifact.content_sha256[:12]}"
            raise TrustError(msg)
    for item, share in zip(record.contributions, folded.shares, strict=True):
        if item.weight != share.weight:
            msg = f"weight of {item.site}: replay gives {share.weight}, expected {item.weight}"
            raise TrustError(msg)
        _require_close(f"norm of {item.site}", item.norm, share.norm, share.norm)
        _require_close(f"cosine of {item.site}", item.cosine, share.cosine, 1.0)
        if item.trained_norm is not None:
            _require_close(f"trained_norm of {item.site}", item.trained_norm, share.trained_norm, item.trained_norm)
    if record.base_norm is not None:
        _require_close("base_norm", record.base_norm, folded.base_norm, record.base_norm)


def _require_close(what: str, expected: float | None, actual: float | None, scale: float) -> None:
    if not _close(expected, actual, scale):
        msg = f"{what}: replay gives {actual}, expected {expected}"
        raise TrustError(msg)


def _close(expected: float | None, actual: float | None, scale: float) -> bool:
    if expected is None or actual is None:
        return expected is actual
    return abs(expected - actual) <= TOLERANCE * scale
