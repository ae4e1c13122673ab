"""The model card, in Markdown, under the headings of Mitchell et al. 2019 (doi 10.1145/3287560.3287596), from the records only.

Everything that the template prints is escaped, so that no text from a peer becomes markup, a link or the end of a table. Only
digests, keys and enumerated settings are printed between backticks: digits, letters, `/`, `.` and `-`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fedcli.measures import Metric
from fedcli.reporting import formats, tables
from fedcli.reporting.formats import METRIC_WORDS
from fedcli.reporting.templates import template_environment
from fedcli.text.visible_text import visible

if TYPE_CHECKING:
    from fedcli.reporting.report_data import Report
    from fedcli.reporting.tables import ChosenModel

_MARKUP = re.compile(r"[\\`*_{}\[\]<>|&~$#!]|(?<=www)\.|:(?=//)", re.IGNORECASE)

_SHOWN = (Metric.KAPPA, Metric.ACCURACY, Metric.BALANCED_ACCURACY, Metric.MACRO_AUC, Metric.DENSE_AUC, Metric.CALIBRATION_ERROR)


def render(report: Report, chosen: ChosenModel) -> str:
    """Return the card of a report's chosen model."""
    text = (
        template_environment(autoescape=False, finalize=escape)
        .get_template("card.md.j2")
        .render(
            report=report,
            chosen=chosen,
            plan=report.plan,
            record=chosen.verified.record,
            comparisons=[item for item in report.comparisons if item.site == chosen.site],
            metric_words={metric: METRIC_WORDS[metric] for metric in _SHOWN if metric in tables.metrics_of(report.plan)},
            shares={site.site: site for site in report.shares},
            absent=formats.ABSENT,
        )
    )
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def escape(value: object) -> str:
    """Return a text as Markdown that reads as the same text, on one line."""
    return _MARKUP.sub(r"\\\g<0>", visible(str(value)))
