"""Questions to a person: asked on stderr, answered on stdin."""

from __future__ import annotations

import os

import typer

from fedcli.cli import render
from fedcli.text.visible_text import visible


def attended() -> bool:
    """Return whether there is a person to ask."""
    _, err = render.consoles()
    return err.is_terminal and os.isatty(0)


def confirm(question: str) -> bool:
    """Ask a person; without a terminal the answer is no."""
    return attended() and typer.confirm(visible(question), err=True)
