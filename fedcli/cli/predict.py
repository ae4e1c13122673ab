"""The command that applies a model: predict."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from fedcli.cli import render
from fedcli.cli.running import Conduct, JsonOption, WorkspaceOption

if TYPE_CHECKING:
    from rich.console import Console

    from fedcli.environment import Environment
    from fedcli.operations.predict import PredictResult


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    example = "Example: fedcli predict /archive/new -C north --model finetuned --out new.csv"
    app.command(rich_help_panel="Site", epilog=example)(predict)


def predict(
    source: Annotated[
        Path | None, typer.Argument(help="Prepared data, or a folder of DICOM files; without it the workspace's prepared data.")
    ] = None,
    workspace: WorkspaceOption = Path(),
    model: Annotated[
        str, typer.Option(metavar="MODEL", help="best, local, finetuned, global, a key in the drop folder, or a model's file.")
    ] = "best",
    out: Annotated[Path, typer.Option(help="The table; what made it stands beside it, in a .json file.")] = Path(
        "predictions.csv"
    ),
    part: Annotated[Literal["train", "validation", "test"], typer.Option(help="Of prepared data: whose patients.")] = "test",
    patient_pattern: Annotated[
        str, typer.Option(help="Of DICOM files: regular expression whose group is the patient in Patient ID.")
    ] = "",
    workers: Annotated[int, typer.Option(min=1, help="Of DICOM files: processes.")] = 1,
    json: JsonOption = False,
) -> None:
    """Write what a model of the federation says about patients: a table for your own eyes, with where the model comes from."""

    def work(environment: Environment) -> PredictResult:
        from fedcli.operations.predict import PredictRequest
        from fedcli.operations.predict import predict as operation
        from fedcli.plan import Part

        request = PredictRequest(
            root=workspace,
            source=source,
            out=out,
            model=model,
            part=Part(part),
            patient_pattern=patient_pattern,
            workers=workers,
        )
        return operation(request, environment)

    def show(console: Console, result: PredictResult) -> None:
        rows = [(name, str(count)) for name, count in zip(result.classes, result.class_cases, strict=True)]
        render.print_table(console, "Predicted", ("class", "cases"), rows)

    Conduct(command="predict", as_json=json, root=workspace).run(work, show)
