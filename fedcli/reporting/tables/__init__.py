"""Pure functions from a `History` to the values that the report's tables and figures show."""

from __future__ import annotations

from fedcli.reporting.tables.agreement import agreement
from fedcli.reporting.tables.chosen import BEST, ChosenModel, choose
from fedcli.reporting.tables.cohorts import (
    ClassShares,
    DatasetRow,
    DatasetTable,
    Intensities,
    class_shares,
    dataset_table,
    intensities,
)
from fedcli.reporting.tables.comparisons import SiteComparison, comparisons, verdict
from fedcli.reporting.tables.cross_site import (
    Cell,
    CrossSiteTable,
    GlobalRow,
    Mean,
    OwnScores,
    cross_site_table,
    global_row,
    own_scores,
)
from fedcli.reporting.tables.gaps import missing
from fedcli.reporting.tables.improvement import Change, Improvement, improvement
from fedcli.reporting.tables.learning import GlobalPoint, LearningCurve, LearningPoint, global_curve, learning_curves
from fedcli.reporting.tables.limits import limits
from fedcli.reporting.tables.participation import Attendance, Participation, attendance, participation
from fedcli.reporting.tables.provenance import NamedDigest, Setting, Software, digests, settings, software
from fedcli.reporting.tables.scores import (
    METRIC_WORDS,
    ConfusionCell,
    ScoreTable,
    SiteScore,
    class_names,
    confusion,
    measured,
    score_tables,
    site_scores,
)
from fedcli.reporting.tables.traffic import ExchangeFacts, SiteExchange, exchange_facts

__all__ = [
    "BEST",
    "METRIC_WORDS",
    "Attendance",
    "Cell",
    "Change",
    "ChosenModel",
    "ClassShares",
    "ConfusionCell",
    "CrossSiteTable",
    "DatasetRow",
    "DatasetTable",
    "ExchangeFacts",
    "GlobalPoint",
    "GlobalRow",
    "Improvement",
    "Intensities",
    "LearningCurve",
    "LearningPoint",
    "Mean",
    "NamedDigest",
    "OwnScores",
    "Participation",
    "ScoreTable",
    "Setting",
    "SiteComparison",
    "SiteExchange",
    "SiteScore",
    "Software",
    "agreement",
    "attendance",
    "choose",
    "class_names",
    "class_shares",
    "comparisons",
    "confusion",
    "cross_site_table",
    "dataset_table",
    "digests",
    "exchange_facts",
    "global_curve",
    "global_row",
    "improvement",
    "intensities",
    "learning_curves",
    "limits",
    "measured",
    "missing",
    "own_scores",
    "participation",
    "score_tables",
    "settings",
    "site_scores",
    "software",
    "verdict",
]
