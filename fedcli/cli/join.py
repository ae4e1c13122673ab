"""The command join."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedcli.cli.invocation import Invocation
from fedcli.cli.options import JsonOption, OwnKeyOption, ThreadsOption, WorkspaceOption
from fedcli.cli.questions import ApprovePlanOption, confirm, require_approval
from fedcli.cli.source_options import DropOption, EndpointOption, HostKeyOption, SshKeyOption, given_source
from fedcli.errors import ApprovalError
from fedcli.exchange import layout

if TYPE_CHECKING:
    from fedcli.environment import Environment
    from fedcli.operations.join import Invitation, JoinResult
    from fedcli.party.source import Source

EXAMPLE = "Example: fedcli join north -C north --drop /mnt/study --coordinator-key SHA256:… --share-dataset --share-models"

CoordinatorKeyOption = Annotated[
    str | None,
    typer.Option(metavar="FILE|FINGERPRINT", help="The coordinator's key, as the coordinator told you; kept in the workspace."),
]

TesterOption = Annotated[
    bool, typer.Option("--tester", help="All patients of this site are test patients: it does not train, it evaluates.")
]
DeclaredOption = Annotated[
    int,
    typer.Option(
        "--patients",
        min=0,
        max=10_000_000,
        help="About how many training patients this site has, where the plan promises privacy; it becomes public.",
        show_default=False,
    ),
]
ReEnrolOption = Annotated[bool, typer.Option("--re-enrol", help="This site has lost its key: enrol another one under its name.")]


def join(
    site: Annotated[str, typer.Argument(help="This site's name: lower-case letters, digits and hyphens.")],
    drop: DropOption,
    workspace: WorkspaceOption = Path(),
    coordinator_key: CoordinatorKeyOption = None,
    key: OwnKeyOption = None,
    prepared: Annotated[str, typer.Option(help="Where the prepared data are or will be.")] = "prepared",
    share_dataset: Annotated[bool, typer.Option(help="Share a summary of the data (Table 1, Fig. 3, Fig. 4).")] = False,
    share_models: Annotated[
        bool, typer.Option(help="Share this site's best models so that other sites can evaluate them.")
    ] = False,
    tester: TesterOption = False,
    patients: DeclaredOption = 0,
    re_enrol: ReEnrolOption = False,
    threads: ThreadsOption = 0,
    host_key: HostKeyOption = "",
    ssh_key: SshKeyOption = None,
    endpoint: EndpointOption = "",
    approve_plan: ApprovePlanOption = None,
    json: JsonOption = False,
) -> None:
    """Join a federation: look at the plan, approve it, and publish this site's public key."""

    def work(environment: Environment) -> JoinResult:
        from fedcli.operations import join as operation

        source = given_source(drop, coordinator_key, host_key=host_key, ssh_key=ssh_key, endpoint=endpoint)
        invitation = _approved_invitation(site, source, approve_plan)
        request = operation.JoinRequest(
            root=workspace,
            site=site,
            invitation=invitation,
            key=key,
            prepared=prepared,
            share_dataset=share_dataset,
            share_models=share_models,
            threads=threads,
            re_enrol=re_enrol,
            tester=tester,
            declared_patients=patients,
        )
        return operation.join(request, environment)

    Invocation(command="join", as_json=json, root=workspace).run(work)


def _approved_invitation(site: str, source: Source, approve_plan: str | None) -> Invitation:
    """Return the federation once the operator has confirmed its coordinator and approved its plan."""
    from fedcli.operations.join import inspect
    from fedcli.plan.settings import plan_changes

    layout.require_site(site)
    invitation = inspect(source)
    key = invitation.coordinator
    question = f"The coordinator's key is {key}. Is that the fingerprint that the coordinator told you by telephone?"
    if not invitation.confirmed and not confirm(question):
        msg = f"the coordinator's key {key} is not confirmed"
        raise ApprovalError(msg, hint="add --coordinator-key with what the coordinator told you")
    require_approval(invitation.plan, plan_changes(None, invitation.plan), approve_plan)
    return invitation
