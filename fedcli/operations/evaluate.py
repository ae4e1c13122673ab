"""A site's part of the cross-site evaluation, the paper's Table 2.

Share this site's best models if its operator agreed → score every shared model, and the final and the best global model, on this
site's test patients → publish the signed scores. A later run does what has become possible since; scores are computed only once,
and torch is imported only to compute some.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from fedcli.disclosure.levels import level_of, published_figure, published_kappa
from fedcli.errors import TrainingError, TrustError, UnreadableError, UsageError
from fedcli.exchange import layout
from fedcli.exchange.history import reference_to, shared_kinds
from fedcli.exchange.history.best_round import best_round
from fedcli.exchange.history.lineage import leads
from fedcli.exchange.records import (
    Comparison,
    EvaluationRecord,
    ModelKind,
    ModelRecord,
    Role,
    TestScore,
    ValidationScore,
)
from fedcli.exchange.succession import newest_seen
from fedcli.imaging.dataset import prepared_dataset
from fedcli.party.history.history_reader import read_history
from fedcli.party.membership import refuse_removed
from fedcli.party.party import Party, publication
from fedcli.party.transfer.outgoing import ArtifactFile
from fedcli.plan import Part
from fedcli.plan.scored_pairs import sites_to_score
from fedcli.results import Result, Status
from fedcli.site.own_model import own_model, trained_on
from fedcli.site.scoring import Scoring
from fedcli.site.site_data import SiteData, dataset_record, require_images
from fedcli.site.training_log import withdrawn_patients
from fedcli.text.wording import counted
from fedcli.workspace import WorkspaceRole

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from fedcli.environment import Environment
    from fedcli.exchange.checks import Verified
    from fedcli.exchange.history import History
    from fedcli.exchange.records import ModelReference, Record
    from fedcli.site.own_model import OwnModel
    from fedcli.site.selection import Best


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateRequest:
    """Whose part of the evaluation to do.

    Attributes:
        root: The site's workspace.
    """

    root: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateResult(Result):
    """What a site has published about its test patients.

    Attributes:
        number: Number of its newest evaluation.
        scores: The scores in it.
        comparisons: Comparisons of this site's own models.
        shared: Models that this run shared.
        missing: What is still missing, in words.
    """

    site: str
    number: int
    scores: tuple[TestScore, ...]
    comparisons: tuple[Comparison, ...]
    shared: tuple[ModelKind, ...]
    missing: tuple[str, ...]


def evaluate(request: EvaluateRequest, environment: Environment) -> EvaluateResult:
    """Share, score and publish what is possible now.

    Raises:
        UsageError: No round has been aggregated yet, or the site was removed.
        ApprovalError: The operator has not approved the plan in force.
        DataError: The prepared data do not fit the plan, or have no test images though the plan requires them.
    """
    with Party.at_work(request.root, WorkspaceRole.SITE, environment) as party:
        refuse_removed(party.ledger.federations, party.name)
        history, shared = _share(party)
        own = SiteData(party.workspace, party.approved_plan())
        if Part.TEST not in party.workspace.parts_that_may_be_empty(own.plan):
            require_images(own.test, party.name, Part.TEST)
        scoring = Scoring(party, own)
        final = scoring.validate(history.rounds[-1])
        candidates = _candidates(party.name, history, {party.name: final} if final else {})
        scores, refused = _score(scoring, candidates) if len(own.test) else ((), ())
        comparisons = scoring.compare(scores)
        number = _publish(party, history, own, scores, comparisons, final)
        missing = (*refused, *_missing(party, history))
        gaps = f"still missing: {'; '.join(missing)}" if missing else "nothing is missing"
        num_cases = len(set(own.test.units.tolist()))
        return EvaluateResult(
            status=Status.PUBLISHED if number else Status.WAITING if missing else Status.FINISHED,
            message=f"{party.name}: {counted(len(scores), 'model')} scored on {counted(num_cases, 'case')}; {gaps}",
            site=party.name,
            number=number or _newest_number(history, party.name),
            scores=scores,
            comparisons=comparisons,
            shared=shared,
            missing=missing,
        )


def share(request: EvaluateRequest, environment: Environment) -> tuple[ModelKind, ...]:
    """Share this site's best models if its operator agreed; return the kinds that are new."""
    with Party.at_work(request.root, WorkspaceRole.SITE, environment) as party:
        return _share(party)[1]


def _share(party: Party) -> tuple[History, tuple[ModelKind, ...]]:
    """Publish the models that differ from those shared before; return the history afterwards, and the new kinds."""
    history, _ = read_history(party.folder, remembering=True)
    if history.rounds and len(history.rounds) < 2:  # noqa: PLR2004 - round 0 is φ(0)
        msg = f"{party.name}: no round has been aggregated yet"
        raise UsageError(msg, hint=f"`{party.command('status')}` shows whose turn it is")
    if not party.workspace.settings.share_models:
        return history, ()
    models = {kind: own_model(party, kind) for kind in shared_kinds(party.approved_plan())}
    shared = tuple(kind for kind, model in models.items() if model is not None and _share_one(party, history, kind, model))
    return (read_history(party.folder, remembering=True)[0] if shared else history), shared


def _reason_not_to_share(party: Party, kind: ModelKind, best: Best, data: str) -> str:
    """Return why a model must not leave the site, and the command that trains another one; an empty text if it may.

    Args:
        party: The site.
        kind: What the model is.
        best: Its description.
        data: Digest of the prepared data.
    """
    if not leads(party.ledger.rounds, best.base):
        return f"it started from a round that a restart has given up; `{party.command('train-round')}`"
    own = kind is not ModelKind.FEDERATED
    if own and withdrawn_patients(party.workspace) and trained_on(party.workspace, kind) != data:
        again = party.command("finetune", *(("--from", "initial") if kind is ModelKind.LOCAL else ()))
        return f"patients have withdrawn, and it was trained on other data than today's; `{again}`"
    return ""


