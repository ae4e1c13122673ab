"""The page for the wall: what `status` says, in the machine's own Chromium."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

from fedcli.operations.status.overview import StatusRequest, status
from fedcli.operations.status.wall_page import SECONDS, wall_page
from tests.fixtures.browser import DESK, PHONE, beyond
from tests.fixtures.command import succeed

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fixtures.browser import View
    from tests.fixtures.federation import Federation


def test_it_says_whose_turn_it_is_and_loads_itself_again(trained: Federation, tmp_path: Path) -> None:
    page = tmp_path / "wall.html"
    shown = succeed("status", trained.drop, "--html", page)
    text = page.read_text(encoding="utf-8")
    assert f'<meta http-equiv="refresh" content="{SECONDS}">' in text
    assert shown["turns"][0]["command"] in text
    assert "Round 0 of 2" in text
    assert "every update is in" in text
    assert stat.S_IMODE(page.stat().st_mode) & 0o400
    assert [path.name for path in tmp_path.iterdir() if "wall" in path.name] == ["wall.html"]  # written whole


def test_it_fits_a_wall_and_a_telephone(finished: Federation, tmp_path: Path, view: View) -> None:
    file = tmp_path / "wall.html"
    state = status(StatusRequest(source=finished.source()), finished.environment)
    file.write_text(wall_page(state, finished.environment.clock()), encoding="utf-8")
    for width in (DESK, PHONE):
        page = view.open(file, width=width, scheme="dark")
        assert (beyond(page), view.faults) == ([], [])
        assert page.locator("figure svg").count() == 1
