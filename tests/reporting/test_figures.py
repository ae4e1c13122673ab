"""Figures: complete, described, deterministic, safe from what peers write."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

import matplotlib as mpl

from fedcli.exchange.history import reference_to
from fedcli.exchange.records import ModelKind
from fedcli.plan import Evaluation, Plan
from fedcli.reporting.figures import NAMES, illustrations
from fedcli.reporting.report_data import gather
from tests.fixtures.history import HandmadeHistory
from tests.fixtures.records import cohort, score
from tests.reporting.published_study import paper_history

if TYPE_CHECKING:
    from fedcli.reporting.figures.illustration import Illustration


def test_every_figure_is_drawn_and_described(pictures: tuple[Illustration, ...]) -> None:
    assert tuple(picture.name for picture in pictures) == NAMES
    for picture in pictures:
        root = ET.fromstring(picture.svg)  # noqa: S314 - our own output
        assert root.find("{*}title").text == picture.title
        assert root.find("{*}desc").text == picture.description
        assert picture.png.startswith(b"\x89PNG")


def test_the_same_history_gives_the_same_bytes(pictures: tuple[Illustration, ...]) -> None:
    mpl.rcParams["font.size"] = 23  # a program around us may have changed it
    try:
        assert illustrations(gather(paper_history(), "verified")) == pictures
        assert mpl.rcParams["font.size"] == 23
    finally:
        mpl.rcdefaults()


def test_identifiers_differ_between_the_figures_of_a_page(pictures: tuple[Illustration, ...]) -> None:
    identifiers = [identifier for picture in pictures for identifier in set(re.findall(r'\bid="([^"]+)"', picture.inline))]
    assert len(identifiers) == len(set(identifiers))
    for picture in pictures:
        used = re.findall(r'(?:url\(#|href="#)([^")]+)', picture.inline)
        assert {*used} <= {*re.findall(r'\bid="([^"]+)"', picture.inline)}


def test_the_page_gives_its_own_ink(pictures: tuple[Illustration, ...]) -> None:
    for picture in pictures:
        assert "currentColor" in picture.inline
        assert 'fill="#ffffff"' not in picture.inline
        assert 'fill="#ffffff"' in picture.svg
        assert "http" not in re.sub(r'xmlns(:\w+)?="[^"]*"', "", picture.inline)


def test_text_of_peers_is_neither_markup_nor_mathematics() -> None:
    classes = ("</text><script>alert(1)</script>", r"$\frac{$", "密度")
    build = HandmadeHistory(("east",), Plan(name="pilot", rounds=1, classes=classes, evaluation=Evaluation(dense=())))
    build.round()
    build.dataset("east", cohort(shares=(0.4, 0.5, 0.1)))
    picture = next(item for item in illustrations(gather(build.history, "")) if item.name == "fig3-classes")
    assert "<script" not in picture.svg + picture.inline
    assert ET.fromstring(picture.svg) is not None  # noqa: S314 - our own output


def test_fig_5_shows_negative_and_absent_kappas() -> None:
    build = HandmadeHistory(("east", "west"), Plan(name="pilot", rounds=1))
    build.round()
    build.round()
    build.evaluation("east", [score(reference_to(build.model("east", ModelKind.LOCAL)), -0.1)])
    figures = {item.name: item for item in illustrations(gather(build.history, ""))}
    assert "east: −0.10, –, –; west: –, –, –" in figures["fig5-kappa"].description


def test_hovering_shows_the_interval(pictures: tuple[Illustration, ...]) -> None:
    tips = {
        picture.name: [title.text for title in ET.fromstring(picture.svg).iterfind(".//{*}g/{*}title")]  # noqa: S314
        for picture in pictures
    }
    cell = "client7 on client7's test patients: kappa 0.77 (substantial), 95\u00a0% interval 0.72 to 0.82, 322 cases"
    assert tips["table2-cross-site"].count(cell) == 2  # the square, and the number in it
    assert f"Federated: {cell}" in tips["fig5-kappa"]
    assert len(tips["comparisons"]) == 2 * (14 + 2)  # the point, and its interval; two of them for all sites
    assert any(text.startswith("At client2, the federated model's kappa is 0.09 higher") for text in tips["comparisons"])


def test_cosines_below_zero_and_undefined_ones() -> None:
    build = HandmadeHistory(("east", "west"), Plan(name="pilot", rounds=1))
    build.round()
    for site in build.sites:
        build.update(site, 1, 0.1, 0.2)
    build.round(cosines={"east": -0.5, "west": None})
    figures = {item.name: item for item in illustrations(gather(build.history, ""))}
    assert "Means: east: −0.50; west: –." in figures["update-cosines"].description
    assert "Means: east: 1.000; west: 1.000." in figures["update-norms"].description


def test_without_a_closed_round_there_is_no_agreement_to_draw() -> None:
    build = HandmadeHistory(("east",), Plan(name="pilot", rounds=1))
    build.round()
    build.update("east", 1, 0.1, 0.2)
    names = {item.name for item in illustrations(gather(build.history, ""))}
    assert "update-norms" in names
    assert "update-cosines" not in names


def test_nothing_to_draw() -> None:
    assert illustrations(gather(HandmadeHistory((), Plan(name="pilot")).history, "")) == ()
