"""The page: well-formed, self-contained, honest about what is missing and what does not verify."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest

from fedcli.errors import MissingError
from fedcli.exchange.history import History, Problem, reference_to
from fedcli.exchange.records import ModelKind, Rejected
from fedcli.plan import Evaluation, Plan
from fedcli.reporting.figures import illustrations
from fedcli.reporting.report_data import gather
from fedcli.reporting.report_files import render
from tests.fixtures.history import HandmadeHistory
from tests.fixtures.records import score
from tests.reporting.published_study import paper_history

if TYPE_CHECKING:
    from fedcli.reporting.figures.illustration import Illustration
    from fedcli.reporting.report_data import Report

VOID = {"meta", "br", "link", "img", "hr", "input"}
HOSTILE = "<script>alert('x')</script><img src=x onerror=alert(1)>"


class Reader(HTMLParser):
    """Check that elements nest, and collect text, tags and attributes."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Open an element."""
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take an element without content."""
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        """Close the innermost element."""
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag, f"</{tag}> in {self.getpos()}"

    def handle_data(self, data: str) -> None:
        """Collect text."""
        self.words.append(data)

    @property
    def text(self) -> str:
        """All text, with white space collapsed."""
        return re.sub(r"\s+", " ", " ".join(self.words))


def page(history: History, statement: str = "verified; coordinator SHA256:abc") -> str:
    report = gather(history, statement)
    return render(report, illustrations(report))


def read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    reader.close()
    assert reader.open == []
    return reader


@pytest.fixture(scope="module")
def html(report: Report, pictures: tuple[Illustration, ...]) -> str:
    return render(report, pictures)


def test_the_papers_page(html: str) -> None:
    text = read(html).text
    assert (
        "On the sites' own test patients, mean kappa goes from 0.64 (local-only, substantial) to 0.68 (federated, substantial), "
        "a relative change of +6.0 %."
    ) in text
    assert "from 0.18 (local-only, slight) to 0.26 (federated, fair), a relative change of +46.0 %." in text
    assert "verified; coordinator SHA256:abc" in text
    assert "Still missing" not in text
    assert (
        "is significantly better than the local-only one at 4 of 7 sites, and significantly worse at none (p < 0.05 after Holm's "
        "correction). Over 7 sites, on their own test patients, the federated model's kappa is 0.04 higher than the local-only"
    ) in text
    assert "Direct/Scintillator" in text
    assert "10/12" in text


def test_many_sites_are_a_picture() -> None:
    """Forty sites: nobody reads 1,600 cells; the page shows colours, and says in which files the figures are."""
    build = HandmadeHistory(tuple(f"site-{number:02d}" for number in range(40)), Plan(name="pilot", rounds=1))
    build.round()
    build.round()
    models = [build.model(site, ModelKind.FEDERATED) for site in build.sites]
    for site in build.sites[:3]:
        build.evaluation(site, [score(reference_to(model), 0.5) for model in models])
    report = gather(build.history, "verified")
    page = render(report, illustrations(report))
    assert "40 sites: the picture above shows this table" in page
    assert '<table class="matrix">' not in page
    assert page.count("<image ") >= 1
    assert len(page) < 1_000_000


def test_the_chosen_model_and_its_digest(html: str) -> None:
    text = read(html).text
    newest = paper_history().rounds[-1]
    assert "The best and final global model (round 3 of 3), chosen for its validation kappa of 0.39." in text
    assert newest.digest in text
    assert newest.artifact.content_sha256 in text
    assert "at most fair (kappa 0.40 or lower) at client4 (0.31), client6 (0.31) and client7 (0.09)." in text


def test_comparisons_in_a_table_and_in_sentences(html: str) -> None:
    text = read(html).text
    assert "client2 federated minus local-only 0.09 0.05 to 0.13 0.0002 0.0014 642" in text
    assert "At client2, the federated model's kappa is 0.09 higher than the local-only model's" in text
    assert "Not compared" not in text


def test_other_metrics_of_cases_and_images(html: str) -> None:
    text = read(html).text
    assert "Each site's federated model on its own patients, by case" in text
    assert "The best and final global model (round 3 of 3) on every site's patients, by image" in text
    assert "Dense AUC: c and d against the others." in text
    assert "a 330 81 % 78 19 % 0 0 % 0 0 %" in text


def test_what_is_withheld_or_not_scored_is_named() -> None:
    build = HandmadeHistory(("east", "north"), Plan(name="pilot", rounds=1, evaluation=Evaluation(dense=(), min_cell=5)))
    build.round()
    build.round()
    scored = score(reference_to(build.history.rounds[-1]), 0.5, patients=40)
    by_case = replace(scored.by_case, confusion=((None, None, 0, 6), *scored.by_case.confusion[1:]))
    build.evaluation("east", [replace(scored, by_case=by_case)])
    text = read(page(build.history)).text
    assert "a withheld withheld 0 6 b" in text
    assert "Not scored at north." in text
    assert "Not compared: east and north." in text
    assert "Dense AUC" not in text
    assert "Cells with fewer than 5 cases" in text
    build.evaluation("east", [replace(scored, by_case=replace(scored.by_case, confusion=None))])
    assert "east, global model, round 1: withheld." in read(page(build.history)).text


def test_it_loads_nothing_and_runs_nothing(html: str) -> None:
    reader = read(html)
    for tag, attributes in reader.tags:
        assert tag not in {"script", "link", "iframe", "object", "embed", "img"}
        assert not any(name.startswith("on") for name in attributes)
        target = attributes.get("href") or attributes.get("xlink:href") or attributes.get("src") or "#"
        assert target.startswith("#")
    assert "@import" not in html
    assert not re.search(r"url\((?!#)", html)


def test_tables_are_named_and_reachable(html: str) -> None:
    tags = read(html).tags
    regions = [attributes for _, attributes in tags if attributes.get("class") == "scroll"]
    assert regions
    assert all(region.get("tabindex") == "0" and region.get("aria-label") for region in regions)
    identifiers = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))
    titles = [attributes["title"] for tag, attributes in tags if tag == "td" and "title" in attributes]
    assert "client7 on client7's test patients: kappa 0.77 (substantial), 95\u00a0% interval 0.72 to 0.82, 322 cases" in titles
    assert len(titles) == 3 * 49 + 7


def test_the_same_history_gives_the_same_page(html: str, pictures: tuple[Illustration, ...]) -> None:
    assert render(gather(paper_history(), "verified; coordinator SHA256:abc"), pictures) == html


def half_way() -> HandmadeHistory:
    build = HandmadeHistory(("east", "north"), Plan(name="pilot <b>", rounds=5))
    build.round()
    build.update("east", 1, None, 0.1)
    return build


def test_half_way_names_what_is_missing() -> None:
    text = read(page(half_way().history)).text
    assert "There is no result yet" in text
    assert "Round 1 of 5 is waiting for north: run fedcli train-round." in text
    assert "No site has scored a federated model yet" in text
    assert "as a fraction of their data: no site has published a dataset summary yet." in text
    assert "No round has been closed yet" in text
    assert "Not compared: east and north." in text
    assert "No site has scored its federated model or a global model yet." in text


def test_problems_are_at_the_top() -> None:
    history = replace(half_way().history, problems=(Problem(key="sites/north/round-0001/update.json", message="bad signature"),))
    text = read(page(history, "consistent; coordinator SHA256:abc not confirmed")).text
    assert "1 verification problem" in text
    assert text.index("bad signature") < text.index("Verification consistent;") < text.index("Table 1")


def test_what_peers_write_is_text() -> None:
    build = half_way()
    build.update("north", 1, 0.1, 0.2, device=HOSTILE[:200])
    build.round(rejected=(Rejected(site="north", update=None, reason=HOSTILE),))
    history = replace(build.history, problems=(Problem(key=HOSTILE, message=HOSTILE),))
    html = page(history, HOSTILE)
    assert "<script" not in html
    assert "<img" not in html
    assert read(html).text.count("<script>alert('x')</script>") >= 4


def test_before_anything_there_is_nothing_to_report() -> None:
    with pytest.raises(MissingError, match="no federation record"):
        gather(History(federations=(), rounds=()), "")


def test_without_sites_and_rounds() -> None:
    text = read(page(HandmadeHistory((), Plan(name="pilot")).history)).text
    assert "No site has been admitted" in text
    assert "no round yet" in text


def test_every_table_and_figure_has_a_container_of_its_own() -> None:
    build = HandmadeHistory([f"site-{number:02d}" for number in range(12)], Plan(name="wide", rounds=1))
    build.round()
    build.round(absent=("site-03",))
    reader = read(page(build.history))
    assert "site-03" in reader.text
    assert len([tag for tag, _ in reader.tags if tag == "table"]) == len(
        [tag for tag, attributes in reader.tags if attributes.get("class") == "scroll" and "aria-label" in attributes]
    ) - len([tag for tag, _ in reader.tags if tag == "figure"])
