"""The templates of the pages and the card: they share a style sheet and filters, and an unknown name in them is an error."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from fedcli.disclosure.levels import absence
from fedcli.disclosure.small_sites import FEW_VALIDATED
from fedcli.exchange.records import ModelKind
from fedcli.reporting import formats, tables
from fedcli.reporting.tables.cross_site import MANY_SITES
from fedcli.text.visible_text import visible

if TYPE_CHECKING:
    from collections.abc import Callable


def visible_value(value: object) -> object:
    """Return what a page prints: text made visible, our own markup as it is."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def template_environment(*, autoescape: bool, finalize: Callable[[object], object] = visible_value) -> Environment:
    """Return the environment that loads the templates; what they print is passed through `finalize`, then escaped as HTML."""
    environment = Environment(
        loader=PackageLoader("fedcli", "reporting"),
        autoescape=autoescape,  # noqa: S701 - Markdown is escaped by `finalize`
        finalize=finalize,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["style"] = files("fedcli.reporting").joinpath("page.css").read_text(encoding="utf-8")
    environment.globals["many_sites"] = MANY_SITES
    environment.globals["few_validated"] = FEW_VALIDATED
    environment.filters.update(
        absence=absence,
        agreement=formats.agreement,
        capitalize_first=formats.capitalized,
        class_names=tables.class_names,
        compact=formats.compact,
        confusion=tables.confusion,
        count=formats.count,
        hours=formats.hours,
        interval=formats.interval,
        kind_word=lambda kind: ModelKind(kind).word,
        moment=formats.moment,
        names=formats.names,
        number=formats.number,
        percent=formats.percent,
        ranges=formats.ranges,
        size=formats.size,
    )
    return environment
