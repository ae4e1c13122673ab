"""A plan as its operator reads it before approving it: first what is unusual about it, then everything else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from fedcli.cli import render
from fedcli.text.visible_text import visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import Console

    from fedcli.plan import Plan
    from fedcli.plan.settings import PlanChange


def show(console: Console, title: str, plan: Plan, changes: tuple[PlanChange, ...]) -> None:
    """Print a plan, or what has changed since the operator approved the one before.

    Args:
        console: Where to print it.
        title: Which plan it is.
        plan: The plan.
        changes: What has changed since the last approval; without values before it, the plan is new.
    """
    from fedcli.plan.settings import explained_settings

    settings = explained_settings(plan)
    show_promise(console, plan)
    if any(change.before for change in changes):
        meanings = {item.setting: item.meaning for item in settings}
        rows = [(change.setting, change.before, change.after, meanings.get(change.setting, "")) for change in changes]
        _print(console, title, ("setting", "approved before", "now", "meaning"), rows)
        return
    unusual = [(item.setting, item.value, item.default, item.meaning) for item in settings if item.differs]
    usual = [(item.setting, item.value, item.meaning) for item in settings if not item.differs]
    if unusual:
        _print(console, f"{title}: what departs from the defaults", ("setting", "value", "default", "meaning"), unusual)
    _print(console, "Settings at their defaults" if unusual else title, ("setting", "value", "meaning"), usual)


def show_promise(console: Console, plan: Plan) -> None:
    """Print what a plan promises to the patients that train, and who is not protected; nothing if it makes no promise."""
    if plan.privacy.promised:
        render.print_line(console, plan.privacy.promise)


def _print(console: Console, title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table of settings, with a line between the sections of the plan."""
    table = Table(title=escape(title), title_justify="left", title_style="bold", header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold", ratio=None if column == "setting" else 1)
    section = None
    for setting, *rest in rows:
        before, section = section, setting.partition(".")[0] if "." in setting else ""
        if before not in {None, section}:
            table.add_section()
        table.add_row(*(escape(visible(cell)) for cell in (setting, *rest)))
    console.print(table)
