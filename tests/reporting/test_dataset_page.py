"""The page of a prepared data set, in Chromium: everything is on it, nothing is loaded, and it is accessible."""

from __future__ import annotations

import html
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe

from fedcli.cohort import Rejection
from fedcli.imaging.dataset.survey import EXAMPLES, Survey
from fedcli.imaging.labels.columns import LabelKey
from fedcli.imaging.labels.resolution import RowFault, RowProblem
from fedcli.imaging.mammogram import ImageMetadata
from fedcli.imaging.preparation import PreparationSummary
from fedcli.plan import Evaluation, Images, Part, Plan
from fedcli.reporting.dataset_page import render
from tests.fixtures.browser import A4, DESK, PHONE, View, beyond
from tests.fixtures.records import cohort

if TYPE_CHECKING:
    from pathlib import Path

CLASSES = ("a", "b", "c", "<d> & more")
SCANNERS = ("Lorad Selenia", "GE <b>Senographe</b> Pristina", "")
METADATA = ImageMetadata(rows=400, columns=300, bits=12)
REASON = "rows, columns, frames or bits contradict the standard or the pixel data"


def survey() -> Survey:
    """Return a survey in which the second scanner is inverted and the test part has no image of the last class."""
    result = Survey([name for name in SCANNERS for _ in range(48)], Images(size=96))
    for number, name in enumerate(SCANNERS):
        generator = np.random.default_rng(number)
        for image in range(48):
            part, label = tuple(Part)[image % 3], image // 3 % 4
            if (part, label) == (Part.TEST, 3):
                continue
            pixels = np.zeros((96, 96), np.uint16)
            pixels[20:70, :60] = generator.integers(20_000, 60_000, (50, 60))
            shown = 65535 - pixels if number == 1 else pixels
            metadata = replace(METADATA, scanner=name, patient=f"patient {image // 12}")
            result.add(shown, metadata, part=part, label=label)
    return result


def prepared() -> PreparationSummary:
    problem = RowProblem(line=2, key="ACC-1", fault=RowFault.CONFLICT)
    return PreparationSummary(
        digest="0123456789ab" + "c" * 52,
        files=1400,
        images=166,
        rejected=(),
        cohort=cohort(rejections=(Rejection(reason=REASON, files=1234),)),
        preparation=Plan(name="page", classes=CLASSES, evaluation=Evaluation(dense=())).preparation,
        scanners=survey().views(),
        label_key=LabelKey.ACCESSION,
        label_column="acc_anon",
        label_problems=17 * (problem,),
        label_remarks=(),
    )


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "dataset.html"
    path.write_text(render(prepared()), encoding="utf-8")
    return path


@pytest.mark.parametrize("width", [DESK, PHONE])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_displays_well(view: View, page: Path, scheme: str, width: int) -> None:
    shown = view.open(page, width=width, scheme=scheme)
    assert view.faults == []
    assert shown.evaluate("document.documentElement.scrollWidth") <= width
    assert beyond(shown) == []
    options = {"resultTypes": ["violations"], "rules": {"color-contrast": {"enabled": width == DESK}}}
    violations = Axe().run(shown, options=options).response["violations"]
    serious = [item for item in violations if item["impact"] in {"serious", "critical"}]
    assert [(item["id"], item["nodes"][0]["html"][:120]) for item in serious] == []


def test_it_prints_completely(view: View, page: Path) -> None:
    shown = view.open(page, width=A4, scheme="light")
    shown.emulate_media(media="print", color_scheme="dark")
    assert beyond(shown) == []
    assert shown.pdf(format="A4", margin=dict.fromkeys(("top", "right", "bottom", "left"), "10mm")).startswith(b"%PDF-")
    assert view.faults == []


def test_every_example_is_drawn_and_named(view: View, page: Path) -> None:
    shown = view.open(page, width=DESK, scheme="light")
    images = shown.evaluate("[...document.images].map(item => [item.naturalWidth, item.complete, item.alt])")
    # Each of 3 scanners: 4 classes × 3 parts, but for the last class in test.
    assert len(images) == 3 * 11 * EXAMPLES
    assert {(width, complete) for width, complete, _ in images} == {(96, True)}
    assert images[0][2] == "Mammogram of class a, train, example 1"
    assert sum("<d> & more" in alt for _, _, alt in images) == 3 * 2 * EXAMPLES
    assert shown.locator(".examples tbody tr").count() == 3 * 4
    assert shown.locator(".examples td", has_text="none").count() == 3


def test_inverted_images_and_who_may_see_the_page_are_on_the_first_screen(view: View, page: Path) -> None:
    shown = view.open(page, width=DESK, scheme="light")
    alarm = shown.locator(".alarm")
    box = alarm.bounding_box()
    assert box is not None
    assert box["y"] + box["height"] < 900
    warning = "GE <b>Senographe</b> Pristina: the background of 44 of 44 images is bright; are they inverted?"
    assert warning in alarm.inner_text()
    assert "Lorad" not in alarm.inner_text()
    assert "Do not share it." in shown.locator(".notice").inner_text()


def test_all_facts_are_on_it(page: Path) -> None:
    text = html.unescape(page.read_text(encoding="utf-8"))
    facts = ["4 to 13.63", "Direct", "1\u202f400 files", "0123456789ab", REASON, "1\u202f234", "scanner not stated"]
    facts += ["key of the label table is the accession", "acc_anon", RowFault.CONFLICT, "17", "split.train"]
    facts += ["rejects.csv", "label-problems.csv"]
    for fact in facts:
        assert fact in text, fact
    source = page.read_text(encoding="utf-8")
    assert "<b>Senographe" not in source
    assert "<d>" not in source
    assert source.count("<figure>") == 2


def test_without_anything_wrong_it_says_so() -> None:
    summary = prepared()
    source = render(replace(summary, cohort=cohort(), scanners=summary.scanners[2:], label_problems=()))
    assert "Every file of the archive is in the data set." in source
    assert "Every row of the label table gave its class to at least one image." in source
    assert "alarm" not in source.split("</style>")[1]


def test_the_same_data_give_the_same_page(page: Path) -> None:
    assert render(prepared()) == page.read_text(encoding="utf-8")
