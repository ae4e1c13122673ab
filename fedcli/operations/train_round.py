"""A site's part of a round: LocalTraining(φ(t-1)) → (Δφ(t), n_k), the client's lines of Algorithm 1.

verify → fetch φ(t-1) → score it on local validation patients → train → keep the best local model → Δφ → outbox → publish. After
the last round φ(T) is scored as a candidate too, and the federation is finished. Where there is nothing to train, as most times
from cron, torch is not even imported.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedcli.operations import selection
from fedcli.operations.party import Party, Status
from fedcli.workspace import WorkspaceRole

if TYPE_CHECKING:
    from pathlib import Path

    from fedcli.exchange.records import ValidationScore
    from fedcli.operations.contribution import Contribution
    from fedcli.operations.party import Environment


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainRoundResult:
    """What a site did in a round; null where the command had nothing to train.

    Attributes:
        round: The round that the command was about.
        rounds: All rounds of the plan.
        steps: n_k.
        received: φ(t-1) on the site's validation patients.
        trained: The site's own model after training.
        best_round: Round of the best model so far.
        best_kappa: Its validation kappa.
        seconds: Duration of training.
    """

    status: Status
    message: str
    site: str
    round: int
    rounds: int
    steps: int | None = None
    received: ValidationScore | None = None
    trained: ValidationScore | None = None
    best_round: int | None = None
    best_kappa: float | None = None
    seconds: float | None = None


def train_round(root: Path, environment: Environment) -> TrainRoundResult:
    """Do this site's part of the round that is open, if it is not done yet.

    Raises:
        ApprovalError: The operator has not approved the plan in force.
        TrustError: The drop folder does not verify.
        DataError: The prepared data do not fit the plan.
        TrainingError: Training produced something that must not leave.
    """
    party = Party.open(root, WorkspaceRole.SITE, environment)
    with party.workspace.locked():
        sent = party.finish_outbox()
        party.folder.synchronise()
        number = party.folder.ledger.newest_round + 1
        if waiting := _reason_to_wait(party, number, sent):
            return waiting
        plan = party.approved_plan()
        if number > plan.rounds:
            return _finished(party, number)

        from fedcli.operations.contribution import contribute  # noqa: PLC0415 - torch takes seconds

        return _trained(party, number, contribute(party, plan, number))


def _reason_to_wait(party: Party, number: int, sent: tuple[str, ...]) -> TrainRoundResult | None:
    """Return why there is nothing to train, or None."""
    rounds = party.plan.rounds
    federation = party.folder.ledger.in_force(number).record
    key = party.signer.verify_key.line
    if all(member.site != party.name or all(item.public_key != key for item in member.keys) for member in federation.members):
        message = f"{party.name} is not admitted yet; the coordinator runs fedcli admit {party.name}"
        return TrainRoundResult(status=Status.WAITING, message=message, site=party.name, round=number, rounds=rounds)
    if number > rounds:
        return None
    if party.folder.update(party.name, number) is None:
        return None
    message = f"{party.name} has published its update of round {number} of {rounds}; now it is the coordinator's turn"
    status = Status.PUBLISHED if f"round-{number:04d}" in sent else Status.WAITING
    best = _best_so_far(party)
    return TrainRoundResult(
        status=status, message=message, site=party.name, round=number, rounds=rounds, best_round=best[0], best_kappa=best[1]
    )


def _trained(party: Party, number: int, found: Contribution) -> TrainRoundResult:
    shown = f"validation kappa {_kappa(found.received)} received, {_kappa(found.trained)} trained"
    best_round, best_kappa = _best_so_far(party)
    rounds = party.plan.rounds
    return TrainRoundResult(
        status=Status.PUBLISHED,
        message=f"{party.name} trained round {number} of {rounds}: {found.steps} steps, {shown}",
        site=party.name,
        round=number,
        rounds=rounds,
        steps=found.steps,
        received=found.received,
        trained=found.trained,
        best_round=best_round,
        best_kappa=best_kappa,
        seconds=found.seconds,
    )


def _finished(party: Party, number: int) -> TrainRoundResult:
    """Score φ(T) as a candidate, once."""
    if not party.workspace.path("state", f"round-{number:04d}").is_dir():
        from fedcli.operations.contribution import consider_final  # noqa: PLC0415 - torch takes seconds

        consider_final(party, party.approved_plan(), number)
    best_round, best_kappa = _best_so_far(party)
    rounds = party.plan.rounds
    return TrainRoundResult(
        status=Status.FINISHED,
        message=f"All {rounds} rounds are done; next: fedcli finetune --from initial, finetune, evaluate",
        site=party.name,
        round=number - 1,
        rounds=rounds,
        best_round=best_round,
        best_kappa=best_kappa,
    )


def _best_so_far(party: Party) -> tuple[int | None, float | None]:
    folder = selection.newest_state(party.workspace)
    if folder is None:
        return None, None
    best = selection.read_best(folder)
    return best.round, best.kappa


def _kappa(score: ValidationScore) -> str:
    return "undefined" if score.kappa is None else f"{score.kappa:.3f}"
