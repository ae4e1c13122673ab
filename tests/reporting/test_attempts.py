"""Records that break a table or a figure: most are refused, and what is left costs that part only."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from pydantic import ValidationError

from fedcli.errors import TrustError
from fedcli.exchange.records import ValidationScore
from fedcli.plan import Plan
from fedcli.reporting.attempts import Attempts
from fedcli.reporting.figures import illustrations
from fedcli.reporting.report_data import gather
from fedcli.reporting.report_files import write_report
from tests.fixtures.history import HandmadeHistory
from tests.fixtures.records import cohort

if TYPE_CHECKING:
    from pathlib import Path

LARGEST = 1e50


def history_of(**values: float) -> HandmadeHistory:
    build = HandmadeHistory(("east", "west"), Plan(name="pilot", rounds=2))
    build.round()
    build.update("east", 1, **values)
    build.update("west", 1)
    build.round()
    return build


@pytest.mark.parametrize("name", ["norm", "training_loss", "seconds"])
def test_a_number_that_no_figure_can_draw_is_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="less than or equal to"):
        history_of(**{name: 1.7e308})


def test_a_loss_that_no_figure_can_draw_is_refused() -> None:
    with pytest.raises(ValidationError, match="less than or equal to"):
        ValidationScore(patients=20, loss=1.7e308, kappa=0.5)


def test_the_largest_numbers_are_drawn(tmp_path: Path) -> None:
    attempts = Attempts()
    write_report(history_of(norm=LARGEST, training_loss=LARGEST, seconds=1e9).history, "", tmp_path, attempts=attempts)
    assert attempts.failures == []
    assert "1e+50" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_class_counts_of_another_length_are_refused() -> None:
    build = history_of()
    train, *others = cohort().parts
    build.dataset("east", replace(cohort(), parts=(replace(train, class_images=(1, 2, 3)), *others)))
    with pytest.raises(TrustError, match="classes of the train part: expected 4, found 3"):
        build.ledger().dataset("east", 1, build.datasets["east"])


def test_a_table_that_fails_is_named_and_the_others_stand(tmp_path: Path) -> None:
    """As it was before class counts of another length were refused: the history here is not verified."""
    build = history_of()
    train, *others = cohort().parts
    build.dataset("east", replace(cohort(), parts=(replace(train, class_images=(1, 2, 3)), *others)))
    attempts = Attempts()
    files = write_report(build.history, "", tmp_path, attempts=attempts)
    assert [failure.partition(":")[0] for failure in attempts.failures] == ["Fig. 3"]
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "1 part of this report could not be made" in page
    assert f"<li>{attempts.failures[0].partition('(')[0]}" in page
    assert {"figures/fig4-intensities.svg", "figures/update-norms.svg", "tables/table1-datasets.csv"} <= {
        path.relative_to(tmp_path).as_posix() for path in files
    }


def test_a_figure_that_fails_is_named_and_the_others_stand() -> None:
    report = gather(history_of().history, "")
    curves = (replace(report.curves[0], points=(replace(report.curves[0].points[0], norm=math.nan),)), *report.curves[1:])
    broken = replace(report, curves=(*curves, replace(curves[1], points=(replace(curves[1].points[0], norm="long"),))))
    attempts = Attempts()
    drawn = [picture.name for picture in illustrations(broken, attempts)]
    assert [failure.partition(":")[0] for failure in attempts.failures] == ["figure update-norms"]
    assert {"learning-kappa", "learning-loss"} <= set(drawn)
