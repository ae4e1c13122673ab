"""What whoever runs the store needs: the rights under which a party writes only its own part."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from fedcli.cli.running import Conduct, JsonOption

if TYPE_CHECKING:
    from fedcli.environment import Environment
    from fedcli.operations.access import S3Access, SshdAccess

SitesArgument = Annotated[list[str], typer.Argument(help="The sites' names, also of those that have not joined yet.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    group = typer.Typer(no_args_is_help=True, help="Print the rights under which a party writes only its own part.")
    group.command(epilog="Example: fedcli access sshd north valley --root /srv/study > access.sh")(sshd)
    group.command(epilog="Example: fedcli access s3 north valley --bucket study > policies.json")(s3)
    app.add_typer(group, name="access", rich_help_panel="Coordinator")


def sshd(
    sites: SitesArgument,
    root: Annotated[str, typer.Option(help="The folder on the server that becomes the drop folder.")],
    name: Annotated[str, typer.Option(help="The group's name, with which the accounts' names begin.")] = "fedcli",
    json: JsonOption = False,
) -> None:
    """Print accounts, folders and sshd_config of an SFTP server, as a script for its operator."""

    def work(_environment: Environment) -> SshdAccess:
        from fedcli.operations.access import sshd_access

        return sshd_access(tuple(sites), root, name)

    Conduct(command="access sshd", as_json=json).run(work)


def s3(
    sites: SitesArgument,
    bucket: Annotated[str, typer.Option(help="The bucket.")],
    prefix: Annotated[str, typer.Option(help="Where the drop folder begins in the bucket.")] = "",
    json: JsonOption = False,
) -> None:
    """Print an IAM policy for each party's user."""

    def work(_environment: Environment) -> S3Access:
        from fedcli.operations.access import s3_access

        return s3_access(tuple(sites), bucket, prefix)

    Conduct(command="access s3", as_json=json).run(work)
