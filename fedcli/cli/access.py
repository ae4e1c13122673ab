"""The commands access sshd and access s3, for the people who run the store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from fedcli.cli.invocation import Invocation
from fedcli.cli.options import JsonOption

if TYPE_CHECKING:
    from fedcli.environment import Environment
    from fedcli.operations.access import S3Access, SshdAccess

SitesArgument = Annotated[list[str], typer.Argument(help="The sites' names, also of sites that have not joined yet.")]

access = typer.Typer(no_args_is_help=True, help="Print the rights with which a party can write only its own part.")


@access.command(epilog="Example: fedcli access sshd north valley --root /srv/study > access.sh")
def sshd(
    sites: SitesArgument,
    root: Annotated[str, typer.Option(help="The folder on the server that becomes the drop folder.")],
    name: Annotated[str, typer.Option(help="The group's name, with which the accounts' names begin.")] = "fedcli",
    json: JsonOption = False,
) -> None:
    """Print accounts, folders and sshd_config of an SFTP server, as a script for its operator."""

    def work(_environment: Environment) -> SshdAccess:
        from fedcli.operations.access import SshdAccessRequest, sshd_access

        return sshd_access(SshdAccessRequest(sites=tuple(sites), root=root, name=name))

    Invocation(command="access sshd", as_json=json).run(work)


@access.command(epilog="Example: fedcli access s3 north valley --bucket study > policies.json")
def s3(
    sites: SitesArgument,
    bucket: Annotated[str, typer.Option(help="The bucket.")],
    prefix: Annotated[str, typer.Option(help="Where the drop folder begins in the bucket.")] = "",
    json: JsonOption = False,
) -> None:
    """Print an IAM policy for each party's user."""

    def work(_environment: Environment) -> S3Access:
        from fedcli.operations.access import S3AccessRequest, s3_access

        return s3_access(S3AccessRequest(sites=tuple(sites), bucket=bucket, prefix=prefix))

    Invocation(command="access s3", as_json=json).run(work)
