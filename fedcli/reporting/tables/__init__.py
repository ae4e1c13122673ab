"""Pure functions from a `History` to the values that the report's tables and figures show."""

from __future__ import annotations

from fedcli.reporting.tables.chosen import BEST, ChosenModel, choose
from fedcli.reporting.tables.cohorts import ClassShares, DatasetTable, Intensities, class_shares, dataset_table, intensities
from fedcli.reporting.tables.comparisons import SiteComparison, comparisons, verdict
from fedcli.reporting.tables.cross_site import (
    Cell,
    CrossSiteTable,
    GlobalRow,
    Mean,
    OwnScores,
    cross_site_table,
    global_rows,
    own_scores,
)
from fedcli.reporting.tables.gaps import missing
from fedcli.reporting.tables.improvement import Improvement, MeanChange, improvement
from fedcli.reporting.tables.learning import GlobalPoint, LearningCurve, global_curve, learning_curves
from fedcli.reporting.tables.limits import limits
from fedcli.reporting.tables.participation import (
    RoundParticipation,
    SiteParticipation,
    participation_by_round,
    participation_by_site,
)
from fedcli.reporting.tables.patient_costs import PatientCost, patient_costs
from fedcli.reporting.tables.pooled import PooledDifference, pooled_differences
from fedcli.reporting.tables.provenance import NamedDigest, Software, digests, software
from fedcli.reporting.tables.scores import (
    ScoreTable,
    SiteScore,
    chosen_by_few,
    chosen_by_loss,
    class_names,
    confusion,
    metrics_of,
    score_tables,
    site_scores,
)
from fedcli.reporting.tables.traffic import ExchangeTable, exchange_table

__all__ = [
    "BEST",
    "Cell",
    "ChosenModel",
    "ClassShares",
    "CrossSiteTable",
    "DatasetTable",
    "ExchangeTable",
    "GlobalPoint",
    "GlobalRow",
    "Improvement",
    "Intensities",
    "LearningCurve",
    "Mean",
    "MeanChange",
    "NamedDigest",
    "OwnScores",
    "PatientCost",
    "PooledDifference",
    "RoundParticipation",
    "ScoreTable",
    "SiteComparison",
    "SiteParticipation",
    "SiteScore",
    "Software",
    "choose",
    "chosen_by_few",
    "chosen_by_loss",
    "class_names",
    "class_shares",
    "comparisons",
    "confusion",
    "cross_site_table",
    "dataset_table",
    "digests",
    "exchange_table",
    "global_curve",
    "global_rows",
    "improvement",
    "intensities",
    "learning_curves",
    "limits",
    "metrics_of",
    "missing",
    "own_scores",
    "participation_by_round",
    "participation_by_site",
    "patient_costs",
    "pooled_differences",
    "score_tables",
    "site_scores",
    "software",
    "verdict",
]
