"""The rights with which every party writes its own part of a drop folder, and reads all of it.

For an OpenSSH server: accounts, folders and a part of sshd_config. For S3: a policy for each party's user. The tests run the
stores, and whole federations, with exactly these rights.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedcli.errors import UsageError
from fedcli.exchange import layout
from fedcli.results import Result, Status
from fedcli.wire import SITE_PATTERN

if TYPE_CHECKING:
    from collections.abc import Mapping

_USER_NAME_LIMIT = 32
_SAFE_PATH = re.compile(r"/[A-Za-z0-9._/-]*[A-Za-z0-9._-]")
_SAFE_NAME = re.compile(r"[a-z_][a-z0-9_-]*")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


@dataclass(frozen=True, slots=True, kw_only=True)
class SshdAccessRequest:
    """An SFTP server that is to hold a drop folder.

    Attributes:
        sites: The sites' names.
        root: The folder on the server that becomes the drop folder.
        name: The group's name, with which the accounts' names begin.
        config: The folder of sshd's configuration.
    """

    sites: tuple[str, ...]
    root: str
    name: str
    config: str = "/etc/ssh"


@dataclass(frozen=True, slots=True, kw_only=True)
class S3AccessRequest:
    """A bucket that is to hold a drop folder.

    Attributes:
        sites: The sites' names.
        bucket: The bucket.
        prefix: Where the drop folder begins in it.
    """

    sites: tuple[str, ...]
    bucket: str
    prefix: str = ""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Access(Result):
    """What each party's user may do in a bucket.

    Attributes:
        message: The policies as one JSON object, by party.
        policies: The IAM policy document of every party, as JSON text.
    """

    policies: Mapping[str, str]


def sshd_access(request: SshdAccessRequest) -> SshdAccess:
    """Return accounts, folders and configuration for an SFTP server.

    The root belongs to the system, as sshd demands of a folder that accounts are locked into; keys lie outside it. A party owns
    its folder, which the group of all parties may read.

    Raises:
        UsageError: A name or path cannot be used.
    """
    name, root, keys = request.name, request.root, f"{request.config}/{request.name}-keys"
    accounts = {party: f"{name}-{party}" for party in (layout.COORDINATOR, *request.sites)}
    _check(request.sites)
    _check_paths(root, request.config)
    _check_accounts(name, *accounts.values())
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
    folders = {party: f"{root}/{layout.prefix(party)}".rstrip("/") for party in accounts}
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


def s3_access(request: S3AccessRequest) -> S3Access:
    """Return a policy for each party's user.

    A party creates objects under its prefix; it removes there what `fedcli init` probes with, and models that were archived.

    Raises:
        UsageError: A name cannot be used.
    """
    bucket, top = request.bucket, request.prefix.strip("/")
    _check(request.sites)
    if _BUCKET.fullmatch(bucket) is None or (top and not layout.is_key(top)):
        msg = f"s3://{bucket}/{top}: not the address of a drop folder"
        raise UsageError(msg)
    begin = f"{top}/" if top else ""
    policies = {party: _policy(bucket, begin, f"{begin}{layout.prefix(party)}") for party in (layout.COORDINATOR, *request.sites)}
    return S3Access(
        status=Status.DONE,
        message=json.dumps(policies, indent=2),
        policies={party: json.dumps(policy) for party, policy in policies.items()},
    )


def _policy(bucket: str, begin: str, own: str) -> dict[str, object]:
    arn = f"arn:aws:s3:::{bucket}"
    listing: dict[str, object] = {"Effect": "Allow", "Action": ["s3:ListBucket"], "Resource": [arn]}
    if begin:
        listing["Condition"] = {"StringLike": {"s3:prefix": [f"{begin}*"]}}
    return {
        "Version": "2012-10-17",
        "Statement": [
            listing,
            {"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": [f"{arn}/{begin}*"]},
            {"Effect": "Allow", "Action": ["s3:PutObject", "s3:AbortMultipartUpload"], "Resource": [f"{arn}/{own}*"]},
            {"Effect": "Allow", "Action": ["s3:DeleteObject"], "Resource": [f"{arn}/{own}*probe-*", f"{arn}/{own}*.safetensors"]},
        ],
    }


def _check(sites: tuple[str, ...]) -> None:
    for site in sites:
        if re.fullmatch(SITE_PATTERN, site) is None or site == layout.COORDINATOR or sites.count(site) > 1:
            msg = f"{site}: not the name of a site, or given twice"
            raise UsageError(msg, hint="names are lower-case letters, digits and hyphens")


def _check_paths(*paths: str) -> None:
    for path in paths:
        if _SAFE_PATH.fullmatch(path) is None or ".." in path.split("/"):
            msg = f"{path}: expected an absolute path of letters, digits, dots, hyphens and underscores"
            raise UsageError(msg)


def _check_accounts(*accounts: str) -> None:
    for account in accounts:
        if _SAFE_NAME.fullmatch(account) is None or len(account) > _USER_NAME_LIMIT:
            expected = f"at most {_USER_NAME_LIMIT} of a-z, 0-9, _ and -, a letter first"
            msg = f"{account}: not a name for an account, expected {expected}"
            raise UsageError(msg, hint="choose a shorter --name")
