"""The paper's Table 2 and Fig. 5: every shared model on every site's test patients.

A cell counts only for a site's newest model of the kind: the score must name, by digest, the record that the history holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from fedcli.disclosure.levels import absence
from fedcli.exchange.history.best_round import best_round
from fedcli.exchange.layout import COORDINATOR
from fedcli.exchange.records import ModelKind
from fedcli.measures import Metric
from fedcli.plan.scored_pairs import sites_to_score
from fedcli.reporting.formats import agreement, count, interval, number

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from fedcli.exchange.history import History

MANY_SITES = 30
"""From so many sites on nobody could read Table 2: its heat map has colours without numbers, and the page shows that instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One model on one site's test patients.

    Attributes:
        trained_at: Whose model.
        tested_at: Whose patients.
        planned: Whether the plan wants the model scored there.
        patients: Cases scored; None where the model was not scored.
        kappa: Linear weighted kappa; None where it was not scored, or is undefined or withheld.
        absence: What is said in its place.
        interval: Its 95 % interval.
    """

    trained_at: str
    tested_at: str
    planned: bool = True
    patients: int | None = None
    kappa: float | None = None
    absence: str = "undefined"
    interval: tuple[float, float] | None = None

    @property
    def scored(self) -> bool:
        """Whether the model was scored, even if its kappa is undefined."""
        return self.patients is not None

    @property
    def own(self) -> bool:
        """Whether a site's model meets that site's patients: the diagonal."""
        return self.trained_at == self.tested_at

    @property
    def tooltip(self) -> str:
        """Everything known about it, in one line."""
        where = f"{self.trained_at} on {self.tested_at}'s test patients"
        if not self.scored:
            return f"{where}: not scored" if self.planned else f"{where}: not scored, as the plan has it"
        cases = f"{count(self.patients)} cases"
        if self.kappa is None:
            return f"{where}: kappa {self.absence}, {cases}"
        bounds = f", 95\u00a0% interval {interval(self.interval)}" if self.interval else ""
        return f"{where}: kappa {number(self.kappa)} ({agreement(self.kappa)}){bounds}, {cases}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mean:
    """A mean over the values that are defined, mostly the kappas of cells.

    Attributes:
        value: The mean; None where no value is defined.
        present: How many values are defined.
        expected: How many values there are.
    """

    value: float | None
    present: int
    expected: int


def mean(values: Iterable[float | None]) -> Mean:
    """Return the mean of the values that are defined."""
    every = tuple(values)
    present = [value for value in every if value is not None]
    return Mean(value=sum(present) / len(present) if present else None, present=len(present), expected=len(every))


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossSiteTable:
    """One half of Table 2.

    Attributes:
        kind: Which models.
        sites: Rows and columns, by name.
        rows: One row per site, with one cell per site that tested; that of a tester has no model.
        testers: Sites that only test.
    """

    kind: ModelKind
    sites: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    testers: tuple[str, ...] = ()

    @property
    def scored(self) -> bool:
        """Whether any model of the kind was scored anywhere."""
        return any(cell.scored for row in self.rows for cell in row)

    @property
    def diagonal(self) -> Mean:
        """The models on their own sites' patients."""
        return mean(cell.kappa for cell in self._cells() if cell.own)

    @property
    def off_diagonal(self) -> Mean:
        """The models on the other sites' patients: generalizability."""
        return mean(cell.kappa for cell in self._cells() if not cell.own)

    def _cells(self) -> Iterator[Cell]:
        """Yield the cells of all sites that train, as far as they were planned or scored."""
        cells = (cell for row in self.rows for cell in row if cell.trained_at not in self.testers)
        yield from (cell for cell in cells if cell.planned or cell.scored)


@dataclass(frozen=True, slots=True, kw_only=True)
class GlobalRow:
    """A global model on every site's test patients.

    Attributes:
        round: Whose round's model.
        newest: Whether it is the newest: the final one, once the federation has finished.
        best: Whether its mean of validation kappa over the sites is the highest.
        cells: One per site.
    """

    round: int
    newest: bool
    best: bool
    cells: tuple[Cell, ...]

    @property
    def scored(self) -> bool:
        """Whether it was scored anywhere."""
        return any(cell.scored for cell in self.cells)

    @property
    def mean(self) -> Mean:
        """Mean over the sites."""
        return mean(cell.kappa for cell in self.cells)


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnScores:
    """One site of Fig. 5: its models on its own test patients."""

    site: str
    local: Cell
    federated: Cell
    finetuned: Cell

    @property
    def cells(self) -> tuple[Cell, Cell, Cell]:
        """Local, federated, fine-tuned."""
        return self.local, self.federated, self.finetuned


def cross_site_table(history: History, kind: ModelKind) -> CrossSiteTable:
    """Return Table 2 for one kind of model."""
    models = [(site, model.digest if (model := history.models.get((site, kind))) else None) for site in history.sites]
    planned = {site: sites_to_score(history.plan, site, history.sites) for site in history.sites}
    columns = [_column(history, site, kind, models, planned) for site in history.sites]
    return CrossSiteTable(kind=kind, sites=history.sites, rows=tuple(zip(*columns, strict=True)), testers=history.testers)


def global_rows(history: History) -> tuple[GlobalRow, ...]:
    """Return the newest and the best global model on every site's test patients: one row if both are one, none before φ(0)."""
    if not history.rounds:
        return ()
    newest, best = len(history.rounds) - 1, best_round(history).round
    return tuple(
        GlobalRow(round=number, newest=number == newest, best=number == best, cells=_global_cells(history, number))
        for number in dict.fromkeys((newest, best))
    )


def own_scores(local: CrossSiteTable, federated: CrossSiteTable, finetuned: CrossSiteTable) -> tuple[OwnScores, ...]:
    """Return Fig. 5: the diagonals of the three tables."""
    return tuple(
        OwnScores(site=site, local=local.rows[i][i], federated=federated.rows[i][i], finetuned=finetuned.rows[i][i])
        for i, site in enumerate(local.sites)
        if site not in local.testers
    )


def _global_cells(history: History, number: int) -> tuple[Cell, ...]:
    models: list[tuple[str, str | None]] = [(COORDINATOR, history.rounds[number].digest)]
    return tuple(_column(history, site, ModelKind.GLOBAL, models)[0] for site in history.sites)


def _column(
    history: History,
    tested_at: str,
    kind: ModelKind,
    models: list[tuple[str, str | None]],
    planned: Mapping[str, frozenset[str]] = MappingProxyType({}),
) -> tuple[Cell, ...]:
    """Return how one site scored these models, each named by party and record digest; `planned` says where each belongs."""
    evaluation = history.evaluations.get(tested_at)
    scores = evaluation.record.scores if evaluation else ()
    by_case = {(score.model.party, score.model.record): score.by_case for score in scores if score.model.kind is kind}
    cells = []
    for trained_at, digest in models:
        wanted = tested_at in planned.get(trained_at, {tested_at})
        measures = by_case.get((trained_at, digest)) if digest else None
        cells.append(
            Cell(
                trained_at=trained_at,
                tested_at=tested_at,
                planned=wanted,
                patients=measures.count,
                kappa=measures.kappa.value,
                absence=absence(measures, Metric.KAPPA, history.plan.evaluation.min_cell),
                interval=measures.kappa.interval,
            )
            if measures
            else Cell(trained_at=trained_at, tested_at=tested_at, planned=wanted)
        )
    return tuple(cells)
