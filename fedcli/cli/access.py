"""The commands access sshd, access folder and access s3 for the people who run the store, and access auditor-key."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedcli.cli import render
from fedcli.cli.invocation import Invocation
from fedcli.cli.options import JsonOption
from fedcli.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from fedcli.environment import Environment
    from fedcli.operations.access.auditor_key import AuditorKey
    from fedcli.operations.access.bucket import S3Access
    from fedcli.operations.access.shared_folder import FolderAccess
    from fedcli.operations.access.sshd import SshdAccess

SitesArgument = Annotated[list[str], typer.Argument(help="The sites' names, also of sites that have not joined yet.")]
NameOption = Annotated[str, typer.Option(help="The group's name, with which the accounts' names begin.")]
AuditorOption = Annotated[bool, typer.Option("--auditor", help="Also an account that reads everything and writes nothing.")]
AccountOption = Annotated[
    list[str] | None, typer.Option(metavar="PARTY=ACCOUNT", help="An account that exists already; the others are made.")
]

access = typer.Typer(
    no_args_is_help=True, help="Print the rights with which a party can write only its own part; make an auditor's key."
)


@access.command(epilog="Example: fedcli access sshd north valley --root /srv/study > access.sh")
def sshd(
    sites: SitesArgument,
    root: Annotated[str, typer.Option(help="The folder on the server that becomes the drop folder.")],
    name: NameOption = "fedcli",
    auditor: AuditorOption = False,
    json: JsonOption = False,
) -> None:
    """Print accounts, folders and sshd_config of an SFTP server, as a script for its operator."""

    def work(_environment: Environment) -> SshdAccess:
        from fedcli.operations.access.sshd import SshdAccessRequest, sshd_access

        return sshd_access(SshdAccessRequest(sites=tuple(sites), root=root, name=name, auditor=auditor))

    Invocation(command="access sshd", as_json=json).run(work)


@access.command(epilog="Example: fedcli access folder north valley --root /srv/study --account north=anna > access.sh")
def folder(
    sites: SitesArgument,
    root: Annotated[str, typer.Option(help="The folder on the file server that becomes the drop folder.")],
    name: NameOption = "fedcli",
    account: AccountOption = None,
    auditor: AuditorOption = False,
    json: JsonOption = False,
) -> None:
    """Print a group, accounts and folders of an NFS or SMB share, as a script for its operator."""

    def work(_environment: Environment) -> FolderAccess:
        from fedcli.operations.access.shared_folder import FolderAccessRequest, folder_access

        accounts = dict(_pair(item) for item in account or ())
        request = FolderAccessRequest(sites=tuple(sites), root=root, name=name, accounts=accounts, auditor=auditor)
        return folder_access(request)

    Invocation(command="access folder", as_json=json).run(work)


def _pair(text: str) -> tuple[str, str]:
    party, separator, account = text.partition("=")
    if not separator:
        msg = f"--account {text}: expected PARTY=ACCOUNT"
        raise UsageError(msg)
    return party, account


@access.command(epilog="Example: fedcli access s3 north valley --bucket study > policies.json")
def s3(
    sites: SitesArgument,
    bucket: Annotated[str, typer.Option(help="The bucket.")],
    prefix: Annotated[str, typer.Option(help="Where the drop folder begins in the bucket.")] = "",
    auditor: AuditorOption = False,
    json: JsonOption = False,
) -> None:
    """Print an IAM policy for each party's user."""

    def work(_environment: Environment) -> S3Access:
        from fedcli.operations.access.bucket import S3AccessRequest, s3_access

        return s3_access(S3AccessRequest(sites=tuple(sites), bucket=bucket, prefix=prefix, auditor=auditor))

    Invocation(command="access s3", as_json=json).run(work)


@access.command("auditor-key", epilog="Example: fedcli access auditor-key auditor.key --name city-audit")
def auditor_key(
    file: Annotated[Path, typer.Argument(help="The new private key; the public half is written beside it.")],
    name: Annotated[str, typer.Option(help="The auditor's name in the plan.")],
    encrypt: Annotated[bool, typer.Option("--encrypt", help="Encrypt the private key with a passphrase.")] = False,
    json: JsonOption = False,
) -> None:
    """Make an auditor's key, and print the line with which the plan's confidentiality.auditors names it."""

    def work(environment: Environment) -> AuditorKey:
        from fedcli.operations.access.auditor_key import AuditorKeyRequest
        from fedcli.operations.access.auditor_key import auditor_key as operation

        return operation(AuditorKeyRequest(path=file, name=name, encrypted=encrypt), environment)

    def show(out: Console, key: AuditorKey) -> None:
        render.print_line(
            out, f"{key.path} opens what is sealed to it; the SHA-256 of its public half begins with {key.digest[:12]}"
        )

    Invocation(command="access auditor-key", as_json=json).run(work, show)
