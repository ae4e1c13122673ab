"""Options and arguments that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fedcli.errors import UsageError

WorkspaceOption = Annotated[Path, typer.Option("-C", "--workspace", help="This party's workspace.", show_default="here")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout and nothing else there.")]
WaitOption = Annotated[bool, typer.Option("--wait", help="Poll until there is something to do.")]
PollOption = Annotated[float, typer.Option("--poll", min=1, help="Seconds between two attempts with --wait.")]
YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
OwnKeyOption = Annotated[Path | None, typer.Option(help="Your Ed25519 private key; default: a new one in the workspace.")]
RoundsOption = Annotated[int | None, typer.Option("--rounds", min=1, help="Rounds instead of the plan's.")]
ModelOption = Annotated[
    str,
    typer.Option(
        metavar="best|final|global|SITE",
        help="The best, the last or the newest global model; a site's federated model, or SITE/local or SITE/finetuned.",
    ),
]
TarsOption = Annotated[
    list[Path] | None, typer.Option("--with", metavar="TAR", help="Artifacts that were archived out of the drop folder.")
]
ThreadsOption = Annotated[int, typer.Option(min=0, help="CPU threads for training; 0 means PyTorch's default.")]
WeightsOption = Annotated[
    Path | None,
    typer.Option(
        help="Trained weights, .safetensors or .pth, if the plan begins from them; default for ImageNet: torchvision's cache."
    ),
]


def named_paths(values: list[str], option: str) -> dict[str, Path]:
    """Return options of the form NAME=PATH as a mapping.

    Raises:
        UsageError: A value has another form, or a name is given twice.
    """
    paths: dict[str, Path] = {}
    for value in values:
        name, separator, path = value.partition("=")
        if not (name and separator and path) or name in paths:
            msg = f"{option} {value}: expected NAME=PATH, each name once"
            raise UsageError(msg)
        paths[name] = Path(path)
    return paths
