"""A live view of a federation: a full screen on a terminal; elsewhere a line or a JSON object whenever something has changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.live import Live
from rich.text import Text

from fedcli.cli import render, status_view

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from fedcli.operations.status.watch import Look


def follow(looks: Iterator[Look], out: Console, err: Console, *, as_json: bool) -> None:
    """Show looks until the user interrupts; a terminal then keeps the last state.

    Raises:
        FedcliError: A look failed for good.
    """
    last: Look | None = None
    try:
        if out.is_terminal and not as_json:
            with Live(console=out, screen=True, auto_refresh=False) as live:
                for last in looks:
                    live.update(status_view.screen(out, last.result, last.moment, _footer(last)), refresh=True)
        else:
            for found in looks:
                if found.changed:
                    _tell(found, out, err, as_json=as_json)
    except KeyboardInterrupt:
        if last is not None:
            status_view.show(out, last.result, last.moment)
            out.print(last.result.message, highlight=False, markup=False, soft_wrap=True)


def _tell(found: Look, out: Console, err: Console, *, as_json: bool) -> None:
    if found.error is not None:
        render.print_error(err, "status", found.error, as_json=as_json)
    elif as_json:
        render.print_json("status", found.result)
    else:
        text = f"{found.moment:%Y-%m-%d %H:%M:%S} UTC {status_view.line(found.result)}"
        out.print(text, highlight=False, markup=False, soft_wrap=True)
        out.file.flush()  # whoever reads a pipe sees the line now


def _footer(found: Look) -> Text:
    footer = Text(f"last look {found.moment:%Y-%m-%d %H:%M:%S} UTC; Ctrl-C leaves", style="dim")
    if found.error is not None:
        footer = Text(f"cannot be read now: {found.error}; above is the last state seen\n", style="red") + footer
    return footer
