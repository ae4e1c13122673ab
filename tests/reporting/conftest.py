"""The published study's report and its figures, made once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import sync_playwright

from fedcli.reporting.figures import illustrations
from fedcli.reporting.report_data import gather
from tests.fixtures.browser import CHROMIUM, View
from tests.reporting.published_study import paper_history

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fedcli.reporting.figures.illustration import Illustration
    from fedcli.reporting.report_data import Report


@pytest.fixture(scope="session")
def report() -> Report:
    return gather(paper_history(), "verified; coordinator SHA256:abc")


@pytest.fixture(scope="session")
def pictures(report: Report) -> tuple[Illustration, ...]:
    return illustrations(report)


@pytest.fixture(scope="package")
def view() -> Iterator[View]:
    if CHROMIUM is None:
        pytest.skip("there is no chromium on this machine")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, chromium_sandbox=False)
        yield View(browser.new_page()).listen()
        browser.close()
