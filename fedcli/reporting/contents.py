"""Everything that the report shows, gathered once from a history."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedcli.errors import MissingError
from fedcli.exchange.records import ModelKind
from fedcli.reporting import tables
from fedcli.reporting.formats import number, percent
from fedcli.reporting.tables.provenance import newest_record

if TYPE_CHECKING:
    from datetime import datetime

    from fedcli.exchange.history import History, Problem
    from fedcli.plan import Plan
    from fedcli.reporting.tables.improvement import Change


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The report as data.

    Attributes:
        plan: The plan in force.
        federation: Digest of the federation's first record.
        head: Digest of the newest round record; empty before φ(0).
        statement: What was verified, and against which key.
        problems: What did not verify.
        missing: What is not there yet.
        result: The result in up to three sentences.
        as_of: Moment of the newest record.
        newest_round: Number of the newest round record; -1 before φ(0).
        datasets: Table 1.
        shares: Fig. 3.
        intensities: Fig. 4.
        cross_site: Table 2: local, federated, fine-tuned.
        global_rows: The newest and the best global model.
        improvement: Federated against local.
        own_scores: Fig. 5.
        comparisons: The sites' own models against one another, each on its own test patients.
        scores: Every score that counts, with all metrics.
        score_tables: Those that decide.
        chosen: The model that the card describes; None before there is any.
        limits: What limits its use.
        curves: Learning curves.
        global_curve: The global models' validation kappa.
        participation: Who took part, by round.
        attendance: Who took part, by site.
        exchange: Bytes, hours, norms.
        settings: The plan, setting by setting.
        software: Versions.
        digests: Digests.
    """

    plan: Plan
    federation: str
    head: str
    statement: str
    problems: tuple[Problem, ...]
    missing: tuple[str, ...]
    result: str
    as_of: datetime
    newest_round: int
    datasets: tables.DatasetTable
    shares: tuple[tables.ClassShares, ...]
    intensities: tuple[tables.Intensities, ...]
    cross_site: tuple[tables.CrossSiteTable, tables.CrossSiteTable, tables.CrossSiteTable]
    global_rows: tuple[tables.GlobalRow, ...]
    improvement: tables.Improvement
    own_scores: tuple[tables.OwnScores, ...]
    comparisons: tuple[tables.SiteComparison, ...]
    scores: tuple[tables.SiteScore, ...]
    score_tables: tuple[tables.ScoreTable, ...]
    chosen: tables.ChosenModel | None
    limits: tuple[str, ...]
    curves: tuple[tables.LearningCurve, ...]
    global_curve: tuple[tables.GlobalPoint, ...]
    participation: tuple[tables.Participation, ...]
    attendance: tuple[tables.Attendance, ...]
    exchange: tables.ExchangeFacts
    settings: tuple[tables.Setting, ...]
    software: tuple[tables.Software, ...]
    digests: tuple[tables.NamedDigest, ...]


def gather(history: History, statement: str, model: str = tables.BEST) -> Report:
    """Compute every table of the report.

    Args:
        history: The verified records; what did not verify is among its problems.
        statement: What was verified, and against which key.
        model: Which model the card describes: `best`, `final`, or `SITE/KIND`.

    Raises:
        MissingError: There is no federation record, so nothing can be said; or the model is not there.
        UsageError: There can be no such model.
    """
    if not history.federations:
        msg = "there is no federation record, so there is nothing to report"
        raise MissingError(msg, hint="the coordinator begins a federation with fedcli init")
    local = tables.cross_site_table(history, ModelKind.LOCAL)
    federated = tables.cross_site_table(history, ModelKind.FEDERATED)
    finetuned = tables.cross_site_table(history, ModelKind.FINETUNED)
    change = tables.improvement(local, federated)
    compared = tables.comparisons(history)
    scores = tables.site_scores(history)
    chosen = tables.choose(history, model, scores)
    return Report(
        plan=history.plan,
        federation=history.federations[0].digest,
        head=history.rounds[-1].digest if history.rounds else "",
        statement=statement,
        problems=history.problems,
        missing=tables.missing(history),
        result=" ".join(filter(None, (result_sentence(federated, change), tables.verdict(compared)))),
        as_of=newest_record(history).record.created,
        newest_round=len(history.rounds) - 1,
        datasets=tables.dataset_table(history),
        shares=tables.class_shares(history),
        intensities=tables.intensities(history),
        cross_site=(local, federated, finetuned),
        global_rows=tables.global_row(history),
        improvement=change,
        own_scores=tables.own_scores(local, federated, finetuned),
        comparisons=compared,
        scores=scores,
        score_tables=tables.score_tables(history, scores),
        chosen=chosen,
        limits=tables.limits(history, chosen) if chosen else (),
        curves=tables.learning_curves(history),
        global_curve=tables.global_curve(history),
        participation=tables.participation(history),
        attendance=tables.attendance(history),
        exchange=tables.exchange_facts(history),
        settings=tables.settings(history.plan),
        software=tables.software(history),
        digests=tables.digests(history),
    )


def result_sentence(federated: tables.CrossSiteTable, change: tables.Improvement) -> str:
    """Return the result: means before and after federation and their relative change, or what stands against saying so."""
    clauses = [
        _clause(f"On {whose} test patients", measured)
        for whose, measured in (("their own", change.diagonal), ("the other sites'", change.off_diagonal))
        if measured.present
    ]
    if clauses:
        return " ".join(clauses)
    if federated.diagonal.value is not None:
        return (
            f"The federated models reach a mean kappa of {_kappa(federated.diagonal.value)} on their own test patients; "
            "there is no local-only model on the same patients to compare them with."
        )
    return "There is no result yet: no site has scored a federated model on its test patients."


def _clause(where: str, change: Change) -> str:
    means = f"from {_kappa(change.before, 'local, ')} to {_kappa(change.after, 'federated, ')}"
    relative = f", a relative change of {percent(change.relative)}" if change.relative is not None else ""
    cells = f" (over {change.present} of {change.expected} cells)" if change.present < change.expected else ""
    return f"{where}, mean kappa goes {means}{relative}{cells}."


def _kappa(value: float | None, note: str = "") -> str:
    return f"{number(value)} ({note}{tables.agreement(value)})"
