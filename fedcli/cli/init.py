"""The command init."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedcli.cli import render
from fedcli.cli.invocation import Invocation
from fedcli.cli.options import JsonOption, OwnKeyOption, WeightsOption, WorkspaceOption, named_paths
from fedcli.cli.source_options import EndpointOption, HostKeyOption, SshKeyOption, given_source
from fedcli.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from fedcli.environment import Environment
    from fedcli.operations.init import InitResult

EXAMPLE = "Example: fedcli init --template > plan.toml"

DropOption = Annotated[str | None, typer.Option(help="The drop folder: a path, or an sftp, s3, gs, az or file URL.")]
SiteOption = Annotated[
    list[str] | None, typer.Option(metavar="NAME=KEY.pub", help="A site that is a member from the start, and its public key.")
]
RecoveryKeyOption = Annotated[
    Path | None,
    typer.Option(metavar="KEY.pub", help="The public half of a key that is kept offline, and can replace the coordinator's key."),
]
AboveOption = Annotated[
    Path | None,
    typer.Option(help="Begin a region: the workspace of its site in the federation above, whose first model it begins from."),
]


def init(
    workspace: WorkspaceOption = Path(),
    plan: Annotated[Path | None, typer.Option(help="The plan, a TOML file.")] = None,
    drop: DropOption = None,
    key: OwnKeyOption = None,
    site: SiteOption = None,
    recovery_key: RecoveryKeyOption = None,
    weights: WeightsOption = None,
    above: AboveOption = None,
    host_key: HostKeyOption = "",
    ssh_key: SshKeyOption = None,
    endpoint: EndpointOption = "",
    template: Annotated[bool, typer.Option("--template", help="Print a plan with every setting explained.")] = False,
    json: JsonOption = False,
) -> None:
    """Begin a federation: publish the plan, the members and the initial model."""
    if template:
        from fedcli.plan import template as text

        typer.echo(text(), nl=False)
        return

    def work(environment: Environment) -> InitResult:
        from fedcli import plan as plans
        from fedcli.operations.init import InitRequest
        from fedcli.operations.init import init as operation

        if plan is None or drop is None:
            msg = "init needs --plan FILE and --drop FOLDER"
            raise UsageError(msg, hint="to get a plan: `fedcli init --template > plan.toml`")
        request = InitRequest(
            root=workspace,
            plan=plans.load(plan),
            source=given_source(drop, host_key=host_key, ssh_key=ssh_key, endpoint=endpoint),
            key=key,
            sites=named_paths(site or [], "--site"),
            recovery=recovery_key,
            weights=weights,
            above=above,
        )
        return operation(request, environment)

    Invocation(command="init", as_json=json, root=workspace).run(work, _show)


def _show(out: Console, result: InitResult) -> None:
    rows = [
        ("federation", result.federation[:12]),
        ("plan", result.plan[:12]),
        ("network", f"{result.network}, {result.values:,} values"),
        ("sites", ", ".join(result.sites) or "none yet: they join, and you admit them"),
    ]
    render.print_table(out, f"A federation has begun in {result.drop}", ("what", "value"), rows)
