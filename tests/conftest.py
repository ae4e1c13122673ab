"""What all tests share."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where everything is installed (FEDCLI_NO_SKIPS, as in .ci/run), a skip is a failure: it would hide a missing server."""
    report = yield
    if report.skipped and os.environ.get("FEDCLI_NO_SKIPS") and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid}: skipped though FEDCLI_NO_SKIPS is set: {report.longrepr}"
    return report
