"""Links between the pages: none is broken, and docs/README.md leads to every page."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.docs.walkthrough import PAGES, ROOT

if TYPE_CHECKING:
    from pathlib import Path

_BLOCK = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def links_of(page: Path) -> list[tuple[Path, str]]:
    """Return what a page links to within the repository: each file, and the anchor in it or nothing."""
    targets = _LINK.findall(_BLOCK.sub("", page.read_text(encoding="utf-8")))
    relative = [target.partition("#") for target in targets if "://" not in target]
    return [((page.parent / path).resolve() if path else page, anchor) for path, _, anchor in relative]


def anchors_of(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(
        r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE), re.MULTILINE
    )
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_link_is_broken(page: Path) -> None:
    for target, anchor in links_of(page):
        assert target.exists(), target
        assert not anchor or anchor in anchors_of(target), f"{target}#{anchor}"


def test_the_index_leads_to_every_page() -> None:
    linked = {target for target, _ in links_of(ROOT / "docs" / "README.md")}
    assert set(PAGES) - linked == {ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "docs" / "README.md"}


def test_the_readme_leads_to_the_index() -> None:
    assert (ROOT / "docs" / "README.md", "") in links_of(ROOT / "README.md")
