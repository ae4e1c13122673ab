"""docs/walk.md names functions that exist, and the pages name files that exist."""

from __future__ import annotations

import pkgutil
import re
from pathlib import Path

import pytest

from tests.docs.walkthrough import PAGES

ROOT = Path(__file__).parents[2]
NAMES = re.findall(r"`(fedcli(?:\.\w+)+)`", (ROOT / "docs" / "walk.md").read_text(encoding="utf-8"))


def test_the_walk_has_three_ways() -> None:
    ways = re.split(r"^## ", (ROOT / "docs" / "walk.md").read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    assert len(ways) == 3
    assert all(len(re.findall(r"^\| `fedcli\.", way, re.MULTILINE)) > 10 for way in ways)


@pytest.mark.parametrize("name", NAMES)
def test_every_name_of_the_walk_exists(name: str) -> None:
    assert callable(pkgutil.resolve_name(name))


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page.name != "CHANGELOG.md"], ids=lambda page: str(page.relative_to(ROOT))
)
def test_every_file_that_a_page_names_exists(page: Path) -> None:
    named = re.findall(r"`((?:benchmarks|docs|examples|fedcli|tests)/[\w./-]+)`", page.read_text(encoding="utf-8"))
    assert [name for name in named if not (ROOT / name).exists()] == []
