"""What limits the use of a model, according to the records: sentences for its card."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedcli.disclosure.levels import absence
from fedcli.disclosure.small_sites import FEW_VALIDATED
from fedcli.exchange.history.global_scores import global_merits
from fedcli.exchange.history.lineage import lineage, untrained
from fedcli.exchange.records import ModelKind
from fedcli.measures import Metric, kappa_error
from fedcli.plan import Choice
from fedcli.reporting.formats import agreement, interval, names, number
from fedcli.reporting.tables.participation import participation_by_round
from fedcli.reporting.tables.patient_costs import patient_costs
from fedcli.reporting.tables.scores import class_names
from fedcli.text.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fedcli.exchange.history import History
    from fedcli.measures import Estimate
    from fedcli.reporting.tables.chosen import ChosenModel

WIDE = 0.2
"""An interval of this width spans a whole step of the agreement scale."""
FAIR = 0.4
"""The highest kappa that is no more than fair agreement."""
FEW_CASES = 20
"""With fewer cases, one more error changes a class's recall by more than five percentage points."""
UNCALIBRATED = 0.1


def limits(history: History, chosen: ChosenModel) -> tuple[str, ...]:
    """Return the reasons in the records not to rely on a model, the most serious first."""
    kinds = (
        _untrained,
        _unchosen,
        _unscored,
        _kappas,
        _few_cases,
        _few_validated,
        _calibration,
        _unknown_data,
        _rounds,
        _privacy,
    )
    return tuple(sentence for kind in kinds for sentence in kind(history, chosen))


def _untrained(history: History, chosen: ChosenModel) -> Iterator[str]:
    model = chosen.reference
    own = model.kind in {ModelKind.LOCAL, ModelKind.FEDERATED} and model.round == 0
    if own or (model.kind is ModelKind.GLOBAL and untrained(history.rounds, model.round)):
        yield "It is the initial model: nobody has trained it."


def _unchosen(history: History, chosen: ChosenModel) -> Iterator[str]:
    if history.updates and chosen.is_best and chosen.site is None and not any(merit.known for merit in global_merits(history)):
        yield "No site publishes a validation kappa of a global model, so it was not chosen by its scores: it is the newest one."
    if chosen.validation_loss is not None and history.plan.evaluation.choice is not Choice.LOWEST_LOSS:
        kappa = "smoothed validation kappa" if history.plan.evaluation.choice is Choice.SMOOTHED else "validation kappa"
        yield f"Its {kappa} equals that of other candidates or is undefined: the lowest validation loss decided."


def _unscored(_: History, chosen: ChosenModel) -> Iterator[str]:
    if not chosen.scores:
        yield "No site has scored it on its test patients, so its performance is unknown."
    elif chosen.lacking:
        yield f"Its performance on the patients of {names(chosen.lacking)} is unknown: it has not been scored there."


def _kappas(history: History, chosen: ChosenModel) -> Iterator[str]:
    scored = [(item.tested_at, item.score.by_case) for item in chosen.scores]
    min_cell = history.plan.evaluation.min_cell
    lacking: dict[str, list[str]] = {}
    for site, measures in scored:
        if measures.kappa.value is None:
            lacking.setdefault(absence(measures, Metric.KAPPA, min_cell), []).append(site)
    for words, sites in lacking.items():
        yield f"Its kappa is {words} at {names(sites)}."
    weak = [
        f"{site} ({number(value)})" for site, measures in scored if (value := measures.kappa.value) is not None and value <= FAIR
    ]
    if weak:
        yield f"Its agreement is at most fair (kappa {number(FAIR)} or lower) at {names(weak)}."
    for site, measures in scored:
        if bounds := _wide(measures.kappa):
            yield (
                f"At {site}, the 95\u00a0% interval of its kappa is {interval(bounds)} ({measures.count} cases): "
                f"anything from {_words(bounds[0])} to {_words(bounds[1])} agreement."
            )


def _few_cases(history: History, chosen: ChosenModel) -> Iterator[str]:
    few, withheld = [], []
    for item in chosen.scores:
        matrix = item.score.by_case.confusion
        rows = matrix or ()
        for name, row in zip(class_names(history.plan.classes, len(rows)), rows, strict=True):
            known = [cell for cell in row if cell is not None]
            if len(known) == len(row) and sum(known) < FEW_CASES:
                few.append(f"{name} at {item.tested_at} ({sum(known)})")
        if matrix is None or any(cell is None for row in matrix for cell in row):
            withheld.append(item.tested_at)
    if few:
        yield f"Classes with fewer than {FEW_CASES} test cases: {names(few)}."
    if withheld:
        yield f"Small cells of the confusion matrices of {names(withheld)} are withheld; more classes may have few test cases."


def _few_validated(history: History, chosen: ChosenModel) -> Iterator[str]:
    if chosen.site is None:
        patients = global_merits(history)[chosen.reference.round].patients
        chosen_by = f"Its round was chosen by {counted(patients, 'validation patient')} in all"
    else:
        patients = history.validation_patients(chosen.site)
        chosen_by = f"It was chosen by {counted(patients, 'validation patient')}"
    if 0 < patients < FEW_VALIDATED and chosen.validation_kappa is not None:
        yield f"{chosen_by}: a standard error of their kappa is {number(kappa_error(patients))}, more than most rounds differ by."


def _calibration(_: History, chosen: ChosenModel) -> Iterator[str]:
    errors = [(item.tested_at, item.score.by_case.calibration_error.value) for item in chosen.scores]
    poor = [f"{site} ({number(value)})" for site, value in errors if value is not None and value > UNCALIBRATED]
    if poor:
        yield f"Its probabilities are poorly calibrated: calibration error above {number(UNCALIBRATED, 1)} at {names(poor)}."


def _unknown_data(history: History, _: ChosenModel) -> Iterator[str]:
    if unknown := [site for site in history.sites if site not in history.datasets]:
        yield f"The data of {names(unknown)} are unknown: no dataset summary has been published."


def _rounds(history: History, chosen: ChosenModel) -> Iterator[str]:
    leading = set(lineage(history.rounds, chosen.last_round or 0))
    rounds = [item for item in participation_by_round(history) if item.round in leading and item.restart is None]
    if incomplete := [item for item in rounds if not item.complete]:
        lacking = sorted({site for item in incomplete for site in item.without})
        yield f"In {len(incomplete)} of the {len(rounds)} rounds that produced it, a site did not contribute: {names(lacking)}."


def _privacy(history: History, chosen: ChosenModel) -> Iterator[str]:
    if chosen.reference.kind in {ModelKind.LOCAL, ModelKind.FINETUNED} and history.plan.privacy.promised:
        yield "It was trained without noise: the plan's promise of privacy does not cover it."
    elif costs := patient_costs(history):
        spent = names([f"{cost.site} ({number(cost.claimed)})" for cost in costs])
        yield (
            f"Differential privacy of training patients, as the sites claim: epsilon at delta {costs[0].delta:g} is {spent}, for "
            "each patient with all images (DP-SGD, Poisson sampling). Validation and test patients are not protected by it."
        )
    elif history.updates:
        yield "It was trained without differential privacy, so its weights may reveal something about the training patients."


def _wide(kappa: Estimate) -> tuple[float, float] | None:
    return kappa.interval if kappa.interval and kappa.interval[1] - kappa.interval[0] >= WIDE else None


def _words(kappa: float) -> str:
    word = agreement(kappa)
    return "no" if word == "none" else word
