"""The command rotate-key."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedcli.cli.invocation import Invocation
from fedcli.cli.options import JsonOption, WorkspaceOption
from fedcli.errors import UsageError

if TYPE_CHECKING:
    from fedcli.environment import Environment
    from fedcli.operations.rotate_key import RotateKeyResult

EXAMPLE = "Example: fedcli rotate-key -C north"

NewKeyOption = Annotated[Path | None, typer.Option(help="The new Ed25519 private key; default: a new one in the workspace.")]


RecoveryOption = Annotated[
    Path | None,
    typer.Option(
        help="The recovery key's private half, which signs for the coordinator's new key in place of the lost or stolen one."
    ),
]
InsteadOption = Annotated[
    int | None,
    typer.Option("--instead-of", min=1, help="With --recovery: the number of a federation record that this one replaces."),
]
SuccessorOption = Annotated[
    Path | None,
    typer.Option(
        "--new-recovery-key",
        help="With --recovery: the public half of another recovery key, which takes its place; the coordinator's key stays.",
    ),
]


def rotate_key(
    key: NewKeyOption = None,
    recovery: RecoveryOption = None,
    instead_of: InsteadOption = None,
    new_recovery_key: SuccessorOption = None,
    workspace: WorkspaceOption = Path(),
    json: JsonOption = False,
) -> None:
    """Replace the signing key; the current key signs for the new one, or the recovery key does."""

    def work(environment: Environment) -> RotateKeyResult:
        from fedcli.operations.rotate_key import RotateKeyRequest
        from fedcli.operations.rotate_key import rotate_key as operation

        for option, value in {"--instead-of": instead_of, "--new-recovery-key": new_recovery_key}.items():
            if value is not None and recovery is None:
                msg = f"{option} needs --recovery"
                raise UsageError(msg)
        if new_recovery_key is not None and (key is not None or instead_of is not None):
            msg = "--new-recovery-key goes with --recovery only: replace the coordinator's key by a command of its own"
            raise UsageError(msg)
        request = RotateKeyRequest(root=workspace, key=key, recovery=recovery, instead_of=instead_of, successor=new_recovery_key)
        return operation(request, environment)

    Invocation(command="rotate-key", as_json=json, root=workspace).run(work)
