"""The model that the report's model card describes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedcli.errors import MissingError, UsageError
from fedcli.exchange import layout
from fedcli.exchange.history import reference_to
from fedcli.exchange.history.best_round import best_round
from fedcli.exchange.history.global_scores import global_merits
from fedcli.exchange.history.lineage import lineage
from fedcli.exchange.records import SHARED_KINDS, ModelKind
from fedcli.reporting.formats import names
from fedcli.reporting.tables.cross_site import mean
from fedcli.reporting.tables.scores import global_model_name

if TYPE_CHECKING:
    from fedcli.exchange.checks import Verified
    from fedcli.exchange.history import History
    from fedcli.exchange.records import ModelRecord, ModelReference, RoundRecord
    from fedcli.reporting.tables.scores import SiteScore

BEST, FINAL, GLOBAL = "best", "final", "global"
_HINT = "use best, final, global, SITE, or SITE/KIND, where KIND is local, federated or finetuned"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenModel:
    """A model and what is known about it.

    Attributes:
        title: Its name in a sentence.
        verified: The record that names it.
        reference: Kind, party, round or epoch, and digests.
        last_round: The last round whose updates are in it; None where that round is not in the history.
        is_best: Whether the plan's choice took it; a site's own models are always its best.
        validation_kappa: Its kappa on validation patients, which the plan's choice uses; for a global model, the mean over sites.
        validation_loss: Its loss there, likewise, where only the loss told it apart from others.
        trained_on: The sites whose patients trained it, sorted, each with the number of its updates that are in it.
        scores: Its scores, by site.
        lacking: The sites without one.
    """

    title: str
    verified: Verified[RoundRecord] | Verified[ModelRecord]
    reference: ModelReference
    last_round: int | None
    is_best: bool
    validation_kappa: float | None
    validation_loss: float | None
    trained_on: tuple[tuple[str, int], ...]
    scores: tuple[SiteScore, ...]
    lacking: tuple[str, ...]

    @property
    def site(self) -> str | None:
        """The site that it belongs to; None for a global model."""
        return None if self.reference.kind is ModelKind.GLOBAL else self.reference.party

    @property
    def signature(self) -> str:
        """The key of its record's signature."""
        return layout.signature(self.verified.key, self.verified.digest)

    @property
    def mean_elsewhere(self) -> float | None:
        """Mean kappa over all sites but its own; for a global model, over all sites."""
        return mean(item.score.by_case.kappa.value for item in self.scores if not item.own).value


def choose(history: History, name: str, scores: tuple[SiteScore, ...]) -> ChosenModel | None:
    """Return the model with a name; None before there is any.

    Args:
        history: The verified records.
        name: `best` (the best global model by the plan's choice), `final` (that of the last round), `global` (the newest), or
            `SITE/KIND`; `SITE` is its federated one.
        scores: Every score that counts.

    Raises:
        UsageError: The name is none of these, or the site is not a member.
        MissingError: There is no such model yet.
    """
    if name not in {BEST, FINAL, GLOBAL}:
        return _of_site(history, name, scores)
    if not history.rounds:
        return None
    if name == FINAL and not history.finished:
        msg = f"there is no final model yet: round {len(history.rounds) - 1} of {history.plan.rounds} is the newest"
        raise MissingError(msg, hint="omit --model to get the best global model so far")
    best = best_round(history)
    number = {BEST: best.round, FINAL: history.plan.rounds, GLOBAL: len(history.rounds) - 1}[name]
    verified = history.rounds[number]
    scored, lacking = _scored(history, verified.digest, scores)
    merit = global_merits(history)[number]
    return ChosenModel(
        title=f"the {global_model_name(history, number)}",
        verified=verified,
        reference=reference_to(verified),
        last_round=number,
        is_best=number == best.round,
        validation_kappa=merit.kappa,
        validation_loss=merit.loss if best.by_loss and number == best.round else None,
        trained_on=_trained_on(history, number, None),
        scores=scored,
        lacking=lacking,
    )


def _of_site(history: History, name: str, scores: tuple[SiteScore, ...]) -> ChosenModel:
    site, slash, kind_name = name.partition("/")
    kind = next((kind for kind in SHARED_KINDS if kind == kind_name), None) if slash else ModelKind.FEDERATED
    if kind is None or site not in history.trainers:
        msg = f"--model {name}: no such model; the sites are {names(history.trainers) if history.trainers else 'none yet'}"
        raise UsageError(msg, hint=_HINT)
    verified = history.models.get((site, kind))
    if verified is None:
        msg = f"--model {name}: {site} has shared no {kind.word} model that verifies"
        raise MissingError(msg, hint=f"fedcli evaluate at {site} shares it if share_models is true in workspace.toml")
    age = "round" if kind is ModelKind.FEDERATED else "epoch"
    base = next((item.record.round for item in history.rounds if item.digest == verified.record.base), None)
    scored, lacking = _scored(history, verified.digest, scores)
    return ChosenModel(
        title=f"the {kind.word} model of {site} ({age} {verified.record.round})",
        verified=verified,
        reference=reference_to(verified),
        last_round=base,
        is_best=True,
        validation_kappa=verified.record.kappa,
        validation_loss=verified.record.loss,
        trained_on=_trained_on(history, base or 0, site),
        scores=scored,
        lacking=lacking,
    )


def _scored(history: History, digest: str, scores: tuple[SiteScore, ...]) -> tuple[tuple[SiteScore, ...], tuple[str, ...]]:
    """Return a model's scores, and the sites that have not scored it."""
    own = tuple(item for item in scores if item.score.model.record == digest)
    tested_at = {item.tested_at for item in own}
    return own, tuple(site for site in history.sites if site not in tested_at)


def _trained_on(history: History, last_round: int, site: str | None) -> tuple[tuple[str, int], ...]:
    """Return the sites with a weighted update up to a round, and the site that trained further, with their number of updates."""
    counts = {site: 0} if site else {}
    for number in lineage(history.rounds, last_round):
        for item in history.rounds[number].record.contributions:
            if item.weight:
                counts[item.site] = counts.get(item.site, 0) + 1
    return tuple(sorted(counts.items()))