def _share_one(party: Party, history: History, kind: ModelKind, model: OwnModel) -> bool:
    best = model.best
    newest = history.models.get((party.name, kind))
    if newest is not None and newest.artifact.content_sha256 == best.content_sha256:
        return False
    data = prepared_dataset.describe(party.workspace.prepared_path)
    if reason := _reason_not_to_share(party, kind, best, data.digest):
        party.environment.progress.event(f"{party.name}: the {kind} model is not shared: {reason} first")
        return False
    validation = data.cohort.part(Part.VALIDATION)
    level = level_of(validation.patients, party.approved_plan().evaluation.min_cell)
    key_of = partial(layout.model, party.name, kind=kind)
    number = layout.free_number(newest.record.number if newest else 0, key_of, party.store.stat)
    key = key_of(number)
    measured = model.measure()
    draft = party.outbox.draft(f"model-{number:04d}-{kind}")
    shutil.copyfile(model.path, draft.folder / "model")
    file = ArtifactFile(role=Role.MODEL, path=draft.folder / "model", content=measured)
    artifact, stored = party.artifact(file, key, party.ledger.newest_federation)
    record = ModelRecord(
        federation=party.ledger.identity,
        party=party.name,
        created=party.environment.clock(),
        versions=party.versions(torch=True),
        number=number,
        as_of=len(history.rounds) - 1,
        seen=newest_seen(history.rounds),
        kind=kind,
        base=best.base,
        round=best.round,
        kappa=published_kappa(best.kappa, level),
        loss=published_figure(best.loss, level) if best.by_loss else None,
        artifacts=(artifact,),
    )
    party.commit(draft, publication(key, record, (artifact, stored)))
    return True


def _candidates(
    name: str, history: History, final: Mapping[str, ValidationScore]
) -> list[tuple[Verified[Record], ModelReference]]:
    """Return every model to score: the sites' newest of each kind as far as the plan wants, the final and the best global model.

    This site's score of the final model is used before it is published: publishing it must not change what the next run scores.
    """
    members = set(history.sites)
    shared: list[tuple[Verified[Record], ModelReference]] = [
        (item, reference_to(item))
        for (site, _), item in sorted(history.models.items())
        if site in members and name in sites_to_score(history.plan, site, members)
    ]
    globals_to_score = sorted({len(history.rounds) - 1, best_round(history, final).round})
    return shared + [(history.rounds[number], reference_to(history.rounds[number])) for number in globals_to_score]


def _score(
    scoring: Scoring, candidates: list[tuple[Verified[Record], ModelReference]]
) -> tuple[tuple[TestScore, ...], tuple[str, ...]]:
    """Return the scores, and what is wrong with the shared models that cannot be used; they do not stop the evaluation."""
    scores: list[TestScore] = []
    refused: list[str] = []
    for verified, reference in candidates:
        try:
            scores.append(scoring.test(verified, reference))
        except (TrustError, UnreadableError, TrainingError) as error:
            if reference.kind is ModelKind.GLOBAL:
                raise
            refused.append(f"the {reference.kind.word} model of {reference.party} is rejected: {error}")
    return tuple(scores), tuple(refused)


def _publish(
    party: Party,
    history: History,
    own: SiteData,
    scores: tuple[TestScore, ...],
    comparisons: tuple[Comparison, ...],
    final: ValidationScore | None,
) -> int:
    """Publish the evaluation, unless the newest one says the same; return its number, or 0 if it was not published.

    A tester, which sends no updates, publishes its data set record here.
    """
    newest = history.evaluations.get(party.name)
    last = len(history.rounds) - 1
    known = history.datasets.get(party.name)
    tester = party.workspace.settings.tester
    dataset, first = dataset_record(party, own) if tester else (known.digest if known else None, ())
    content = (last, dataset, scores, comparisons)
    if newest is not None and content == (
        newest.record.as_of,
        newest.record.dataset,
        newest.record.scores,
        newest.record.comparisons,
    ):
        return 0
    number = layout.free_number(_newest_number(history, party.name), partial(layout.evaluation, party.name), party.store.stat)
    key = layout.evaluation(party.name, number)
    record = EvaluationRecord(
        federation=party.ledger.identity,
        party=party.name,
        created=party.environment.clock(),
        versions=party.versions(torch=True),
        number=number,
        as_of=last,
        seen=newest_seen(history.rounds),
        dataset=dataset,
        final_validation=final,
        scores=scores,
        comparisons=comparisons,
    )
    party.commit(party.outbox.draft(f"evaluation-{number:04d}"), *first, publication(key, record))
    return number


def _newest_number(history: History, site: str) -> int:
    newest = history.evaluations.get(site)
    return newest.record.number if newest else 0


def _missing(party: Party, history: History) -> tuple[str, ...]:
    """Return what the complete tables still need."""
    pairs = [(site, kind) for site in history.trainers for kind in shared_kinds(history.plan)]
    missing = [f"the {kind.word} model of {site}" for site, kind in pairs if (site, kind) not in history.models]
    missing += [f"the evaluation of {site}" for site in history.sites if site not in history.evaluations and site != party.name]
    if not history.finished:
        missing.append(f"rounds {len(history.rounds)} to {history.plan.rounds}")
    return tuple(missing)
