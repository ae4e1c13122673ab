"""Accounts, a group and folders of a file server that shares a drop folder by NFS or SMB."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fedcli.errors import UsageError
from fedcli.exchange import layout
from fedcli.operations.access.names import AUDITOR, check_accounts, check_paths, parties
from fedcli.results import Result, Status

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderAccessRequest:
    """A folder that is to be a drop folder, and is shared by NFS or SMB.

    Attributes:
        sites: The sites' names.
        root: The folder on the file server.
        name: The group's name, with which the names of new accounts begin.
        accounts: By party, accounts that exist already, here or in a directory.
        auditor: Whether there is an account that reads everything and writes nothing.
    """

    sites: tuple[str, ...]
    root: str
    name: str
    accounts: Mapping[str, str] = field(default_factory=dict)
    auditor: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderAccess(Result):
    """How a shared folder is set up.

    Attributes:
        message: A shell script for the server's operator, who reads it and runs it as root.
        accounts: The account of every party, by name.
    """

    accounts: Mapping[str, str]


def folder_access(request: FolderAccessRequest) -> FolderAccess:
    """Return accounts, a group and folders for a file server.

    A party owns its folder, which the group of all parties may read. New files get the group by the folders' setgid bit. Where
    the file system has ACLs, default entries let the group read, whatever the umask of a client or a service is.

    Raises:
        UsageError: A name or path cannot be used, or an account is given for a party that is not there, or for two.
    """
    name, root = request.name, request.root
    names = parties(request.sites, auditor=request.auditor)
    accounts = {party: request.accounts.get(party, f"{name}-{party}") for party in names}
    check_paths(root)
    check_accounts(name, *accounts.values())
    if unknown := sorted(request.accounts.keys() - accounts):
        msg = f"--account {unknown[0]}={request.accounts[unknown[0]]}: expected one of {', '.join(accounts)}"
        raise UsageError(msg)
    if len(set(accounts.values())) < len(accounts):
        msg = "an account is given for two parties: either could write as the other"
        raise UsageError(msg, hint="give every party an account of its own")
    folders = {party: f"{root}/{layout.prefix(party)}".rstrip("/") for party in accounts if party != AUDITOR}
    lines = [
        "#!/bin/sh",
        "# Group, accounts and folders of a drop folder that is shared by NFS or SMB.",
        "# Read it, then run it as root on the file server.",
        "# NFS: a line of /etc/exports. Without Kerberos, the accounts need the same numbers on all machines.",
        f"#   {root}  CLIENTS(rw,sync,root_squash,no_subtree_check)",
        "# SMB: a share in smb.conf, and `smbpasswd -a ACCOUNT` where the accounts come from no domain.",
        *(f"#   {line}" for line in _share(name, root)),
        f"# A party's address: the path of the mounted share; any other account of the group {name} can only read.",
        "set -eu",
        f"getent group {name} >/dev/null || groupadd {name}",
        f"for account in {' '.join(accounts.values())}; do",
        '    id "$account" >/dev/null 2>&1 ||',
        f"        useradd --gid {name} --home-dir / --no-create-home --shell /usr/sbin/nologin --password '*' \"$account\"",
        f"    id -nG \"$account\" | tr ' ' '\\n' | grep -qx {name} || gpasswd --add \"$account\" {name}",
        "done",
        f"install -d -o root -g {name} -m 2750 {root} {root}/{layout.SITES}",
        *(f"install -d -o {accounts[party]} -g {name} -m 2750 {folder}" for party, folder in folders.items()),
        "# The group reads what a party writes, whatever the umask there.",
        f"setfacl -d -m u::rwx,g::r-x,o::--- {' '.join(folders.values())} 2>/dev/null ||",
        '    echo "no ACLs here: the modes of the folders decide, which fedcli gives to what it writes" >&2',
    ]
    return FolderAccess(status=Status.DONE, message="\n".join(lines), accounts=accounts)


def _share(name: str, root: str) -> tuple[str, ...]:
    return (
        f"[{name}]",
        f"path = {root}",
        f"valid users = @{name}",
        "read only = no",
        f"force group = +{name}",
        "create mask = 0640",
        "directory mask = 2750",
    )
