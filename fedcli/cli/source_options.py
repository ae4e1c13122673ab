"""Which drop folder a command means, how it is reached, and whose it is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedcli.errors import UsageError
from fedcli.exchange.store import StoreOptions
from fedcli.workspace import FINGERPRINT, Workspace

if TYPE_CHECKING:
    from fedcli.party.source import Source

DropArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="[DROP]", help="The drop folder: a path, or an sftp, s3, gs, az or file URL; default: the workspace's."
    ),
]
DropOption = Annotated[str, typer.Option(help="The drop folder: a path, or an sftp, s3, gs, az or file URL.")]
CoordinatorKeyOption = Annotated[
    str | None,
    typer.Option(
        "--coordinator-key",
        metavar="FILE|FINGERPRINT",
        help="The coordinator's first key, as the coordinator told you; default: the workspace's.",
    ),
]
HostKeyOption = Annotated[
    str, typer.Option(metavar="SHA256:…", help="SFTP: fingerprint of the server's host key; default: the known_hosts files.")
]
SshKeyOption = Annotated[
    Path | None,
    typer.Option(help="SFTP: the private key for the login; default: ~/.ssh/config, an agent and the usual files."),
]
EndpointOption = Annotated[str, typer.Option(metavar="URL", help="s3://, gs://, az://: the service, if not the provider's own.")]


def given_source(
    drop: str, coordinator_key: str | None = None, *, host_key: str = "", ssh_key: Path | None = None, endpoint: str = ""
) -> Source:
    """Return the drop folder at an address, which is valid in any current folder.

    Raises:
        UsageError: An option is malformed.
    """
    from fedcli.exchange.keys import fingerprint_of
    from fedcli.party.source import Source

    if host_key and re.fullmatch(FINGERPRINT, host_key) is None:
        msg = f"--host-key {host_key}: expected a fingerprint, SHA256: and 43 characters"
        raise UsageError(msg, hint="ssh-keygen shows it, on the server: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub")
    return Source(
        address=drop if "://" in drop else str(Path(drop).expanduser().resolve()),
        coordinator=fingerprint_of(coordinator_key) if coordinator_key else None,
        options=StoreOptions(
            host_key=host_key, ssh_key=None if ssh_key is None else ssh_key.expanduser().resolve(), endpoint=endpoint
        ),
    )


def chosen_source(
    drop: str | None,
    workspace: Path,
    coordinator_key: str | None = None,
    host_key: str = "",
    ssh_key: Path | None = None,
    endpoint: str = "",
) -> Source:
    """Return the drop folder at an address, or the workspace's if there is no address.

    Raises:
        UsageError: An option is malformed, or goes with an address that is missing.
        ConfigurationError: There is neither an address nor a workspace.
    """
    from fedcli.exchange.keys import fingerprint_of
    from fedcli.party.source import Source

    if drop is not None:
        return given_source(drop, coordinator_key, host_key=host_key, ssh_key=ssh_key, endpoint=endpoint)
    if host_key or ssh_key is not None or endpoint:
        msg = "--host-key, --ssh-key and --endpoint go with a drop folder's address; none is given"
        raise UsageError(msg, hint="workspace.toml says how the workspace's own drop folder is reached")
    coordinator = fingerprint_of(coordinator_key) if coordinator_key else None
    return Source.of_workspace(Workspace.open(workspace), coordinator=coordinator)
