"""A site's part of a round: LocalTraining(φ(t-1)) → (Δφ(t), n_k), the client's lines of Algorithm 1.

verify → fetch φ(t-1) → score it on local validation patients → train → keep the best local model → Δφ → outbox → (a person
looks) → publish. After the last round φ(T) is scored as a candidate too, and the federation is finished. Where there is nothing
to train, as most times from cron, torch is not even imported.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedcli.errors import ApprovalError
from fedcli.party.party import Party
from fedcli.party.turn import Reader
from fedcli.results import Result, Status
from fedcli.site import selection
from fedcli.site.egress import held_update
from fedcli.workspace import Review, WorkspaceRole

if TYPE_CHECKING:
    from pathlib import Path

    from fedcli.environment import Environment
    from fedcli.exchange.records import ValidationScore
    from fedcli.site.contribution import Contribution
    from fedcli.site.egress import Egress, Reviewer


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainRoundResult(Result):
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

    site: str
    round: int
    rounds: int
    steps: int | None = None
    received: ValidationScore | None = None
    trained: ValidationScore | None = None
    best_round: int | None = None
    best_kappa: float | None = None
    seconds: float | None = None


def train_round(
    root: Path, environment: Environment, *, review: bool = False, reviewer: Reviewer | None = None, devices: int = 1
) -> TrainRoundResult:
    """Do this site's part of the round that is open, if it is not done yet.

    Args:
        root: The site's workspace.
        environment: Clock, progress, passphrase.
        review: Whether a person has to look at the update before it leaves, whatever the workspace's settings say.
        reviewer: Who looks; None where there is nobody to ask: the update is then held, and the command can be run again.
        devices: How many devices train together.

    Raises:
        ApprovalError: The operator has not approved the plan in force, or does not let the update out.
        TrustError: The drop folder does not verify.
        DataError: The prepared data do not fit the plan.
        TrainingError: Training produced something that must not leave.
        KeyboardInterrupt: It was interrupted; the next run goes on.
    """
    with Party.at_work(root, WorkspaceRole.SITE, environment) as party:
        number = party.ledger.newest_round + 1
        if waiting := _reason_to_wait(party, number):
            return waiting
        review = review or party.workspace.settings.review is Review.ASK
        found = None
        if (egress := held_update(party, number)) is None:
            plan = party.approved_plan()
            if number > plan.rounds:
                return _finished(party, number)

            from fedcli.site.contribution import contribute  # noqa: PLC0415 - torch takes seconds

            found = contribute(party, plan, number, held=review, devices=devices)
            if not review or (egress := held_update(party, number)) is None:
                return _trained(party, number, found)
        return _reviewed(party, egress, found, reviewer if review else None)


def _reviewed(party: Party, egress: Egress, found: Contribution | None, reviewer: Reviewer | None) -> TrainRoundResult:
    """Let a held update out if the reviewer agrees; where there is none, it goes on being held."""
    number = egress.record.round
    settings = party.workspace.settings
    reader = Reader(name=party.name, root=party.workspace.root, drop=settings.drop, coordinator=settings.coordinator)
    again = reader.command(party.name, "train-round", "--review")
    if reviewer is None:
        if found is not None:
            party.environment.progress.event(f"{party.name}: the update of round {number} is trained, and held for a person")
        message = f"{party.name}: the update of round {number} is held, and nothing has left; {again} shows it and asks"
        return _outcome(party, number, Status.WAITING, message, found)
    if not reviewer(egress):
        msg = f"{party.name}: the update of round {number} is held, and nothing has left"
        raise ApprovalError(msg, hint=f"{again} shows it again; it will not be trained again")
    party.outbox.release(egress.name)
    party.publish(egress.name)
    selection.forget_older_states(party.workspace)
    return _trained(party, number, found) if found and egress.name in party.published else _published(party, number)


def _reason_to_wait(party: Party, number: int) -> TrainRoundResult | None:
    """Return why there is nothing to train, or None."""
    rounds = party.plan.rounds
    federation = party.ledger.in_force(number).record
    if party.signer.verify_key.line not in {key.public_key for key in federation.keys_of(party.name)}:
        message = f"{party.name} is not admitted yet; the coordinator runs fedcli admit {party.name}"
        return TrainRoundResult(status=Status.WAITING, message=message, site=party.name, round=number, rounds=rounds)
    if number > rounds or party.folder.update(party.name, number) is None:
        return None
    return _published(party, number)


def _published(party: Party, number: int) -> TrainRoundResult:
    status = Status.PUBLISHED if f"round-{number:04d}" in party.published else Status.WAITING
    rounds = party.plan.rounds
    message = f"{party.name} has published its update of round {number} of {rounds}; now it is the coordinator's turn"
    return _outcome(party, number, status, message)


def _trained(party: Party, number: int, found: Contribution) -> TrainRoundResult:
    shown = f"validation kappa {_kappa(found.received)} received, {_kappa(found.trained)} trained"
    message = f"{party.name} trained round {number} of {party.plan.rounds}: {found.steps} steps, {shown}"
    return _outcome(party, number, Status.PUBLISHED, message, found)


def _finished(party: Party, number: int) -> TrainRoundResult:
    """Score φ(T) as a candidate, once."""
    if not party.workspace.path("state", f"round-{number:04d}").is_dir():
        from fedcli.site.contribution import consider_final  # noqa: PLC0415 - torch takes seconds

        consider_final(party, party.approved_plan(), number)
    message = f"All {party.plan.rounds} rounds are done; next: fedcli finetune --from initial, finetune, evaluate"
    return _outcome(party, number - 1, Status.FINISHED, message)


def _outcome(party: Party, number: int, status: Status, message: str, found: Contribution | None = None) -> TrainRoundResult:
    folder = selection.newest_state(party.workspace)
    best = selection.read_best(folder) if folder is not None else None
    return TrainRoundResult(
        status=status,
        message=message,
        site=party.name,
        round=number,
        rounds=party.plan.rounds,
        steps=found.steps if found else None,
        received=found.received if found else None,
        trained=found.trained if found else None,
        best_round=best.round if best else None,
        best_kappa=best.kappa if best else None,
        seconds=found.seconds if found else None,
    )


def _kappa(score: ValidationScore) -> str:
    return "undefined" if score.kappa is None else f"{score.kappa:.3f}"
