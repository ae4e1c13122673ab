"""The command line; only this package uses typer and rich.

Each command builds a request, calls one operation and prints its result. What is heavy (torch, pydicom, matplotlib) is imported
inside the command that needs it, so that `--help` and `status` start at once. A process that runs one command imports only that
command's module.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Annotated

import typer

from fedcli import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS = {
    "Coordinator": ("init", "admit", "aggregate", "relay", "restart", "remove", "amend", "access", "privacy"),
    "Site": ("join", "approve", "prepare", "train-round", "retrain", "finetune", "evaluate", "predict"),
    "Everybody": (
        "status",
        "verify",
        "report",
        "package",
        "track",
        "export",
        "import",
        "archive",
        "rotate-key",
        "schedule",
        "doctor",
        "docs",
    ),
    "One machine": ("simulate", "demo"),
}
"""The commands by who runs them, in the order of `--help`; each has a module, with a function of its name and an example."""
_MODULES = {"import": "import_"}


def command_line(arguments: Sequence[str]) -> typer.Typer:
    """Return the command line as far as arguments need it: with one command, or with all."""
    app = typer.Typer(
        name="fedcli",
        help="Federated learning between hospitals through a drop folder: signed, stateless, replayable rounds.",
        epilog="Begin with: fedcli demo --out demo",
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"]},
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
    )
    app.callback()(main_options)
    known = {name for names in COMMANDS.values() for name in names}
    wanted = known.intersection(arguments[:1]) or known
    for panel, names in COMMANDS.items():
        for name in names:
            if name in wanted:
                _add(app, name, panel)
    return app


def _add(app: typer.Typer, name: str, panel: str) -> None:
    stem = _MODULES.get(name, name.replace("-", "_"))
    module = import_module(f"fedcli.cli.{stem}")
    command = getattr(module, stem)
    if isinstance(command, typer.Typer):
        app.add_typer(command, name=name, rich_help_panel=panel)
    else:
        app.command(name, rich_help_panel=panel, epilog=module.EXAMPLE)(command)


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"fedcli {__version__}")
        raise typer.Exit


def main_options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Options of fedcli itself."""
