"""Accounts, folders and configuration of an OpenSSH server that holds a drop folder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedcli.exchange import layout
from fedcli.operations.access.names import AUDITOR, check_accounts, check_paths, parties
from fedcli.results import Result, Status

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class SshdAccessRequest:
    """An SFTP server that is to hold a drop folder.

    Attributes:
        sites: The sites' names.
        root: The folder on the server that becomes the drop folder.
        name: The group's name, with which the accounts' names begin.
        config: The folder of sshd's configuration.
        auditor: Whether there is an account that reads everything and writes nothing.
    """

    sites: tuple[str, ...]
    root: str
    name: str
    config: str = "/etc/ssh"
    auditor: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SshdAccess(Result):
    """How an OpenSSH server is set up.

    Attributes:
        message: A shell script for the server's operator, who reads it and runs it as root.
        accounts: The account of every party, by name.
        configuration: The part of sshd_config that the script writes.
    """

    accounts: Mapping[str, str]
    configuration: str


def sshd_access(request: SshdAccessRequest) -> SshdAccess:
    """Return accounts, folders and configuration for an SFTP server.

    The root belongs to the system, as sshd demands of a folder that accounts are locked into; keys lie outside it. A party owns
    its folder, which the group of all parties may read.

    Raises:
        UsageError: A name or path cannot be used.
    """
    name, root, keys = request.name, request.root, f"{request.config}/{request.name}-keys"
    accounts = {party: f"{name}-{party}" for party in parties(request.sites, auditor=request.auditor)}
    check_paths(root, request.config)
    check_accounts(name, *accounts.values())
    configuration = f"""\
Match Group {name}
    ChrootDirectory {root}
    ForceCommand internal-sftp -u 0027
    AuthorizedKeysFile {keys}/%u
    AuthenticationMethods publickey
    DisableForwarding yes
    PermitTTY no
    PermitUserRC no
"""
    folders = {party: f"{root}/{layout.prefix(party)}".rstrip("/") for party in accounts if party != AUDITOR}
    users = "useradd --gid {group} --home-dir / --no-create-home --shell /usr/sbin/nologin --password '*' {account}"
    lines = [
        "#!/bin/sh",
        "# Accounts, folders and configuration of an SFTP drop folder; read it, then run it as root on the server.",
        f"# Then write each party's public key, one line, into {keys}/ACCOUNT, and reload sshd.",
        f"# A party's address: sftp://ACCOUNT@SERVER/ ; any other account of the group {name} can only read.",
        "set -eu",
        f"getent group {name} >/dev/null || groupadd {name}",
        *(f"id {item} >/dev/null 2>&1 || {users.format(group=name, account=item)}" for item in accounts.values()),
        f"install -d -o root -g root -m 755 {root} {root}/sites {keys}",
        *(f"install -d -o {accounts[party]} -g {name} -m 2750 {folder}" for party, folder in folders.items()),
        f"cat > {request.config}/sshd_config.d/{name}.conf <<'END'",
        configuration + "END",
    ]
    return SshdAccess(status=Status.DONE, message="\n".join(lines), accounts=accounts, configuration=configuration)
