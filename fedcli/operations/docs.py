"""The documentation, where fedcli is installed without its sources."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING

import fedcli
from fedcli.errors import UsageError
from fedcli.results import Result, Status

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

INDEX = "README"
"""The page that lists all others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DocsResult(Result):
    """One page.

    Attributes:
        message: Which other pages there are.
        page: Its name.
        text: Its text, as Markdown.
        pages: The names of all pages.
    """

    page: str
    text: str
    pages: tuple[str, ...]


def docs(page: str) -> DocsResult:
    """Return a page of the documentation.

    Args:
        page: Its name, with or without `.md` and the folder `docs/` before it; empty for the index.

    Raises:
        UsageError: There is no such page.
    """
    folder = _folder()
    texts = {item.name.removesuffix(".md"): item for item in folder.iterdir() if item.name.endswith(".md")}
    name = page.removeprefix("docs/").removesuffix(".md") or INDEX
    pages = tuple(sorted(texts.keys() - {INDEX}))
    if name not in texts:
        msg = f"{page}: there is no such page"
        near = difflib.get_close_matches(name, pages, n=3)
        raise UsageError(msg, hint=f"did you mean {' or '.join(near)}?" if near else f"the pages are {', '.join(pages)}")
    text = texts[name].read_text(encoding="utf-8")
    others = f"`fedcli docs PAGE` shows another page: {', '.join(pages)}"
    return DocsResult(status=Status.DONE, message=others, page=name, text=text, pages=pages)


def _folder() -> Traversable:
    """Return the folder of the pages: in the installed package, or beside it in a checkout."""
    installed = files(fedcli) / "docs"
    return installed if installed.is_dir() else files(fedcli) / ".." / "docs"
