"""Learning curves in the terminal."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from fedcli.cli import curves, status_view
from fedcli.reporting.tables.learning import LearningCurve, LearningPoint

if TYPE_CHECKING:
    from tests.fixtures.federation import Federation


def test_a_line_rises_with_its_values() -> None:
    assert curves.line([0.0, 0.2, 0.5, 0.99, 1.0, 1.3, -0.4], 1.0) == "▁▂▅███▁"
    assert curves.line([0.5, None, 2.0], 2.0) == "▃·█"
    assert curves.line([None, None], 1.0) == "··"
    assert curves.line([0.0, 0.0], 0.0) == "▁▁"


def test_many_rounds_are_means_of_shares() -> None:
    assert curves.line([0.0, 1.0] * 30, 1.0, width=10) == "▅" * 10
    assert curves.line([0.0] * 30 + [1.0] * 30, 1.0, width=10) == "▁▁▁▁▁█████"
    assert curves.line([0.0, None, 1.0, None], 1.0, width=2) == "▁█"


@given(st.lists(st.one_of(st.none(), st.floats(-1, 1)), min_size=1, max_size=400), st.integers(1, 60))
def test_a_line_is_never_longer_than_its_width_and_no_value_is_left_out(values: list[float | None], width: int) -> None:
    line = curves.line(values, 1.0, width)
    assert len(line) == min(width, len(values))
    assert (set(line) == {"·"}) == all(value is None for value in values)


def point(number: int, kappa: float) -> LearningPoint:
    return LearningPoint(
        round=number,
        received_kappa=kappa / 2,
        received_loss=1.0,
        trained_kappa=kappa,
        trained_loss=1.0 - kappa,
        training_loss=1.0,
        norm=1.0,
        cosine=None,
    )


def test_rounds_without_an_update_are_dots_in_their_place() -> None:
    first = LearningCurve(site="north", points=(point(1, 0.1), point(4, 0.9)))
    second = LearningCurve(site="valley", points=tuple(point(number, 0.5) for number in range(1, 5)))
    out = Console(file=io.StringIO(), width=80)
    out.print(curves.table((first, second)))
    lines = out.file.getvalue().splitlines()
    assert lines[0].startswith("Validation, rounds 1 to 4")
    assert all(len(line) <= 80 for line in lines)
    rows = {
        cells[1].strip(): [cell.strip() for cell in cells[2:5]] for cells in (line.split("│") for line in lines) if len(cells) > 4
    }
    assert rows["north"] == ["▁··▄", "▁··█", "█··▁"]
    assert rows["valley"] == ["▃▃▃▃", "▅▅▅▅", "████"]


def test_one_round_is_no_curve_and_two_are(trained: Federation, finished: Federation) -> None:
    def shown(federation: Federation) -> str:
        out = Console(file=io.StringIO(), width=80)
        status_view.show(out, federation.status(), federation.clock())
        return out.file.getvalue()

    assert "Validation, rounds" not in shown(trained)
    text = shown(finished)
    assert "Validation, rounds 1 to 2" in text
    for site in ("north", "valley"):
        kappas = []
        for number in (1, 2):
            record = finished.drop / "sites" / site / f"round-{number:04d}" / "update.json"
            kappas.append(json.loads(record.read_bytes())["trained"]["kappa"])
        row = next(line for line in text.splitlines() if line.startswith(f"│ {site} ") and line.count("│") == 5)
        assert row.split("│")[3].strip() == curves.line(kappas, 1.0)
