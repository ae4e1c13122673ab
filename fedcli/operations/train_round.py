"""A site's part of a round: LocalTraining(φ(t-1)) → (Δφ(t), n_k), the client's lines of Algorithm 1.

verify → fetch φ(t-1) → score it on local validation patients → train → keep the best local model → Δφ → outbox → (a person
reviews) → publish. After the last round φ(T) is scored as a candidate too, and the federation is finished. If there is nothing to
train, as in most runs from cron, torch is not imported.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedcli.errors import ApprovalError
from fedcli.exchange.history.lineage import early_end
from fedcli.exchange.records import ModelKind
from fedcli.party.masking.masked_update import reason_not_to_mask
from fedcli.party.masking.own_masks import erase_secrets, prepare_masks
from fedcli.party.masking.roster import require_roster
from fedcli.party.masking.unmask_answer import answer
from fedcli.party.membership import unlisted_in_words
from fedcli.party.party import Party
from fedcli.results import Result, Status
from fedcli.site import selection
from fedcli.site.egress import held_update
from fedcli.site.own_model import own_model
from fedcli.workspace import Review, WorkspaceRole

if TYPE_CHECKING:
    from pathlib import Path

    from fedcli.environment import Environment
    from fedcli.exchange.records import ValidationScore
    from fedcli.site.egress import Egress, EgressReviewer
    from fedcli.site.local_round import LocalRound


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainRoundRequest:
    """How to take part in the open round.

    Attributes:
        root: The site's workspace.
        review: Whether a person has to review the update before it is published, whatever the workspace's settings say.
        reviewer: Reviews it; None if there is nobody to ask: the update is then held, and the command can be run again.
        devices: How many devices train together.
    """

    root: Path
    review: bool = False
    reviewer: EgressReviewer | None = None
    devices: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainRoundResult(Result):
    """What a site did in a round; null if there was nothing to train.

    Attributes:
        round: The round that the command was about.
        rounds: All rounds of the plan.
        steps: n_k.
        received: φ(t-1) on the site's validation patients.
        trained: The site's own model after training.
        best_round: Round of the best model so far.
        best_kappa: Its validation kappa.
        seconds: Duration of training.
        epsilon: What the site's updates have cost the training patients, if the plan promises privacy.
    """

    site: str
    round: int
    rounds: int
    steps: int | None = None
    received: ValidationScore | None = None
    trained: ValidationScore | None = None
    best_round: int | None = None
    best_kappa: float | None = None
    seconds: float | None = None
    epsilon: float | None = None


def train_round(request: TrainRoundRequest, environment: Environment) -> TrainRoundResult:
    """Do this site's part of the open round, if it is not done yet.

    Raises:
        ApprovalError: The operator has not approved the plan in force, or does not agree to publish the update; or the plan's
            privacy budget has no room for the round.
        TrustError: The drop folder does not verify.
        DataError: The prepared data do not fit the plan.
        TrainingError: Training produced something that must not be published.
        KeyboardInterrupt: It was interrupted; the next run continues.
    """
    with Party.at_work(request.root, WorkspaceRole.SITE, environment) as party:
        number = party.ledger.newest_round + 1
        if waiting := _reason_to_wait(party, number):
            return waiting
        review = request.review or party.workspace.settings.review is Review.ASK
        local_round = None
        if (egress := held_update(party, number)) is None:
            plan = party.approved_plan()
            if number > plan.rounds:
                return _finished(party, number)
            if plan.aggregation.masking and (waiting := _reason_not_to_mask(party, number)):
                return waiting

            from fedcli.site.contribution import contribute  # noqa: PLC0415 - torch takes seconds

            local_round = contribute(party, plan, number, held=review, devices=request.devices)
            if local_round is None:
                return _result(party, number, Status.WAITING, reason_not_to_mask(party, number))
            if not review or (egress := held_update(party, number)) is None:
                return _trained(party, number, local_round)
        return _reviewed(party, egress, local_round, request.reviewer if review else None)


def _reviewed(party: Party, egress: Egress, local_round: LocalRound | None, reviewer: EgressReviewer | None) -> TrainRoundResult:
    """Publish a held update if the reviewer agrees; without a reviewer it stays held."""
    number = egress.record.round
    command = party.command("train-round", "--review")
    held = f"{party.name}: the update of round {number} is held, and nothing has been published"
    if reviewer is None:
        if local_round is not None:
            party.environment.progress.event(f"{party.name}: the update of round {number} is trained, and held for review")
        return _result(party, number, Status.WAITING, f"{held}; `{command}` shows it and asks", local_round)
    if not reviewer(egress):
        raise ApprovalError(held, hint=f"`{command}` shows it again; it will not be trained again")
    party.outbox.release(egress.name)
    party.publish(egress.name)
    selection.forget_older_states(party.workspace)
    if local_round and egress.name in party.published:
        return _trained(party, number, local_round)
    return _published(party, number)


def _reason_to_wait(party: Party, number: int) -> TrainRoundResult | None:
    """Return why there is nothing to train, or None."""
    rounds = party.plan.rounds
    federation = party.ledger.in_force(number).record
    if party.signer.verify_key.line not in {key.public_key for key in federation.keys_of(party.name)}:
        message = unlisted_in_words(party)
        return TrainRoundResult(status=Status.WAITING, message=message, site=party.name, round=number, rounds=rounds)
    if party.name in federation.testers:
        message = f"{party.name} is a tester and trains in no round; `{party.command('evaluate')}` scores the others' models"
        return TrainRoundResult(status=Status.FINISHED, message=message, site=party.name, round=number, rounds=rounds)
    if number > rounds or party.folder.update(party.name, number) is None:
        return None
    if federation.plan.aggregation.masking:
        erase_secrets(party, number)  # where a run was killed between its update and this
        prepare_masks(party, number + 1)
        if message := answer(party, number):
            return _result(party, number, Status.PUBLISHED, message)
    return _published(party, number)


def _reason_not_to_mask(party: Party, number: int) -> TrainRoundResult | None:
    """Prepare masks where they are lacking; return why there is nothing to train, or None."""
    erase_secrets(party, number - 1)
    require_roster(party, number)
    prepare_masks(party, number)
    reason = reason_not_to_mask(party, number)
    return _result(party, number, Status.WAITING, reason) if reason else None


def _published(party: Party, number: int) -> TrainRoundResult:
    # A run that was killed after it had sealed the update has left its checkpoint, and in it the secret of private noise.
    shutil.rmtree(party.workspace.path("training", f"round-{number:04d}"), ignore_errors=True)
    status = Status.PUBLISHED if f"round-{number:04d}" in party.published else Status.WAITING
    message = f"{party.name} has published its update of round {number} of {party.plan.rounds}; it is the coordinator's turn"
    return _result(party, number, status, message)


def _trained(party: Party, number: int, local_round: LocalRound) -> TrainRoundResult:
    kappas = f"validation kappa {_kappa(local_round.received)} received, {_kappa(local_round.trained)} trained"
    if (claim := local_round.privacy) is not None:
        kappas += f"; epsilon {claim.epsilon:.3g} of {party.plan.privacy.epsilon:g} is spent"
    message = f"{party.name} trained round {number} of {party.plan.rounds}: {local_round.result.steps} steps, {kappas}"
    return _result(party, number, Status.PUBLISHED, message, local_round)


def _finished(party: Party, number: int) -> TrainRoundResult:
    """Score φ(T) as a candidate, once."""
    if not party.workspace.path("state", f"round-{number:04d}").is_dir():
        from fedcli.site.contribution import consider_final  # noqa: PLC0415 - torch takes seconds

        consider_final(party, party.approved_plan(), number)
    steps = (party.command("finetune", "--from", "initial"), party.command("finetune"), party.command("evaluate"))
    done = early_end(party.ledger.federations) or "All rounds are done"
    message = f"{done}; next: `{' && '.join(steps)}`"
    return _result(party, number - 1, Status.FINISHED, message)


def _result(party: Party, number: int, status: Status, message: str, local_round: LocalRound | None = None) -> TrainRoundResult:
    model = own_model(party, ModelKind.FEDERATED)
    best = model.best if model is not None else None
    return TrainRoundResult(
        status=status,
        message=message,
        site=party.name,
        round=number,
        rounds=party.plan.rounds,
        steps=local_round.result.steps if local_round else None,
        received=local_round.received if local_round else None,
        trained=local_round.trained if local_round else None,
        best_round=best.round if best else None,
        best_kappa=best.kappa if best else None,
        seconds=round(local_round.result.seconds, 1) if local_round else None,
        epsilon=local_round.privacy.epsilon if local_round and local_round.privacy else None,
    )


def _kappa(score: ValidationScore) -> str:
    return "undefined" if score.kappa is None else f"{score.kappa:.3f}"
