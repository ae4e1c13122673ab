"""The coordinator's commands: init, admit, aggregate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedcli.cli import render
from fedcli.cli.running import Conduct, JsonOption, PollOption, WaitOption, WorkspaceOption, absolute, confirm, named_paths
from fedcli.cli.store_options import EndpointOption, HostKeyOption, SshKeyOption, store_options
from fedcli.errors import ApprovalError, UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from fedcli.environment import Environment
    from fedcli.operations.admit import AdmitResult
    from fedcli.operations.aggregate import AggregateResult
    from fedcli.operations.init import InitResult


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    panel = "Coordinator"
    app.command(rich_help_panel=panel, epilog="Example: fedcli init --template > plan.toml")(init)
    app.command(rich_help_panel=panel, epilog="Example: fedcli admit -C coordinator north --fingerprint SHA256:…")(admit)
    app.command(rich_help_panel=panel, epilog="Example: fedcli aggregate -C coordinator --wait")(aggregate)


def init(
    workspace: WorkspaceOption = Path(),
    plan: Annotated[Path | None, typer.Option(help="The plan, a TOML file.")] = None,
    drop: Annotated[str | None, typer.Option(help="The drop folder: a path, or an sftp, s3, gs, az or file URL.")] = None,
    key: Annotated[Path | None, typer.Option(help="Your Ed25519 private key; without it one is made in the workspace.")] = None,
    site: Annotated[
        list[str] | None, typer.Option(metavar="NAME=KEY.pub", help="A site's public key, to have it as a member from the start.")
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(help="ImageNet weights, .pth or .safetensors; without it torchvision's cache, if the plan asks."),
    ] = None,
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
        from fedcli.operations.init import init as begin

        if plan is None or drop is None:
            msg = "init needs --plan FILE and --drop FOLDER"
            raise UsageError(msg, hint="fedcli init --template > plan.toml makes a plan to begin with")
        options = store_options(host_key, ssh_key, endpoint)
        members = named_paths(site or [], "--site")
        return begin(workspace, plans.load(plan), absolute(drop), key, members, environment, options, weights)

    def show(out: Console, result: InitResult) -> None:
        rows = [
            ("federation", result.federation[:12]),
            ("plan", result.plan[:12]),
            ("network", f"{result.network}, {result.values:,} values"),
            ("sites", ", ".join(result.sites) or "none yet: they join, and you admit them"),
        ]
        render.print_table(out, f"A federation has begun in {result.drop}", ("what", "value"), rows)

    Conduct(command="init", as_json=json, root=workspace).run(work, show)


def admit(
    site: Annotated[str, typer.Argument(help="The site's name.")],
    fingerprint: Annotated[
        str | None,
        typer.Option(help="What the site told you; without it you see the enrolled one and are asked."),
    ] = None,
    workspace: WorkspaceOption = Path(),
    json: JsonOption = False,
) -> None:
    """Make an enrolled site a member, from the next round on."""

    def work(environment: Environment) -> AdmitResult:
        from fedcli.operations import admit as operation

        chosen = fingerprint
        if chosen is None:
            applicant = operation.inspect(workspace, site, environment)
            chosen = applicant.fingerprint
            question = f"{site} has enrolled the key {chosen}. Is that what the site told you by telephone?"
            if not applicant.admitted and not confirm(question):
                msg = f"{site}: not admitted; its enrolled key is {chosen}"
                raise ApprovalError(msg, hint=f"fedcli admit {site} --fingerprint {chosen}, if the site confirms it")
        return operation.admit(workspace, site, chosen, environment)

    Conduct(command="admit", as_json=json, root=workspace).run(work)


def aggregate(
    workspace: WorkspaceOption = Path(),
    without: Annotated[
        list[str] | None, typer.Option(metavar="SITE", help="Close the round without this site; needs --reason.")
    ] = None,
    reason: Annotated[str, typer.Option(help="Why, as the round record will say.")] = "",
    review: Annotated[bool, typer.Option("--review", help="Show every site's figures, and ask before publishing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="With --review: publish all that is valid, without asking.")] = False,
    wait: WaitOption = False,
    poll: PollOption = 30.0,
    json: JsonOption = False,
) -> None:
    """Verify the sites' updates and publish the next global model, or say who is awaited."""

    def work(environment: Environment) -> AggregateResult:
        from fedcli.cli.review_prompt import reviewer
        from fedcli.operations.aggregate import aggregate as close

        if yes and not review:
            msg = "--yes goes with --review"
            raise UsageError(msg)
        if review and wait and not yes:
            msg = "--review asks a person, and --wait has none"
            raise UsageError(msg, hint="add --yes, or leave --wait out")
        if bool(without) != bool(reason):
            msg = "--without and --reason go together"
            raise UsageError(msg)
        left_out = dict.fromkeys(without or (), reason)
        return close(workspace, environment, without=left_out, reviewer=reviewer(accept=yes) if review else None)

    quiet = yes or not review  # who asks for a review and cannot be asked is told what to type
    Conduct(command="aggregate", as_json=json, root=workspace, wait=wait, poll=poll, quiet=quiet).run(work)
