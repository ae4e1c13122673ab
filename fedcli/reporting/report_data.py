"""Everything that the report shows, gathered once from a history."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedcli.errors import MissingError
from fedcli.exchange.history.global_scores import weighting_of
from fedcli.exchange.history.lineage import early_end
from fedcli.exchange.records import SHARED_KINDS, ModelKind
from fedcli.plan.settings import flat_settings
from fedcli.reporting import tables
from fedcli.reporting.attempts import Attempts
from fedcli.reporting.formats import agreement, number, percent
from fedcli.reporting.tables.provenance import newest_record

if TYPE_CHECKING:
    from datetime import datetime

    from fedcli.exchange.history import History, Problem
    from fedcli.exchange.history.lineage import EarlyEnd
    from fedcli.plan import Plan

_NO_EXCHANGE = tables.ExchangeTable(sites=(), global_bytes=0, elapsed_hours=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The report as data.

    Attributes:
        plan: The plan in force.
        federation: Digest of the federation's first record.
        head: Digest of the newest round record; empty before φ(0).
        statement: What was verified, and against which key.
        problems: What did not verify.
        missing: What is missing.
        as_of: Moment of the newest record.
        newest_round: Number of the newest round record; -1 before φ(0).
        datasets: Table 1.
        shares: Fig. 3.
        intensities: Fig. 4.
        cross_site: Table 2: local, federated, fine-tuned.
        global_rows: The newest and the best global model.
        comparisons: The sites' own models against one another, each on its own test patients.
        scores: Every score that counts, with all metrics.
        score_tables: The main scores.
        chosen: The model that the card describes; None before there is any.
        limits: What limits its use.
        curves: Learning curves.
        global_curve: The global models' validation kappa.
        weighting: How the sites count in it, in words.
        chosen_by_few: Sites that chose their own models on few validation patients, with their number.
        chosen_by_loss: Models that only the validation loss told apart from other candidates, in words.
        participation_by_round: Who took part, by round.
        participation_by_site: Who took part, by site.
        early_end: How the coordinator has ended the federation early; None if it has not.
        exchange: Bytes, hours, norms.
        patient_costs: What the updates have cost the training patients, as the sites claim; empty if the plan promises nothing.
        software: Versions.
        digests: Digests.
    """

    plan: Plan
    federation: str
    head: str
    statement: str
    problems: tuple[Problem, ...]
    missing: tuple[str, ...]
    as_of: datetime
    newest_round: int
    datasets: tables.DatasetTable
    shares: tuple[tables.ClassShares, ...]
    intensities: tuple[tables.Intensities, ...]
    cross_site: tuple[tables.CrossSiteTable, ...]
    global_rows: tuple[tables.GlobalRow, ...]
    comparisons: tuple[tables.SiteComparison, ...]
    scores: tuple[tables.SiteScore, ...]
    score_tables: tuple[tables.ScoreTable, ...]
    chosen: tables.ChosenModel | None
    limits: tuple[str, ...]
    curves: tuple[tables.LearningCurve, ...]
    global_curve: tuple[tables.GlobalPoint, ...]
    weighting: str
    chosen_by_few: tuple[str, ...]
    chosen_by_loss: tuple[str, ...]
    participation_by_round: tuple[tables.RoundParticipation, ...]
    participation_by_site: tuple[tables.SiteParticipation, ...]
    early_end: EarlyEnd | None
    exchange: tables.ExchangeTable
    patient_costs: tuple[tables.PatientCost, ...]
    software: tuple[tables.Software, ...]
    digests: tuple[tables.NamedDigest, ...]

    @property
    def improvement(self) -> tables.Improvement:
        """Federated against local."""
        local, federated, _ = self.cross_site
        return tables.improvement(local, federated)

    @property
    def pooled(self) -> tuple[tables.PooledDifference, ...]:
        """The comparisons over all sites."""
        return tables.pooled_differences(self.comparisons, self.plan)

    @property
    def own_scores(self) -> tuple[tables.OwnScores, ...]:
        """Fig. 5."""
        return tables.own_scores(*self.cross_site)

    @property
    def settings(self) -> dict[str, str]:
        """The plan, setting by setting."""
        return flat_settings(self.plan)

    @property
    def result(self) -> str:
        """The result in a few sentences."""
        means = _means_sentence(self.improvement, self.cross_site[1].diagonal)
        pooled = [item.sentence for item in self.pooled if item.kind is ModelKind.FEDERATED]
        return " ".join(sentence for sentence in (means, tables.verdict(self.comparisons), *pooled) if sentence)


