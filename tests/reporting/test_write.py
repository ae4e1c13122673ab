"""The files of a report."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import pytest

from fedcli.errors import UsageError
from fedcli.exchange.records import Rejected
from fedcli.plan import Plan
from fedcli.reporting.figures import NAMES
from fedcli.reporting.report import gather
from fedcli.reporting.sheets import sheets
from fedcli.reporting.write import write
from tests.reporting.histories import Builder
from tests.reporting.published_study import CLIENTS, PAPER_LOCAL, paper_history

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("report")
    files = write(paper_history(), "verified", out)
    assert files[0] == out / "report.html"
    assert {*files} == {path for path in out.rglob("*") if path.is_file()}
    return out


def lines(folder: Path, name: str) -> list[dict[str, str]]:
    with (folder / "tables" / f"{name}.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_table_2(folder: Path) -> None:
    rows = lines(folder, "table2-local")
    assert tuple(tuple(float(row[site]) for site in CLIENTS) for row in rows) == PAPER_LOCAL
    cells = [row for row in lines(folder, "table2-cells") if row["kind"] == "federated" and row["trained_at"] == row["tested_at"]]
    assert [row["kappa"] for row in cells] == ["0.62", "0.65", "0.63", "0.69", "0.62", "0.76", "0.77"]
    assert cells[0]["kappa_low"] == "0.57"
    assert lines(folder, "table2-global")[0]["client5"] == "0.4852"


def test_means(folder: Path) -> None:
    means = {row["what"]: float(row["value"]) for row in lines(folder, "table2-means")}
    assert round(means["local_diagonal_mean"], 2) == 0.64
    assert round(means["local_off_diagonal_mean"], 2) == 0.18
    assert round(means["federated_diagonal_mean"], 2) == 0.68
    assert round(means["federated_off_diagonal_mean"], 2) == 0.26
    assert means["relative_improvement_off_diagonal"] == pytest.approx(11.05 / 7.57 - 1)


def test_the_other_tables(folder: Path) -> None:
    assert lines(folder, "table1-datasets")[2]["train_images"] == "44115"
    assert lines(folder, "table1-datasets")[6]["image_types"] == "2D/tomosynthesis"
    assert len(lines(folder, "fig4-intensities")) == 7 * 64
    assert sum(float(row["share"]) for row in lines(folder, "fig3-classes")) == pytest.approx(7)
    assert lines(folder, "fig5-kappa")[6]["finetuned_kappa"] == "0.79"
    assert lines(folder, "learning-curves")[3]["note"] == "scored at evaluation"
    assert len(lines(folder, "participation")) == 3 * 7
    assert lines(folder, "exchange")[0]["updates"] == "3"


def test_figures(folder: Path) -> None:
    assert {path.name for path in (folder / "figures").iterdir()} == {f"{name}.{end}" for name in NAMES for end in ("svg", "png")}


def test_a_later_report_replaces_the_older_whole(folder: Path) -> None:
    build = Builder(("east",), Plan(name="pilot", rounds=1))
    build.round()
    files = write(build.history, "consistent", folder)
    assert {*files} == {path for path in folder.rglob("*") if path.is_file()}
    assert not [path for path in files if path.suffix == ".svg"]
    assert "pilot" in (folder / "report.html").read_text()


def test_a_spreadsheet_runs_no_formula_of_a_peer() -> None:
    build = Builder(("east", "west"), Plan(name="pilot", rounds=1))
    build.round()
    build.round(rejected=(Rejected(site="west", update=None, reason='=HYPERLINK("x")'),))
    text = next(sheet.text for sheet in sheets(gather(build.history, "")) if sheet.name == "participation")
    assert "\"'=HYPERLINK(" in text


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    build = Builder(("east",), Plan(name="pilot"))
    with pytest.raises(UsageError, match="cannot be written"):
        write(build.history, "", tmp_path / "taken")
