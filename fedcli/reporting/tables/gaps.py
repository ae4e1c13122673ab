"""What is missing, in sentences that name the site and the command to run there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedcli.disclosure.levels import absence
from fedcli.exchange.history import shared_kinds
from fedcli.exchange.records import ModelKind
from fedcli.measures import Metric
from fedcli.reporting.formats import names
from fedcli.reporting.tables.cross_site import cross_site_table, global_rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fedcli.exchange.history import History
    from fedcli.reporting.tables.cross_site import Cell

_HOW_TO_SHARE = {
    ModelKind.LOCAL: "fedcli finetune --from initial, then fedcli evaluate",
    ModelKind.FEDERATED: "fedcli evaluate",
    ModelKind.FINETUNED: "fedcli finetune, then fedcli evaluate",
}


def missing(history: History) -> tuple[str, ...]:
    """Return what is missing, in the order in which it can be added; empty where the report is complete."""
    if not history.sites:
        return ("No site has been admitted yet: a site runs fedcli join, then the coordinator runs fedcli admit.",)
    kinds = (_rounds, _datasets, _models, _evaluations, _scores, _undefined)
    return tuple(sentence for kind in kinds for sentence in kind(history))


def _rounds(history: History) -> Iterator[str]:
    total = history.plan.rounds
    following = len(history.rounds)
    if not following:
        yield "The initial model is missing: the coordinator runs fedcli init."
    elif following <= total:
        awaited = tuple(site for site in history.trainers if (site, following) not in history.updates)
        if awaited:
            yield f"Round {following} of {total} is waiting for {names(awaited)}: run fedcli train-round."
        else:
            yield f"Round {following} of {total} has every site's update: the coordinator runs fedcli aggregate."


def _datasets(history: History) -> Iterator[str]:
    if lacking := tuple(site for site in history.sites if site not in history.datasets):
        command = "evaluate" if set(lacking) <= set(history.testers) else "train-round"
        yield (
            f"{_none_of(history, lacking)} published a dataset summary (Table 1, Fig. 3, Fig. 4): "
            f"set share_dataset = true in workspace.toml, then run fedcli {command}."
        )


def _models(history: History) -> Iterator[str]:
    for kind in shared_kinds(history.plan):
        command = _HOW_TO_SHARE[kind]
        if lacking := tuple(site for site in history.trainers if (site, kind) not in history.models):
            yield f"{_none_of(history, lacking)} shared a {kind.word} model: {_run(history)} {command}."


def _evaluations(history: History) -> Iterator[str]:
    if lacking := tuple(site for site in history.sites if site not in history.evaluations):
        yield f"{_none_of(history, lacking)} published an evaluation: {_run(history)} fedcli evaluate."


def _scores(history: History) -> Iterator[str]:
    """Name the models that a site left out of its evaluation; sites that left out the same ones share a sentence."""
    lacking: dict[str, list[str]] = {}
    columns = {kind: _by_test_site(cross_site_table(history, kind).rows) for kind in _HOW_TO_SHARE}
    global_models = global_rows(history) if history.finished else ()
    for index, site in enumerate(history.sites):
        if site not in history.evaluations:
            continue
        for kind, column in columns.items():
            shared = [cell for cell in column[index] if (cell.trained_at, kind) in history.models]
            if unscored := tuple(cell.trained_at for cell in shared if cell.planned and not cell.scored):
                models = "model" if len(unscored) == 1 else "models"
                lacking.setdefault(f"the {kind.word} {models} of {names(unscored)}", []).append(site)
        for row in global_models:
            if not row.cells[index].scored:
                which = "final" if row.newest else "best"
                lacking.setdefault(f"the {which} global model (round {row.round})", []).append(site)
    for what, sites in lacking.items():
        yield f"{_none_of(history, tuple(sites))} scored {what}: run fedcli evaluate."


def _undefined(history: History) -> Iterator[str]:
    for site in history.sites:
        evaluation = history.evaluations.get(site)
        scores = evaluation.record.scores if evaluation else ()
        undefined = [score for score in scores if score.by_case.kappa.value is None]
        words = {absence(score.by_case, Metric.KAPPA, history.plan.evaluation.min_cell) for score in undefined}
        if undefined and all(score.by_case.count == 0 for score in scores):
            yield f"{site} has no test patients, so its column is empty."
        elif undefined and "undefined" not in words:
            yield f"The scores on {site}'s test patients are {words.pop()}, because there are so few of them."
        elif undefined:
            yield f"On {site}'s test patients, the kappa of {len(undefined)} of {len(scores)} models is undefined."


def _by_test_site(rows: tuple[tuple[Cell, ...], ...]) -> tuple[tuple[Cell, ...], ...]:
    return tuple(zip(*rows, strict=True))


def _none_of(history: History, lacking: tuple[str, ...]) -> str:
    """Return the beginning of a sentence like `north has not published an evaluation`."""
    if len(lacking) == len(history.sites) > 1:
        return "None of the sites has"
    return f"{names(lacking)} {'has' if len(lacking) == 1 else 'have'} not"


def _run(history: History) -> str:
    return "run" if history.finished else f"after round {history.plan.rounds}, run"