def gather(history: History, statement: str, model: str = tables.BEST, attempts: Attempts | None = None) -> Report:
    """Compute every table of the report; a MissingError says that there is no federation record, or no such model (yet).

    Args:
        history: The verified records; what did not verify is among its problems.
        statement: What was verified, and against which key.
        model: Which model the card describes.
        attempts: Hears which tables failed.
    """
    _require_federation(history)
    make = (attempts := attempts or Attempts()).make
    scores: tuple[tables.SiteScore, ...] = make("scores", lambda: tables.site_scores(history), ())
    chosen = make("the chosen model", lambda: tables.choose(history, model, scores), None)
    return Report(
        plan=history.plan,
        federation=history.federations[0].digest,
        head=history.rounds[-1].digest if history.rounds else "",
        statement=statement,
        problems=history.problems,
        missing=make("what is missing", lambda: tables.missing(history), ()),
        as_of=newest_record(history).record.created,
        newest_round=len(history.rounds) - 1,
        datasets=make("Table 1", lambda: tables.dataset_table(history), tables.DatasetTable(rows=(), unpublished=())),
        shares=make("Fig. 3", lambda: tables.class_shares(history), ()),
        intensities=make("Fig. 4", lambda: tables.intensities(history), ()),
        cross_site=tuple(_cross_site(history, kind, attempts) for kind in SHARED_KINDS),
        global_rows=make("scores of the global models", lambda: tables.global_rows(history), ()),
        comparisons=make("comparisons", lambda: tables.comparisons(history), ()),
        scores=scores,
        score_tables=make("other metrics", lambda: tables.score_tables(history, scores), ()),
        chosen=chosen,
        limits=make("limitations", lambda: tables.limits(history, chosen) if chosen else (), ()),
        curves=make("learning curves", lambda: tables.learning_curves(history), ()),
        global_curve=make("the global models' kappas", lambda: tables.global_curve(history), ()),
        weighting=weighting_of(history).value,
        chosen_by_few=tables.chosen_by_few(history),
        chosen_by_loss=tables.chosen_by_loss(history),
        participation_by_round=make("rounds", lambda: tables.participation_by_round(history), ()),
        participation_by_site=make("participation", lambda: tables.participation_by_site(history), ()),
        early_end=early_end(history.federations),
        exchange=make("exchange", lambda: tables.exchange_table(history), _NO_EXCHANGE),
        patient_costs=make("privacy", lambda: tables.patient_costs(history), ()),
        software=make("versions", lambda: tables.software(history), ()),
        digests=make("digests", lambda: tables.digests(history), ()),
    )


def _require_federation(history: History) -> None:
    if not history.federations:
        msg = "there is no federation record, so there is nothing to report"
        raise MissingError(msg, hint="the coordinator starts a federation with fedcli init")


def _cross_site(history: History, kind: ModelKind, attempts: Attempts) -> tables.CrossSiteTable:
    unscored = tuple(tuple(tables.Cell(trained_at=row, tested_at=site) for site in history.sites) for row in history.sites)
    empty = tables.CrossSiteTable(kind=kind, sites=history.sites, rows=unscored, testers=history.testers)
    return attempts.make(f"Table 2, {kind.word} models", lambda: tables.cross_site_table(history, kind), empty)


def _means_sentence(improvement: tables.Improvement, federated: tables.Mean) -> str:
    """Return the means before and after federation with their relative change, or why they are missing."""
    clauses = [
        _change_sentence(f"On the {whose} test patients", change)
        for whose, change in (("sites' own", improvement.diagonal), ("other sites'", improvement.off_diagonal))
        if change.present
    ]
    if clauses:
        return " ".join(clauses)
    if federated.value is not None:
        return (
            f"The federated models reach a mean kappa of {_kappa(federated.value)} on their own sites' test patients; "
            "no local-only model has been scored on the same patients to compare them with."
        )
    return "There is no result yet: no site has scored a federated model on its test patients."


def _change_sentence(where: str, change: tables.MeanChange) -> str:
    means = f"from {_kappa(change.before, 'local-only, ')} to {_kappa(change.after, 'federated, ')}"
    relative = f", a relative change of {percent(change.relative)}" if change.relative is not None else ""
    cells = f" (over {change.present} of {change.expected} cells)" if change.present < change.expected else ""
    return f"{where}, mean kappa goes {means}{relative}{cells}."


def _kappa(value: float | None, note: str = "") -> str:
    return f"{number(value)} ({note}{agreement(value)})"
