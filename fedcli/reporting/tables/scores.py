"""Every score that counts, with all its metrics, by case and by image.

A score counts for a site's newest model of its kind, and for the newest and the best global model: it must name, by digest, the
record that the history holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedcli.disclosure.small_sites import FEW_VALIDATED
from fedcli.exchange.history.best_round import best_round
from fedcli.exchange.records import ModelKind
from fedcli.measures import Metric

if TYPE_CHECKING:
    from fedcli.exchange.history import History
    from fedcli.exchange.records import TestScore
    from fedcli.measures import Measures
    from fedcli.plan import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteScore:
    """One model on one site's test patients.

    Attributes:
        tested_at: Whose patients.
        score: The score in the site's evaluation record.
    """

    tested_at: str
    score: TestScore

    @property
    def own(self) -> bool:
        """Whether the model is the site's own."""
        return self.score.model.party == self.tested_at


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreTable:
    """Scores that the page shows in one table.

    Attributes:
        title: Which models, on whose patients.
        rows: One per site that scored, by name.
        lacking: The sites that have not scored.
    """

    title: str
    rows: tuple[SiteScore, ...]
    lacking: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfusionCell:
    """Cases of one true class that were predicted as another.

    Attributes:
        count: How many; None where withheld.
        share: Their fraction of the true class; None where the class has a withheld cell or no case.
    """

    count: int | None
    share: float | None


def site_scores(history: History) -> tuple[SiteScore, ...]:
    """Return every score that counts, by test site, in the order of its evaluation."""
    counting = {model.digest for model in history.models.values()}
    if history.rounds:
        counting |= {history.rounds[number].digest for number in (-1, best_round(history).round)}
    return tuple(
        SiteScore(tested_at=site, score=score)
        for site in history.sites
        if site in history.evaluations
        for score in history.evaluations[site].record.scores
        if score.model.record in counting
    )


def score_tables(history: History, scores: tuple[SiteScore, ...]) -> tuple[ScoreTable, ...]:
    """Return the main scores: of each site's federated model on its own patients, and of the best and the newest global model."""
    federated = tuple(item for item in scores if item.own and item.score.model.kind is ModelKind.FEDERATED)
    tables = [_table(history.trainers, "Each site's federated model on its own patients", federated)]
    if history.rounds:
        newest, best = len(history.rounds) - 1, best_round(history).round
        for number in dict.fromkeys((best, newest)):
            digest = history.rounds[number].digest
            title = f"The {global_model_name(history, number)} on every site's patients"
            tables.append(_table(history.sites, title, tuple(item for item in scores if item.score.model.record == digest)))
    return tuple(table for table in tables if table.rows)


def global_model_name(history: History, number: int) -> str:
    """Return what a global model is called: best, final or newest, and its round."""
    best = best_round(history)
    words = ["best"] if number == best.round and best.scored else []
    if number == len(history.rounds) - 1:
        words.append("final" if history.finished else "newest")
    return f"{' and '.join(words)} global model (round {number} of {history.plan.rounds})"


def chosen_by_loss(history: History) -> tuple[str, ...]:
    """Return the models that only the validation loss told apart from other candidates, in words."""
    shared = [
        f"the {kind.word} model of {site}"
        for (site, kind), model in sorted(history.models.items())
        if site in history.sites and model.record.loss is not None
    ]
    return (*(["the best global model"] if best_round(history).by_loss else []), *shared)


def chosen_by_few(history: History) -> tuple[str, ...]:
    """Return the sites that chose their own models on few validation patients, each with their number: `north (12)`."""
    scored = {site for (site, _), model in history.models.items() if model.record.kappa is not None} & set(history.sites)
    patients = {site: history.validation_patients(site) for site in sorted(scored)}
    return tuple(f"{site} ({number})" for site, number in patients.items() if 0 < number < FEW_VALIDATED)


def metrics_of(plan: Plan) -> tuple[Metric, ...]:
    """Return what is measured under a plan: dense AUC only where the plan names dense classes."""
    return tuple(metric for metric in Metric if metric is not Metric.DENSE_AUC or plan.evaluation.dense)


def confusion(measures: Measures) -> tuple[tuple[ConfusionCell, ...], ...] | None:
    """Return a confusion matrix with the shares of its rows; None where it is withheld as a whole."""
    if measures.confusion is None:
        return None
    return tuple(tuple(ConfusionCell(count=count, share=_share(count, row)) for count in row) for row in measures.confusion)


def class_names(classes: tuple[str, ...], size: int) -> tuple[str, ...]:
    """Return the names of a matrix's rows: the plan's, or numbers where it was measured under a plan with other classes."""
    return classes if len(classes) == size else tuple(str(number) for number in range(1, size + 1))


def _table(sites: tuple[str, ...], title: str, rows: tuple[SiteScore, ...]) -> ScoreTable:
    scored = {item.tested_at for item in rows}
    return ScoreTable(title=title, rows=rows, lacking=tuple(site for site in sites if site not in scored))


def _share(count: int | None, row: tuple[int | None, ...]) -> float | None:
    known = [cell for cell in row if cell is not None]
    return None if count is None or len(known) < len(row) or not sum(known) else count / sum(known)
