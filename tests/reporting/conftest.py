"""The published study's report and its figures, made once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fedcli.reporting.figures import illustrations
from fedcli.reporting.report_data import gather
from tests.reporting.published_study import paper_history

if TYPE_CHECKING:
    from fedcli.reporting.figures.illustration import Illustration
    from fedcli.reporting.report_data import Report


@pytest.fixture(scope="session")
def report() -> Report:
    return gather(paper_history(), "verified; coordinator SHA256:abc")


@pytest.fixture(scope="session")
def pictures(report: Report) -> tuple[Illustration, ...]:
    return illustrations(report)
