"""The files of a report."""

from __future__ import annotations

import csv
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from fedcli.errors import UsageError
from fedcli.exchange.history import reference_to
from fedcli.exchange.records import Rejected
from fedcli.plan import Plan
from fedcli.reporting.csv_tables import csv_tables
from fedcli.reporting.figures import NAMES
from fedcli.reporting.report_data import gather
from fedcli.reporting.report_files import write_report
from tests.fixtures.history import HandmadeHistory
from tests.fixtures.records import score
from tests.reporting.published_study import CLIENTS, PAPER_LOCAL, paper_history

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("report")
    files = write_report(paper_history(), "verified", out)
    assert files[:2] == (out / "report.html", out / "model-card.md")
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
    assert 0 < float(lines(folder, "learning-curves")[0]["cosine"]) < 1
    assert lines(folder, "learning-curves")[3]["cosine"] == ""
    assert len(lines(folder, "participation")) == 3 * 7
    assert lines(folder, "exchange")[0]["updates"] == "3"


def test_every_metric_of_every_score(folder: Path) -> None:
    rows = lines(folder, "table2-metrics")
    assert len(rows) == 7 * (3 * 7 + 1) * 2 * 7
    values = {
        (row["level"], row["metric"]): (row["count"], row["value"], row["low"], row["high"])
        for row in rows
        if (row["kind"], row["trained_at"], row["tested_at"]) == ("federated", "client7", "client7")
    }
    assert values["case", "kappa"] == ("322", "0.77", "0.72", "0.82")
    assert values["image", "accuracy"][:2] == ("1288", "0.885")


def test_comparisons(folder: Path) -> None:
    rows = lines(folder, "comparisons")
    assert len(rows) == 14
    assert list(rows[2].values()) == ["client2", "federated", "local", "642", "0.09", "0.05", "0.13", "0.0002", "10000", "0.0014"]


def test_confusion(folder: Path) -> None:
    rows = lines(folder, "confusion")
    assert len(rows) == 2 * 7 * 2 * 16
    true_a = [row for row in rows[:16] if row["true"] == "a"]
    assert sum(int(row["count"]) for row in true_a) == 1633 // 4
    assert sum(float(row["share_of_true"]) for row in true_a) == pytest.approx(1)
    assert {row["withheld"] for row in rows} == {"no"}


def test_what_is_withheld_has_no_number() -> None:
    build = HandmadeHistory(("east",), Plan(name="pilot", rounds=1))
    build.round()
    build.round()
    scored = score(reference_to(build.history.rounds[-1]), 0.5, patients=40)
    by_case = replace(scored.by_case, confusion=((None, 4, 0, 0), *scored.by_case.confusion[1:]))
    build.evaluation("east", [replace(scored, by_case=by_case, by_image=replace(scored.by_image, confusion=None))])
    text = next(table.text for table in csv_tables(gather(build.history, "")) if table.name == "confusion")
    rows = [*csv.DictReader(text.splitlines())]
    assert (rows[0]["count"], rows[0]["share_of_true"], rows[0]["withheld"]) == ("", "", "yes")
    assert (rows[1]["count"], rows[1]["share_of_true"], rows[1]["withheld"]) == ("4", "", "no")
    assert (rows[16]["level"], rows[16]["true"], rows[16]["withheld"]) == ("image", "", "yes")
    assert len(rows) == 17


def test_the_card_is_of_the_model_that_was_asked_for(tmp_path: Path) -> None:
    write_report(paper_history(), "verified", tmp_path, "client3/finetuned")
    assert "the fine-tuned model of client3 (epoch 3)" in (tmp_path / "model-card.md").read_text(encoding="utf-8")
    assert "The fine-tuned model of client3 (epoch 3)" in (tmp_path / "report.html").read_text(encoding="utf-8")
    without_rounds = HandmadeHistory(("east",), Plan(name="pilot")).history
    write_report(without_rounds, "consistent", tmp_path)
    assert not (tmp_path / "model-card.md").exists()


def test_a_model_that_does_not_exist_changes_no_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such model"):
        write_report(paper_history(), "verified", tmp_path / "out", "client8/local")
    assert not (tmp_path / "out").exists()


def test_figures(folder: Path) -> None:
    assert {path.name for path in (folder / "figures").iterdir()} == {f"{name}.{end}" for name in NAMES for end in ("svg", "png")}


def test_a_later_report_replaces_every_file_of_the_older(folder: Path) -> None:
    build = HandmadeHistory(("east",), Plan(name="pilot", rounds=1))
    build.round()
    files = write_report(build.history, "consistent", folder)
    assert {*files} == {path for path in folder.rglob("*") if path.is_file()}
    assert not [path for path in files if path.suffix == ".svg"]
    assert "pilot" in (folder / "report.html").read_text()


def test_a_spreadsheet_runs_no_formula_of_a_peer() -> None:
    build = HandmadeHistory(("east", "west"), Plan(name="pilot", rounds=1))
    build.round()
    build.round(rejected=(Rejected(site="west", update=None, reason='=HYPERLINK("x")'),))
    text = next(table.text for table in csv_tables(gather(build.history, "")) if table.name == "participation")
    assert "\"'=HYPERLINK(" in text


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    build = HandmadeHistory(("east",), Plan(name="pilot"))
    with pytest.raises(UsageError, match="cannot be written"):
        write_report(build.history, "", tmp_path / "taken")
