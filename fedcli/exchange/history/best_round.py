"""Which global model is the best: the plan's choice, made of the sites' validation scores."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fedcli.exchange.history.global_scores import NONE, global_merits
from fedcli.exchange.history.lineage import lineage, untrained
from fedcli.measures import SMOOTHED_OVER, smoothed
from fedcli.plan import Choice

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fedcli.exchange.history import History
    from fedcli.exchange.records import ValidationScore


@dataclass(frozen=True, slots=True, kw_only=True)
class BestRound:
    """The round whose global model is the best.

    Attributes:
        round: The round.
        by_loss: Whether its kappa equals another round's, so that the loss decided.
        scored: Whether it was chosen by any figure; otherwise it is the newest.
    """

    round: int
    by_loss: bool = False
    scored: bool = True


def best_round(history: History, final: Mapping[str, ValidationScore] = NONE) -> BestRound:
    """Return the best trained round by the plan's choice, or the newest round if none has a figure.

    Only rounds that led to the newest model count: the others were given up by a restart. With the choice "smoothed", means
    are taken of these, without those that have no figure.
    """
    best, merits = None, list(global_merits(history, final))
    scored = [
        number
        for number in lineage(history.rounds, len(history.rounds) - 1)
        if merits[number].known and not untrained(history.rounds, number)
    ]
    highest = max((merits[number].kappa or 0.0 for number in scored), default=0.0)
    if highest > 0 and history.plan.evaluation.choice is Choice.WITHIN_ERROR:
        return BestRound(round=max(number for number in scored if merits[number].is_near(highest)))
    kappas = [merits[number].kappa for number in scored]
    for count, number in enumerate(scored, 1):
        merits[number] = merits[number].judged(
            history.plan.evaluation.choice, smoothed(kappas[max(count - SMOOTHED_OVER, 0) : count])
        )
    for number in scored:
        by_loss = best is not None and merits[number].differs_by_loss(merits[best.round])
        if best is None or merits[number].beats(merits[best.round]):
            best = BestRound(round=number, by_loss=by_loss)
        elif by_loss:
            best = replace(best, by_loss=True)
    return best or BestRound(round=len(history.rounds) - 1, scored=False)
