"""The command predict."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from fedcli.cli import render
from fedcli.cli.invocation import Invocation
from fedcli.cli.options import JsonOption, WorkspaceOption

if TYPE_CHECKING:
    from rich.console import Console

    from fedcli.environment import Environment
    from fedcli.operations.predict import PredictResult

EXAMPLE = "Example: fedcli predict /archive/new -C north --model finetuned --out new.csv"

ImagesArgument = Annotated[
    Path | None, typer.Argument(help="Prepared data, or a folder of DICOM files; default: the workspace's prepared data.")
]
ModelOption = Annotated[
    str, typer.Option(metavar="MODEL", help="best, local, finetuned, global, a key in the drop folder, or a model's file.")
]
OutOption = Annotated[
    Path, typer.Option(help="The table to write; beside it a page, .html, and how it was made, .json, with the same name.")
]
LeadOption = Annotated[
    float,
    typer.Option("--uncertain-below", min=0, max=1, help="Uncertain: the most probable class is less ahead of the next one."),
]
PartOption = Annotated[Literal["train", "validation", "test"], typer.Option(help="Whose patients (prepared data only).")]
PatternOption = Annotated[
    str, typer.Option(help="Regular expression whose group is the patient in Patient ID (DICOM input only).")
]
WorkersOption = Annotated[int, typer.Option(min=1, help="Worker processes (DICOM input only).")]


def predict(
    images: ImagesArgument = None,
    workspace: WorkspaceOption = Path(),
    model: ModelOption = "best",
    out: OutOption = Path("predictions.csv"),
    part: PartOption = "test",
    patient_pattern: PatternOption = "",
    workers: WorkersOption = 1,
    uncertain_below: LeadOption = 0.2,
    json: JsonOption = False,
) -> None:
    """Write a model's predictions for patients into a table and a page, for your own eyes only."""

    def work(environment: Environment) -> PredictResult:
        from fedcli.operations.predict import PredictRequest
        from fedcli.operations.predict import predict as operation
        from fedcli.plan import Part

        request = PredictRequest(
            root=workspace,
            images=images,
            out=out,
            model=model,
            part=Part(part),
            patient_pattern=patient_pattern,
            workers=workers,
            lead=uncertain_below,
        )
        return operation(request, environment)

    Invocation(command="predict", as_json=json, root=workspace).run(work, _show)


def _show(out: Console, result: PredictResult) -> None:
    rows = [(name, str(count)) for name, count in zip(result.classes, result.class_cases, strict=True)]
    render.print_table(out, "Predicted", ("class", "cases"), rows)
