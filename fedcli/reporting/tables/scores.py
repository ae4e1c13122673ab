"""Every score that counts, with all its metrics, over cases and over single images.

A score counts for a site's newest model of its kind, and for the newest and the best global model: it must name, by digest, the
record that the history holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedcli.exchange.records import ModelKind
from fedcli.measures import Metric

if TYPE_CHECKING:
    from fedcli.exchange.history import History
    from fedcli.exchange.records import TestScore
    from fedcli.measures import Measures
    from fedcli.plan import Plan

METRIC_WORDS = {
    Metric.KAPPA: "linear kappa",
    Metric.QUADRATIC_KAPPA: "quadratic kappa",
    Metric.ACCURACY: "accuracy",
    Metric.BALANCED_ACCURACY: "balanced accuracy",
    Metric.MACRO_AUC: "macro AUC",
    Metric.DENSE_AUC: "dense AUC",
    Metric.CALIBRATION_ERROR: "calibration error",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteScore:
    """One model on one site's test patients.

    Attributes:
        tested_at: Whose patients.
        score: What the site found.
    """

    tested_at: str
    score: TestScore

    @property
    def own(self) -> bool:
        """Whether the model is the site's own."""
        return self.score.model.party == self.tested_at


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreTable:
    """The scores that the page shows together.

    Attributes:
        title: Which models, on whose patients.
        rows: One for each site that scored, by name.
        lacking: The sites that did not.
    """

    title: str
    rows: tuple[SiteScore, ...]
    lacking: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfusionCell:
    """Cases of one true class that were predicted as another.

    Attributes:
        count: How many; None where that is withheld.
        share: Their fraction of the true class; None where a cell of it is withheld, or it has no case.
    """

    count: int | None
    share: float | None


def site_scores(history: History) -> tuple[SiteScore, ...]:
    """Return every score that counts, by test site, in the order of its evaluation."""
    counting = {found.digest for found in history.models.values()}
    if history.rounds:
        counting |= {history.rounds[number].digest for number in (-1, history.best_round())}
    return tuple(
        SiteScore(tested_at=site, score=score)
        for site in history.sites
        if site in history.evaluations
        for score in history.evaluations[site].record.scores
        if score.model.record in counting
    )


def score_tables(history: History, scores: tuple[SiteScore, ...]) -> tuple[ScoreTable, ...]:
    """Return the scores that decide: each site's federated model on its own patients, the best and the newest global model."""
    federated = tuple(item for item in scores if item.own and item.score.model.kind is ModelKind.FEDERATED)
    tables = [_table(history, "Each site's federated model on its own patients", federated)]
    if history.rounds:
        newest, best = len(history.rounds) - 1, history.best_round()
        for number in dict.fromkeys((best, newest)):
            digest = history.rounds[number].digest
            title = f"The {global_words(history, number)} on every site's patients"
            tables.append(_table(history, title, tuple(item for item in scores if item.score.model.record == digest)))
    return tuple(table for table in tables if table.rows)


def global_words(history: History, number: int) -> str:
    """Return what a global model is called: best, final, newest, and its round."""
    newest = "final" if history.finished else "newest"
    words = [word for word, fits in (("best", _is_best(history, number)), (newest, number == len(history.rounds) - 1)) if fits]
    return f"{' and '.join(words) or 'a'} global model (round {number} of {history.plan.rounds})"


def measured(plan: Plan) -> tuple[Metric, ...]:
    """Return what is measured under a plan: an area of the dense classes only where it names some."""
    return tuple(metric for metric in Metric if metric is not Metric.DENSE_AUC or plan.evaluation.dense)


def confusion(found: Measures) -> tuple[tuple[ConfusionCell, ...], ...] | None:
    """Return a confusion matrix with the shares of its rows; None where it is withheld as a whole."""
    if found.confusion is None:
        return None
    return tuple(tuple(ConfusionCell(count=count, share=_share(count, row)) for count in row) for row in found.confusion)


def class_names(classes: tuple[str, ...], size: int) -> tuple[str, ...]:
    """Return the names of a matrix's rows: the plan's, or numbers where it was measured under a plan with other classes."""
    return classes if len(classes) == size else tuple(str(number) for number in range(1, size + 1))


def _table(history: History, title: str, rows: tuple[SiteScore, ...]) -> ScoreTable:
    scored = {item.tested_at for item in rows}
    return ScoreTable(title=title, rows=rows, lacking=tuple(site for site in history.sites if site not in scored))


def _is_best(history: History, number: int) -> bool:
    return number == history.best_round() and history.global_kappa(number) is not None


def _share(count: int | None, row: tuple[int | None, ...]) -> float | None:
    known = [cell for cell in row if cell is not None]
    return None if count is None or len(known) < len(row) or not sum(known) else count / sum(known)
