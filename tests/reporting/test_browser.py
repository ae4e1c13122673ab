"""The page in Chromium: light and dark, on a desktop and a phone, with accessibility checks, and printed."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

import pytest
from axe_playwright_python.sync_playwright import Axe

from fedcli.exchange.history import Problem
from fedcli.exchange.records import Late, ModelKind, Rejected
from fedcli.plan import Plan
from fedcli.reporting.figures import illustrations
from fedcli.reporting.report_data import gather
from fedcli.reporting.report_files import render
from tests.fixtures.browser import A4, DESK, PHONE, View, beyond
from tests.fixtures.history import HandmadeHistory
from tests.fixtures.records import cohort
from tests.reporting.published_study import paper_history

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fedcli.exchange.history import History

LONG = "a-hospital-whose-name-is-as-long-as-a-name-may-be-and-then-some"
TAMPERED = "sites/client3/round-0002/update.json"


def half_way() -> History:
    build = HandmadeHistory(("harbour", "north", "valley"), Plan(name="half-way", rounds=20))
    build.round()
    for number in range(1, 5):
        for site in ("harbour", "north"):
            build.update(site, number, 0.1 * number, 0.12 * number)
        build.round(absent=("valley",) if number != 3 else (), rejected=_rejected(number))
    build.update("valley", 3, 0.2, 0.3)
    build.update("north", 5, 0.5, 0.55)
    build.round(late=(Late(site="valley", round=3, update="a" * 64),), absent=("harbour",))
    build.dataset("north", cohort())
    return build.history


def _rejected(number: int) -> tuple[Rejected, ...]:
    return (Rejected(site="valley", update=None, reason="NaN in features.conv0.weight"),) if number == 3 else ()


def never_evaluated() -> History:
    build = HandmadeHistory(("harbour", "north"), Plan(name="never-evaluated", rounds=1))
    build.round()
    for site in build.sites:
        build.update(site, 1, 0.1, 0.5)
        build.dataset(site, cohort())
    build.round()
    for site in build.sites:
        for kind in (ModelKind.LOCAL, ModelKind.FEDERATED, ModelKind.FINETUNED):
            build.model(site, kind)
    return build.history


def tampered() -> History:
    message = f"{TAMPERED}: unsigned: there is no {TAMPERED}.0123456789ab.sig for its present bytes"
    updates = {key: update for key, update in paper_history().updates.items() if key != ("client3", 2)}
    return replace(paper_history(), updates=updates, problems=(Problem(key=TAMPERED, message=message),))


def long_names() -> History:
    build = HandmadeHistory((LONG, f"{LONG[:-1]}2"), Plan(name="two sites with very long names", rounds=1))
    build.round()
    for site in build.sites:
        build.update(site, 1, 0.4, 0.5)
        build.dataset(site, cohort())
        build.model(site, ModelKind.FEDERATED)
    build.round()
    for site in build.sites:
        build.evaluation(site, [])
    return build.history


OTHER_VIEWS = [pytest.param(*view, marks=pytest.mark.slow) for view in (("light", DESK), ("dark", PHONE))]
HISTORIES: dict[str, Callable[[], History]] = {
    "paper": paper_history,
    "half-way": half_way,
    "never-evaluated": never_evaluated,
    "tampered": tampered,
    "long-names": long_names,
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("pages")

    @cache
    def file(name: str) -> Path:
        report = gather(HISTORIES[name](), "consistent; coordinator SHA256:n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg")
        path = folder / f"{name}.html"
        path.write_text(render(report, illustrations(report)), encoding="utf-8")
        return path

    return file


@pytest.mark.parametrize(("scheme", "width"), [("light", PHONE), ("dark", DESK), *OTHER_VIEWS])
@pytest.mark.parametrize("name", HISTORIES)
def test_it_displays_well(view: View, files: Callable[[str], Path], name: str, scheme: str, width: int) -> None:
    page = view.open(files(name), width=width, scheme=scheme)
    assert view.faults == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert beyond(page) == []
    boxes = page.evaluate("[...document.querySelectorAll('figure svg')].map(item => item.getBoundingClientRect().toJSON())")
    assert len(boxes) == files(name).read_text(encoding="utf-8").count("<figure>")
    assert all(box["width"] >= 300 and box["height"] >= 100 for box in boxes)
    shares = page.evaluate(
        "[...document.querySelectorAll('.scroll tbody th')].filter(item => item.offsetWidth)"
        ".map(item => item.offsetWidth / item.closest('.scroll').clientWidth)"
    )
    assert max(shares) <= 0.5  # the fixed column leaves room for the others
    # Contrast is the same at any width, and takes most of the time.
    options = {"resultTypes": ["violations"], "rules": {"color-contrast": {"enabled": width == DESK}}}
    violations = Axe().run(page, options=options).response["violations"]
    serious = [
        f"{item['id']} ({item['impact']}): {node['html'][:120]} {node['failureSummary']}"
        for item in violations
        if item["impact"] in {"serious", "critical"}
        for node in item["nodes"]
    ]
    assert serious == []


@pytest.mark.parametrize("name", HISTORIES)
def test_it_prints_completely(view: View, files: Callable[[str], Path], name: str) -> None:
    page = view.open(files(name), width=A4, scheme="light")
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert beyond(page) == []
    printed = page.pdf(format="A4", margin=dict.fromkeys(("top", "right", "bottom", "left"), "10mm"))
    assert printed.startswith(b"%PDF-")
    assert printed.count(b"/Type /Page\n") >= 2
    assert view.faults == []


def test_problems_are_on_the_first_screen_and_the_rest_is_shown(view: View, files: Callable[[str], Path]) -> None:
    page = view.open(files("tampered"), width=DESK, scheme="light")
    alarm = page.locator(".alarm")
    box = alarm.bounding_box()
    assert box is not None
    assert box["y"] + box["height"] < 900
    assert TAMPERED in alarm.inner_text()
    assert page.locator("td.kappa").count() == 3 * 49 + 7
    assert page.locator("td.kappa").first.is_visible()


def test_what_is_missing_is_on_the_first_screen(view: View, files: Callable[[str], Path]) -> None:
    page = view.open(files("never-evaluated"), width=DESK, scheme="light")
    notice = page.locator(".notice")
    box = notice.bounding_box()
    assert box is not None
    assert box["y"] + box["height"] < 900
    assert "None of the sites has published an evaluation: run fedcli evaluate." in notice.inner_text()
    assert page.locator("td.kappa").count() == 0
