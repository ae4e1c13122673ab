"""The page of predictions, in Chromium, and the table beside it: everything is on them, and nothing is loaded."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe

from fedcli.reporting.case_predictions import LeftOutImage, PredictionTable, prediction_table
from fedcli.reporting.prediction_page import SHOWN, PredictionPage
from tests.fixtures.browser import DESK, PHONE, View, beyond

if TYPE_CHECKING:
    from pathlib import Path

CLASSES = ("a", "b", "c", "<d> & more")
LEFT_OUT = LeftOutImage(file="2024/11/" + "a-long-folder/" * 6 + "spot<1>.dcm", reason="modified, magnified or partial view")


def table() -> PredictionTable:
    """Return twenty patients with two images each, the first ones uncertain, and one whose only file is left out."""
    names = [f"{number:02d}{'0' * 62}" for number in range(20)]
    leads = np.repeat(np.linspace(0.02, 0.9, 20), 2)
    probabilities = np.stack([(1 + leads) / 2, (1 - leads) / 2, 0 * leads, 0 * leads], axis=1)
    probabilities[::2] += [0.01, -0.01, 0, 0]
    probabilities[1::2] -= [0.01, -0.01, 0, 0]
    return prediction_table(
        CLASSES,
        0.2,
        [name for name in names for _ in range(2)],
        probabilities,
        files=[f"{number}/{view}.dcm" for number in range(20) for view in ("L-CC", "L-MLO")],
        patients={name: f"PAT-{number:05d}" for number, name in enumerate(names)} | {"9" * 64: "PAT <b>none</b>"},
        left_out={names[0]: [LEFT_OUT], "9" * 64: [LEFT_OUT]},
    )


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "new.html"
    pixels = np.random.default_rng(1).integers(0, 65535, (40, 64, 64)).astype(np.uint16)
    rendered = PredictionPage(
        table=table(),
        model="federated model of north, round 12",
        plan="density",
        unit="patient",
        created=datetime(2026, 11, 29, tzinfo=UTC),
        left_out=(LEFT_OUT,) * 600,
        pixels=pixels,
        titles=("L CC", "L MLO") * 20,
        companion="new.json",
    ).render()
    path.write_text(rendered, encoding="utf-8")
    return path


@pytest.mark.parametrize("width", [DESK, PHONE])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_displays_well(view: View, page: Path, scheme: str, width: int) -> None:
    shown = view.open(page, width=width, scheme=scheme)
    assert view.faults == []
    assert shown.evaluate("document.documentElement.scrollWidth") <= width
    assert beyond(shown) == []
    assert Axe().run(shown).response["violations"] == []


def test_the_most_uncertain_come_first_with_their_images(view: View, page: Path) -> None:
    shown = view.open(page, width=DESK, scheme="light")
    titles = shown.locator("article h3").all_inner_texts()
    assert titles == [f"PAT-{number:05d}: a{', uncertain' if number < 4 else ''}" for number in range(SHOWN)]
    assert shown.locator("article img").count() == 2 * SHOWN
    text = shown.locator("body").inner_text()
    assert "4 of 20 are uncertain: the most probable class is less than 20 percentage points ahead" in text
    assert "1 has no prediction" in text
    assert "PAT <b>none</b>" in text
    assert "This page names patients and shows their images. Only the file’s owner can read it" in text
    assert "And 100 more, in new.json." in text


def test_the_table_names_patients_classes_doubts_and_what_was_left_out() -> None:
    rows = list(csv.DictReader(io.StringIO(table().text())))
    assert len(rows) == 21
    first, last = rows[0], rows[-1]
    assert list(first) == [
        "case", "patient", "images", *(f"p({name})" for name in CLASSES), "uncertain", "predicted", "files", "left_out",
    ]  # fmt: skip
    assert (first["patient"], first["images"], first["predicted"], first["uncertain"]) == ("PAT-00000", "2", "a", "yes")
    assert float(first["p(a)"]) == pytest.approx(0.51)
    assert first["files"] == "0/L-CC.dcm; 0/L-MLO.dcm"
    assert first["left_out"] == f"{LEFT_OUT.file}: {LEFT_OUT.reason}"
    assert (rows[10]["uncertain"], rows[10]["left_out"]) == ("no", "")
    assert (last["patient"], last["images"], last["p(a)"], last["predicted"]) == ("PAT <b>none</b>", "0", "", "")


def test_of_equally_probable_classes_the_lower_is_predicted() -> None:
    even = prediction_table(CLASSES, 0.2, ["x"], np.full((1, 4), 0.25), patients={}, left_out={})
    assert even.class_cases() == (1, 0, 0, 0)
    assert even.text().splitlines() == ["case,images,p(a),p(b),p(c),p(<d> & more),uncertain,predicted",
                                        "x,1,0.250000,0.250000,0.250000,0.250000,yes,a"]  # fmt: skip
