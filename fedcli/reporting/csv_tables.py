"""The report's tables as CSV: UTF-8, comma-separated, with a header line, at full precision, empty where there is no value."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from fedcli.measures import Metric
from fedcli.reporting.attempts import Attempts
from fedcli.reporting.tables import class_names, confusion
from fedcli.reporting.tables.cohorts import FULL_HISTOGRAM
from fedcli.text.csv_text import csv_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from fedcli.measures import Measures
    from fedcli.reporting.report_data import Report
    from fedcli.reporting.tables import Cell, CrossSiteTable, GlobalRow, SiteScore

Value = str | int | float | None

_MODEL = ("kind", "round", "trained_at", "tested_at")


@dataclass(frozen=True, slots=True, kw_only=True)
class CsvTable:
    """One CSV file: its stem and its text."""

    name: str
    text: str


def csv_tables(report: Report, attempts: Attempts | None = None) -> tuple[CsvTable, ...]:
    """Return every table that can be written, also those without rows."""
    attempts = attempts or Attempts()
    lines: dict[str, Iterable[tuple[Value, ...]]] = {
        "table1-datasets": _datasets(report),
        **{f"table2-{table.kind}": _matrix(table) for table in report.cross_site},
        "table2-global": _global_rows(report.cross_site[0].sites, report.global_rows),
        "table2-cells": _cells(report),
        "table2-means": _means(report),
        "table2-metrics": _metrics(report),
        "comparisons": _comparisons(report),
        "comparisons-pooled": _pooled(report),
        "confusion": _confusion(report),
        "fig3-classes": _classes(report),
        "fig4-intensities": _intensities(report),
        "fig5-kappa": _own_scores(report),
        "learning-curves": _learning(report),
        "participation": _participation(report),
        "exchange": _exchange(report),
        **({"privacy": _patient_costs(report)} if report.plan.privacy.promised else {}),
    }
    texts = {name: attempts.make(f"table {name}", partial(csv_text, rows), None) for name, rows in lines.items()}
    return tuple(CsvTable(name=name, text=text) for name, text in texts.items() if text is not None)


def _datasets(report: Report) -> Iterator[tuple[Value, ...]]:
    parts = ("train", "validation", "test")
    yield (
        *("site", "megapixels_low", "megapixels_high", "detectors", "image_types", "bits"),
        *(f"{part}_{what}" for what in ("images", "patients") for part in parts),
    )
    for row in report.datasets.rows:
        cohort = row.cohort
        yield (
            *(row.site, *cohort.megapixels, "/".join(cohort.detectors), "/".join(cohort.image_types)),
            "/".join(map(str, cohort.bits)),
            *(part.images for part in cohort.parts),
            *(part.patients for part in cohort.parts),
        )


def _matrix(table: CrossSiteTable) -> Iterator[tuple[Value, ...]]:
    yield ("trained_at", *table.sites)
    for site, row in zip(table.sites, table.rows, strict=True):
        yield (site, *(cell.kappa for cell in row))


def _global_rows(sites: tuple[str, ...], rows: tuple[GlobalRow, ...]) -> Iterator[tuple[Value, ...]]:
    yield ("round", "newest", "best", *sites)
    for row in rows:
        yield (row.round, "yes" if row.newest else "no", "yes" if row.best else "no", *(cell.kappa for cell in row.cells))


def _cells(report: Report) -> Iterator[tuple[Value, ...]]:
    yield ("kind", "round", "trained_at", "tested_at", "scored", "patients", "kappa", "kappa_low", "kappa_high")
    for table in report.cross_site:
        for row in table.rows:
            for cell in row:
                yield (table.kind.value, None, *_cell(cell))
    for global_row in report.global_rows:
        for cell in global_row.cells:
            yield ("global", global_row.round, *_cell(cell))


def _cell(cell: Cell) -> tuple[Value, ...]:
    low, high = cell.interval or (None, None)
    return (cell.trained_at, cell.tested_at, "yes" if cell.scored else "no", cell.patients, cell.kappa, low, high)


def _means(report: Report) -> Iterator[tuple[Value, ...]]:
    yield ("what", "value", "cells", "expected_cells")
    for table in report.cross_site:
        for name, mean in (("diagonal", table.diagonal), ("off_diagonal", table.off_diagonal)):
            yield (f"{table.kind}_{name}_mean", mean.value, mean.present, mean.expected)
    for global_row in report.global_rows:
        yield (f"global_round_{global_row.round}_mean", global_row.mean.value, global_row.mean.present, global_row.mean.expected)
    for name, change in (("diagonal", report.improvement.diagonal), ("off_diagonal", report.improvement.off_diagonal)):
        yield (f"relative_improvement_{name}", change.relative, change.present, change.expected)


def _metrics(report: Report) -> Iterator[tuple[Value, ...]]:
    yield (*_MODEL, "level", "count", "metric", "value", "low", "high")
    for item in report.scores:
        for level, measures in _levels(item):
            for metric in Metric:
                estimate = measures.estimate(metric)
                yield (*_model(item), level, measures.count, metric.value, estimate.value, *(estimate.interval or (None, None)))


def _comparisons(report: Report) -> Iterator[tuple[Value, ...]]:
    yield ("site", "model", "compared_with", "cases", "difference", "low", "high", "p_value", "permutations", "adjusted_p")
    for item in report.comparisons:
        result = item.result
        bounds = result.interval or (None, None)
        yield (
            *(item.site, item.kind.value, item.other.value, result.cases, result.difference, *bounds),
            *(result.p_value, result.permutations, item.adjusted),
        )


def _pooled(report: Report) -> Iterator[tuple[Value, ...]]:
    yield ("model", "compared_with", "sites", "difference", "low", "high", "spread", "margin", "inferiority")
    for item in report.pooled:
        yield (
            *(item.kind.value, item.other.value, item.sites, item.difference, *item.interval, item.spread),
            *((item.margin, item.inferiority.value) if item.inferiority else (None, None)),
        )


def _confusion(report: Report) -> Iterator[tuple[Value, ...]]:
    yield (*_MODEL, "level", "true", "predicted", "count", "share_of_true", "withheld")
    for item in dict.fromkeys(item for table in report.score_tables for item in table.rows):
        for level, measures in _levels(item):
            matrix = confusion(measures)
            if matrix is None:
                yield (*_model(item), level, None, None, None, None, "yes")
                continue
            names = class_names(report.plan.classes, len(matrix))
            for true, row in zip(names, matrix, strict=True):
                for predicted, cell in zip(names, row, strict=True):
                    withheld = "yes" if cell.count is None else "no"
                    yield (*_model(item), level, true, predicted, cell.count, cell.share, withheld)


def _model(item: SiteScore) -> tuple[Value, ...]:
    return (item.score.model.kind.value, item.score.model.round, item.score.model.party, item.tested_at)


def _levels(item: SiteScore) -> tuple[tuple[str, Measures], ...]:
    return (("case", item.score.by_case), ("image", item.score.by_image))


def _classes(report: Report) -> Iterator[tuple[Value, ...]]:
    yield ("site", "class", "images", "share")
    for site in report.shares:
        for name, images, share in zip(site.classes, site.images, site.shares, strict=True):
            yield (site.site, name, images, share)


def _intensities(report: Report) -> Iterator[tuple[Value, ...]]:
    yield ("site", "intensity_low", "intensity_high", "share")
    for site in report.intensities:
        bins = len(site.shares)
        for index, share in enumerate(site.shares):
            yield (site.site, index / bins, (index + 1) / bins, round(share * FULL_HISTOGRAM) / FULL_HISTOGRAM)


def _own_scores(report: Report) -> Iterator[tuple[Value, ...]]:
    yield ("site", *(f"{kind}_{what}" for kind in ("local", "federated", "finetuned") for what in ("kappa", "low", "high")))
    for site in report.own_scores:
        yield (site.site, *(value for cell in site.cells for value in (cell.kappa, *(cell.interval or (None, None)))))


def _learning(report: Report) -> Iterator[tuple[Value, ...]]:
    yield (
        *("site", "round", "received_kappa", "received_loss", "trained_kappa", "trained_loss", "training_loss", "update_norm"),
        *("cosine", "note"),
    )
    for curve in report.curves:
        for point in curve.points:
            yield (
                *(curve.site, point.round, point.received_kappa, point.received_loss, point.trained_kappa, point.trained_loss),
                *(point.training_loss, point.norm, point.cosine, None),
            )
        if curve.last and curve.last_round is not None:
            last = (curve.last.kappa, curve.last.loss)
            yield (curve.site, curve.last_round + 1, *last, None, None, None, None, None, "scored at evaluation")


def _participation(report: Report) -> Iterator[tuple[Value, ...]]:
    yield ("round", "closed", "site", "state", "reason")
    for item in report.participation_by_round:
        closed = item.created.isoformat()
        if item.restart is not None:
            yield (item.round, closed, None, f"restart from round {item.restart.round}", item.restart.reason)
        yield from ((item.round, closed, site, "contributed", None) for site in item.contributed)
        yield from ((item.round, closed, site, "absent", None) for site in item.absent)
        yield from ((item.round, closed, excused.site, "excused", excused.reason) for excused in item.excused)
        yield from ((item.round, closed, rejected.site, "rejected", rejected.reason) for rejected in item.rejected)
        yield from ((item.round, closed, site, "late", None) for site in item.late)


def _exchange(report: Report) -> Iterator[tuple[Value, ...]]:
    yield (
        *("site", "updates", "update_bytes", "model_bytes", "training_hours", "steps", "median_norm", "last_norm"),
        *("median_cosine", "devices"),
    )
    for site in report.exchange.sites:
        yield (
            *(site.site, site.updates, site.update_bytes, site.model_bytes, site.training_hours, site.steps),
            *(site.median_norm, site.last_norm, site.median_cosine, "/".join(site.devices)),
        )


def _patient_costs(report: Report) -> Iterator[tuple[Value, ...]]:
    yield ("site", "updates", "patients_declared", "noise", "steps", "delta", "epsilon_claimed")
    for item in report.patient_costs:
        yield (item.site, item.updates, item.patients, item.noise, item.steps, item.delta, item.claimed)
