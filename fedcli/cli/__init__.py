"""The command line: typer and rich live here and in `render`, nowhere else.

Each command builds a request, calls one operation and renders its result. What is heavy (torch, pydicom,
matplotlib) is imported inside the command that needs it, so that `--help` and `status` start at once; and a
process that runs one command makes the commands of its module alone.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Annotated

import typer

from fedcli import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS = {
    "coordinator_commands": ("init", "admit", "aggregate"),
    "amendments": ("remove", "amend", "rotate-key"),
    "access": ("access",),
    "site_commands": ("join", "approve", "prepare", "train-round", "finetune", "evaluate"),
    "predict": ("predict",),
    "audit": ("status", "verify", "report"),
    "rehearsal": ("simulate", "demo"),
    "transfer": ("export", "import", "archive"),
    "doctor": ("doctor",),
}
"""Modules, in the order of `--help`, and what each registers."""


def command_line(arguments: Sequence[str]) -> typer.Typer:
    """Return the command line as far as arguments need it: with one command's module, or with all."""
    app = typer.Typer(
        name="fedcli",
        help="Federated learning between hospitals through a drop folder: signed, stateless, replayable rounds.",
        epilog="Begin with: fedcli demo --out demo",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
    )
    app.callback()(options)
    for name in [name for name, commands in COMMANDS.items() if {*arguments[:1]} & {*commands}] or COMMANDS:
        import_module(f"fedcli.cli.{name}").register(app)
    return app


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"fedcli {__version__}")
        raise typer.Exit


def options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and leave.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Options of fedcli itself."""
