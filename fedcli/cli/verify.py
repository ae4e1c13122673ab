"""The command verify."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedcli.cli import render, source_options
from fedcli.cli.invocation import Invocation
from fedcli.cli.options import JsonOption, TarsOption, WorkspaceOption
from fedcli.cli.privacy import show_costs
from fedcli.results import Status

if TYPE_CHECKING:
    from rich.console import Console

    from fedcli.environment import Environment
    from fedcli.operations.verify import VerifyResult

EXAMPLE = "Examples: fedcli verify demo/drop --coordinator-key SHA256:…; fedcli verify -C demo/coordinator --replay"
NOT_VERIFIED = 6
_SHOWN = 20
"""Files that are ignored are named as long as they are no more."""

SignersOption = Annotated[Path | None, typer.Option(metavar="FILE", help="Write the keys for ssh-keygen -Y verify.")]
ReportOption = Annotated[Path | None, typer.Option(metavar="FILE", help="Write every check with its result, as .html or .json.")]
IdentityOption = Annotated[
    Path | None, typer.Option(metavar="KEY", help="An auditor's private key, which opens sealed files; default: the workspace's.")
]
TreeOption = Annotated[
    list[str] | None,
    typer.Option(metavar="PLACE", help="The drop folder of a region, or of the federation above; can be given several times."),
]
HeadOption = Annotated[
    str | None,
    typer.Option(
        metavar="DIGEST", help="A round record that must be in the history, to show that no round is missing at the end."
    ),
]


def verify(
    drop: source_options.DropArgument = None,
    workspace: WorkspaceOption = Path(),
    replay: Annotated[bool, typer.Option("--replay", help="Recompute every global model and compare, bit for bit.")] = False,
    coordinator_key: source_options.CoordinatorKeyOption = None,
    write_allowed_signers: SignersOption = None,
    expect_head: HeadOption = None,
    identity: IdentityOption = None,
    tars: TarsOption = None,
    report: ReportOption = None,
    tree: TreeOption = None,
    host_key: source_options.HostKeyOption = "",
    ssh_key: source_options.SshKeyOption = None,
    endpoint: source_options.EndpointOption = "",
    json: JsonOption = False,
) -> None:
    """Verify the whole history: every signature, every place, every artifact; with --replay every global model."""

    def work(environment: Environment) -> VerifyResult:
        from fedcli.operations.verify import VerifyRequest
        from fedcli.operations.verify import verify as operation

        request = VerifyRequest(
            source=replace(
                source_options.chosen_source(drop, workspace, coordinator_key, host_key, ssh_key, endpoint), identity=identity
            ),
            replay=replay,
            allowed_signers=write_allowed_signers,
            expect_head=expect_head,
            tars=tuple(tars or ()),
            report=report,
            tree=tuple(
                source_options.given_source(place, host_key=host_key, ssh_key=ssh_key, endpoint=endpoint) for place in tree or ()
            ),
        )
        return operation(request, environment)[0]

    if Invocation(command="verify", as_json=json).run(work, _show).status is Status.FAILED:
        raise typer.Exit(NOT_VERIFIED)


def _show(out: Console, result: VerifyResult) -> None:
    for problem in result.problems:
        render.print_line(out, f"✗ {problem.message}", style="red")
    if not result.federation:
        render.print_line(out, "nothing else was checked, because no federation record holds")
        return
    for key in result.unaccounted[:_SHOWN]:
        render.print_line(out, f"· {key}: no verified record names this file; it is ignored")
    if len(result.unaccounted) > _SHOWN:
        render.print_line(out, f"· {len(result.unaccounted) - _SHOWN} more files are ignored; --json lists them")
    for sentence in result.unfollowed:
        render.print_line(out, f"· not followed: {sentence}")
    for sentence in result.dates:
        render.print_line(out, f"! {sentence}", style="yellow")
    sealed = f", {result.unopened} of them sealed to others" if result.unopened else ""
    archived = f", {result.archived} more archived" if result.archived else ""
    rows = [
        ("federation", result.federation[:12]),
        ("rounds", f"{result.round} of {result.rounds}"),
        ("records", str(result.records)),
        ("artifacts", f"{result.artifacts}{sealed}{archived}"),
        ("rounds recomputed", str(result.replayed)),
    ]
    render.print_table(out, "What was checked", ("what", "value"), rows)
    show_costs(out, result.privacy)
    if result.head:
        render.print_line(out, f"head: {result.head}")  # whole, whatever the width, for --expect-head
