"""Learning curves: each site's scores on its validation patients, round by round."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedcli.exchange.history.global_scores import global_kappas

if TYPE_CHECKING:
    from fedcli.exchange.history import History
    from fedcli.exchange.records import UpdateRecord, ValidationScore


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningPoint:
    """One site's round t, from its update, whether or not the update was used.

    Attributes:
        round: t.
        received_kappa: Validation kappa of φ(t-1).
        received_loss: Its validation loss.
        trained_kappa: Validation kappa of the site's own model after training.
        trained_loss: Its validation loss.
        training_loss: Mean loss of the training steps; None where withheld.
        norm: Euclidean norm of the update; None where it is masked or withheld.
        cosine: Between the update and the combined step of all updates; None where it was not used, or is undefined.
    """

    round: int
    received_kappa: float | None
    received_loss: float | None
    trained_kappa: float | None
    trained_loss: float | None
    training_loss: float | None
    norm: float | None
    cosine: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningCurve:
    """One site's rounds.

    Attributes:
        site: The site.
        points: Its rounds, ascending.
        last_round: The round whose global model the site scored when it evaluated; None where it did not.
        last: That score, which ends the curve of received models.
    """

    site: str
    points: tuple[LearningPoint, ...]
    last_round: int | None = None
    last: ValidationScore | None = None

    @property
    def kappas(self) -> tuple[float | None, ...]:
        """All its kappas."""
        points = (value for point in self.points for value in (point.received_kappa, point.trained_kappa))
        return (*points, self.last.kappa if self.last else None)

    @property
    def losses(self) -> tuple[float | None, ...]:
        """All its losses."""
        points = (value for point in self.points for value in (point.received_loss, point.trained_loss, point.training_loss))
        return (*points, self.last.loss if self.last else None)


@dataclass(frozen=True, slots=True, kw_only=True)
class GlobalPoint:
    """The global model of a round: the mean of the sites' validation kappa."""

    round: int
    kappa: float


def learning_curves(history: History) -> tuple[LearningCurve, ...]:
    """Return the curve of every site that has trained or evaluated, by name."""
    updates: dict[str, list[UpdateRecord]] = {}
    for (site, _), update in sorted(history.updates.items()):
        updates.setdefault(site, []).append(update.record)
    sites = sorted(set(history.sites) | set(updates))
    cosines = _cosines(history)
    curves = (_curve(history, site, updates.get(site, []), cosines) for site in sites)
    return tuple(curve for curve in curves if curve.points or curve.last)


def global_curve(history: History) -> tuple[GlobalPoint, ...]:
    """Return the kappa of each global model that has one; the best round is chosen by it."""
    kappas = enumerate(global_kappas(history))
    return tuple(GlobalPoint(round=number, kappa=kappa) for number, kappa in kappas if kappa is not None)


def _cosines(history: History) -> dict[tuple[str, int], float | None]:
    rounds = (closed.record for closed in history.rounds)
    return {(item.site, record.round): item.cosine for record in rounds for item in record.contributions}


def _curve(
    history: History, site: str, updates: list[UpdateRecord], cosines: dict[tuple[str, int], float | None]
) -> LearningCurve:
    evaluation = history.evaluations.get(site)
    last = evaluation.record.final_validation if evaluation else None
    return LearningCurve(
        site=site,
        points=tuple(_point(update, cosines.get((site, update.round))) for update in updates),
        last_round=evaluation.record.as_of if evaluation and last else None,
        last=last,
    )


def _point(update: UpdateRecord, cosine: float | None) -> LearningPoint:
    return LearningPoint(
        round=update.round,
        received_kappa=update.received.kappa,
        received_loss=update.received.loss,
        trained_kappa=update.trained.kappa,
        trained_loss=update.trained.loss,
        training_loss=update.training_loss,
        norm=update.norm,
        cosine=cosine,
    )
