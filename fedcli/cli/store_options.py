"""Options on how a remote drop folder is reached, for the commands that make a workspace or need none."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from fedcli.errors import UsageError
from fedcli.exchange.store import StoreOptions
from fedcli.workspace import FINGERPRINT

HostKeyOption = Annotated[
    str, typer.Option(metavar="SHA256:…", help="SFTP: fingerprint of the server's host key; else the known_hosts files decide.")
]
SshKeyOption = Annotated[
    Path | None, typer.Option(help="SFTP: the private key to log in with; else ~/.ssh/config, an agent and the usual files.")
]
EndpointOption = Annotated[str, typer.Option(metavar="URL", help="s3://, gs://, az://: the service, if not the provider's own.")]


def store_options(host_key: str, ssh_key: Path | None, endpoint: str) -> StoreOptions:
    """Return the options as a store takes them, from whatever folder it is opened later.

    Raises:
        UsageError: The host key is no fingerprint.
    """
    if host_key and re.fullmatch(FINGERPRINT, host_key) is None:
        msg = f"--host-key {host_key}: expected a fingerprint, SHA256: and 43 characters"
        raise UsageError(msg, hint="ssh-keygen -lf shows it, on the server: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub")
    key = None if ssh_key is None else ssh_key.expanduser().resolve()
    return StoreOptions(host_key=host_key, ssh_key=key, endpoint=endpoint)


def options_of(drop: str | None, host_key: str, ssh_key: Path | None, endpoint: str) -> StoreOptions:
    """Return the options for a drop folder that a command may name; see `store_options`.

    Raises:
        UsageError: There are options and no drop folder: the workspace's own is reached as workspace.toml says.
    """
    if drop is None and (host_key or ssh_key is not None or endpoint):
        msg = "--host-key, --ssh-key and --endpoint go with a drop folder's address; none is given"
        raise UsageError(msg, hint="how the workspace's own drop folder is reached stands in its workspace.toml")
    return store_options(host_key, ssh_key, endpoint)
