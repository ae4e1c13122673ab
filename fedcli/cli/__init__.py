"""The command line: typer and rich live here and in `render`, nowhere else.

Each command builds a request, calls one operation and renders its result. What is heavy (torch, pydicom,
matplotlib) is imported inside the command that needs it, so that `--help` and `status` start at once.
"""

from __future__ import annotations

from typing import Annotated

import typer

from fedcli import __version__
from fedcli.cli import access, amendments, audit, coordinator, doctor, predict, rehearsal, roads, site

app = typer.Typer(
    name="fedcli",
    help="Federated learning between hospitals through a drop folder: signed, stateless, replayable rounds.",
    epilog="Begin with: fedcli demo --out demo",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"fedcli {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and leave.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Options of fedcli itself."""


for module in (coordinator, amendments, access, site, predict, audit, rehearsal, roads, doctor):
    module.register(app)
