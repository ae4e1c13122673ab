"""Pure functions from a `History` to the values that the report's tables and figures show."""

from __future__ import annotations

from fedcli.reporting.tables.agreement import agreement
from fedcli.reporting.tables.cohorts import (
    ClassShares,
    DatasetRow,
    DatasetTable,
    Intensities,
    class_shares,
    dataset_table,
    intensities,
)
from fedcli.reporting.tables.comparisons import SiteComparison, comparisons
from fedcli.reporting.tables.cross_site import (
    Cell,
    Change,
    CrossSiteTable,
    GlobalRow,
    Improvement,
    Mean,
    OwnScores,
    cross_site_table,
    global_row,
    improvement,
    own_scores,
)
from fedcli.reporting.tables.gaps import missing
from fedcli.reporting.tables.learning import GlobalPoint, LearningCurve, LearningPoint, global_curve, learning_curves
from fedcli.reporting.tables.participation import Attendance, Participation, attendance, participation
from fedcli.reporting.tables.provenance import NamedDigest, Setting, Software, digests, settings, software
from fedcli.reporting.tables.traffic import ExchangeFacts, SiteExchange, exchange_facts

__all__ = [
    "Attendance",
    "Cell",
    "Change",
    "ClassShares",
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
    "Setting",
    "SiteComparison",
    "SiteExchange",
    "Software",
    "agreement",
    "attendance",
    "class_shares",
    "comparisons",
    "cross_site_table",
    "dataset_table",
    "digests",
    "exchange_facts",
    "global_curve",
    "global_row",
    "improvement",
    "intensities",
    "learning_curves",
    "missing",
    "own_scores",
    "participation",
    "settings",
    "software",
]
