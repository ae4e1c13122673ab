"""The templates of page and card: the same filters, and nothing that a template names may be missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined

from fedcli.reporting import formats, tables

if TYPE_CHECKING:
    from collections.abc import Callable


def environment(*, autoescape: bool, finalize: Callable[[object], object] | None = None) -> Environment:
    """Return where the templates are read; what they print is escaped as HTML, or goes through `finalize`."""
    found = Environment(
        loader=PackageLoader("fedcli", "reporting"),
        autoescape=autoescape,  # noqa: S701 - Markdown is escaped by `finalize`
        finalize=finalize,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters.update(
        agreement=tables.agreement,
        capitalize_first=formats.capitalized,
        class_names=tables.class_names,
        compact=formats.compact,
        confusion=tables.confusion,
        count=formats.count,
        hours=formats.hours,
        interval=formats.interval,
        moment=formats.moment,
        names=formats.names,
        number=formats.number,
        percent=formats.percent,
        ranges=formats.ranges,
        size=formats.size,
    )
    return found
