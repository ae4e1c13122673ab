"""A live view of a federation: a full screen on a terminal; otherwise one line or JSON object per change."""

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
    """Show looks until the user interrupts; the last state then stays on a terminal.

    Raises:
        FedcliError: A look failed for a reason that does not pass.
    """
    last: Look | None = None
    try:
        if out.is_terminal and not as_json:
            with Live(console=out, screen=True, auto_refresh=False) as live:
                for last in looks:
                    live.update(status_view.screen(out, last.result, last.moment, _footer(last)), refresh=True)
        else:
            for look in looks:
                if look.changed:
                    _tell(look, out, err, as_json=as_json)
    except KeyboardInterrupt:
        if last is not None:
            status_view.show(out, last.result, last.moment)
            render.print_line(out, last.result.message)


def _tell(look: Look, out: Console, err: Console, *, as_json: bool) -> None:
    if look.error is not None:
        render.print_error(err, "status", look.error, as_json=as_json)
    elif as_json:
        render.print_json("status", look.result)
    else:
        text = f"{look.moment:%Y-%m-%d %H:%M:%S} UTC {status_view.line(look.result)}"
        render.print_line(out, text)
        out.file.flush()  # a pipe gets the line now


def _footer(look: Look) -> Text:
    footer = Text(f"last look {look.moment:%Y-%m-%d %H:%M:%S} UTC; Ctrl-C exits", style="dim")
    if look.error is not None:
        footer = Text(f"cannot be read now: {look.error}; the last known state is above\n", style="red") + footer
    return footer
