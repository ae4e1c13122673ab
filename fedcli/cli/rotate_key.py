"""The command rotate-key."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedcli.cli.invocation import Invocation
from fedcli.cli.options import JsonOption, WorkspaceOption

if TYPE_CHECKING:
    from fedcli.environment import Environment
    from fedcli.operations.rotate_key import RotateKeyResult

EXAMPLE = "Example: fedcli rotate-key -C north"

NewKeyOption = Annotated[Path | None, typer.Option(help="The new Ed25519 private key; default: a new one in the workspace.")]


def rotate_key(key: NewKeyOption = None, workspace: WorkspaceOption = Path(), json: JsonOption = False) -> None:
    """Replace the signing key; the current key signs for the new one."""

    def work(environment: Environment) -> RotateKeyResult:
        from fedcli.operations.rotate_key import RotateKeyRequest
        from fedcli.operations.rotate_key import rotate_key as operation

        return operation(RotateKeyRequest(root=workspace, key=key), environment)

    Invocation(command="rotate-key", as_json=json, root=workspace).run(work)
