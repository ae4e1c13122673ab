"""A site's commands: join, approve, prepare, train-round, finetune, evaluate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from fedcli.cli import egress_view, render
from fedcli.cli.prepare import prepare
from fedcli.cli.running import Conduct, JsonOption, PollOption, WaitOption, WorkspaceOption, absolute, attended, confirm
from fedcli.cli.store_options import EndpointOption, HostKeyOption, SshKeyOption, store_options
from fedcli.cli.training_processes import DevicesOption, run_training
from fedcli.errors import ApprovalError

if TYPE_CHECKING:
    from rich.console import Console

    from fedcli.environment import Environment
    from fedcli.operations.approve import ApproveResult, Change
    from fedcli.operations.evaluate import EvaluateResult
    from fedcli.operations.finetune import FinetuneResult
    from fedcli.operations.join import Invitation, JoinResult
    from fedcli.operations.train_round import TrainRoundResult

ApprovePlanOption = Annotated[
    str | None,
    typer.Option("--approve-plan", metavar="DIGEST", help="Approve the plan of this digest without being asked."),
]


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    panel = "Site"
    example = "Example: fedcli join north -C north --drop /mnt/study --coordinator-key SHA256:… --share-dataset --share-models"
    app.command(rich_help_panel=panel, epilog=example)(join)
    app.command(rich_help_panel=panel, epilog="Example: fedcli approve -C north")(approve)
    app.command(rich_help_panel=panel, epilog="Example: fedcli prepare /archive --labels labels.csv -C north")(prepare)
    app.command("train-round", rich_help_panel=panel, epilog="Example: fedcli train-round -C north --wait")(train_round)
    app.command(rich_help_panel=panel, epilog="Example: fedcli finetune -C north --from initial")(finetune)
    app.command(rich_help_panel=panel, epilog="Example: fedcli evaluate -C north")(evaluate)


def join(
    site: Annotated[str, typer.Argument(help="This site's name: lower-case letters, digits and hyphens.")],
    drop: Annotated[str, typer.Option(help="The drop folder: a path, or an sftp, s3, gs, az or file URL.")],
    workspace: WorkspaceOption = Path(),
    coordinator_key: Annotated[
        str | None,
        typer.Option(metavar="FILE|FINGERPRINT", help="The coordinator's key, as you were told it; pinned."),
    ] = None,
    key: Annotated[Path | None, typer.Option(help="Your Ed25519 private key; without it one is made in the workspace.")] = None,
    prepared: Annotated[str, typer.Option(help="Where the prepared data are or will be.")] = "prepared",
    share_dataset: Annotated[bool, typer.Option(help="Let aggregate facts of the data out (Table 1, Fig. 3, Fig. 4).")] = False,
    share_models: Annotated[bool, typer.Option(help="Let the site's best models out, to be evaluated at the others.")] = False,
    threads: Annotated[int, typer.Option(min=0, help="CPU threads for training; 0 takes PyTorch's default.")] = 0,
    host_key: HostKeyOption = "",
    ssh_key: SshKeyOption = None,
    endpoint: EndpointOption = "",
    approve_plan: ApprovePlanOption = None,
    json: JsonOption = False,
) -> None:
    """Join a federation: look at the plan, agree to it, and publish this site's public key."""

    def work(environment: Environment) -> JoinResult:
        from fedcli.exchange.keys import fingerprint_of
        from fedcli.operations import join as operation

        request = operation.JoinRequest(
            root=workspace,
            site=site,
            drop=absolute(drop),
            key=key,
            prepared=prepared,
            share_dataset=share_dataset,
            share_models=share_models,
            threads=threads,
            options=store_options(host_key, ssh_key, endpoint),
        )
        told = fingerprint_of(coordinator_key) if coordinator_key else None
        invitation = operation.inspect(request.drop, told, request.options)
        _require_confirmed(invitation)
        _require_approval(invitation, approve_plan)
        return operation.join(request, invitation, environment)

    Conduct(command="join", as_json=json, root=workspace).run(work)


def _require_confirmed(invitation: Invitation) -> None:
    question = f"The coordinator's key is {invitation.coordinator}. Is that what the coordinator told you by telephone?"
    if not invitation.confirmed and not confirm(question):
        msg = f"the coordinator's key {invitation.coordinator} is not confirmed"
        raise ApprovalError(msg, hint="give --coordinator-key with what the coordinator told you")


def _require_approval(invitation: Invitation, approve_plan: str | None) -> None:
    from fedcli.operations.approve import changes

    _ask_about_plan(invitation.plan.name, invitation.plan.digest, changes(None, invitation.plan), approve_plan)


def _ask_about_plan(name: str, digest: str, changed: tuple[Change, ...], approve_plan: str | None) -> None:
    """Show what is to be approved and ask, unless the digest was given."""
    if approve_plan:
        if not digest.startswith(approve_plan):
            msg = f"the plan in force is {digest[:12]}, expected {approve_plan[:12]}"
            raise ApprovalError(msg, hint="look at it again without --approve-plan")
        return
    _, err = render.consoles()
    if any(change.before for change in changed):
        rows = [(change.setting, change.before, change.after) for change in changed]
        render.print_table(err, f"Plan {name}, {digest[:12]}", ("setting", "approved before", "now"), rows)
    else:
        settings = [(change.setting, change.after) for change in changed]
        render.print_table(err, f"Plan {name}, {digest[:12]}", ("setting", "value"), settings)
    if not confirm("Do you approve this plan for this site?"):
        msg = f"the plan {digest[:12]} is not approved"
        raise ApprovalError(msg, hint=f"--approve-plan {digest[:12]} approves it without being asked")


def approve(workspace: WorkspaceOption = Path(), approve_plan: ApprovePlanOption = None, json: JsonOption = False) -> None:
    """Look at the plan in force and what changed since it was last approved, and agree to it."""

    def work(environment: Environment) -> ApproveResult:
        from fedcli.operations import approve as operation

        proposal = operation.inspect(workspace, environment)
        if not proposal.approved:
            _ask_about_plan(proposal.plan.name, proposal.digest, proposal.changes, approve_plan)
        return operation.approve(workspace, proposal.digest, environment)

    Conduct(command="approve", as_json=json, root=workspace).run(work)


def train_round(
    workspace: WorkspaceOption = Path(),
    review: Annotated[
        bool,
        typer.Option("--review", help='Show what is about to leave, and ask; always so with review = "ask" in workspace.toml.'),
    ] = False,
    devices: DevicesOption = 1,
    wait: WaitOption = False,
    poll: PollOption = 30.0,
    json: JsonOption = False,
) -> None:
    """Do this site's part of the open round: train, and publish the update; run again, it finds that done."""

    def work(environment: Environment) -> TrainRoundResult:
        from fedcli.operations.train_round import train_round as operation

        reviewer = egress_view.ask if attended() else None
        return operation(workspace, environment, review=review, reviewer=reviewer, devices=devices)

    conduct = Conduct(command="train-round", as_json=json, root=workspace, wait=wait, poll=poll, quiet=True)
    run_training(workspace, lambda: conduct.run(work))


def finetune(
    workspace: WorkspaceOption = Path(),
    start: Annotated[
        Literal["best", "initial"],
        typer.Option("--from", help="The best federated model, or φ(0) for the local-only baseline."),
    ] = "best",
    devices: DevicesOption = 1,
    json: JsonOption = False,
) -> None:
    """Train on locally from the best federated model, or train the local-only baseline."""

    def work(environment: Environment) -> FinetuneResult:
        from fedcli.operations.finetune import Start
        from fedcli.operations.finetune import finetune as operation

        return operation(workspace, Start(start), environment, devices=devices)

    conduct = Conduct(command="finetune", as_json=json, root=workspace, quiet=True)
    run_training(workspace, lambda: conduct.run(work))


def evaluate(
    workspace: WorkspaceOption = Path(), wait: WaitOption = False, poll: PollOption = 30.0, json: JsonOption = False
) -> None:
    """Share this site's models, score every shared model on this site's test patients, and publish the scores."""

    def work(environment: Environment) -> EvaluateResult:
        from fedcli.operations.evaluate import evaluate as operation

        return operation(workspace, environment)

    def show(out: Console, result: EvaluateResult) -> None:
        from fedcli.reporting.tables.comparisons import site_comparison

        rows = [
            (
                f"{score.model.kind.word} {score.model.party}",
                str(score.model.round),
                render.kappa(score.by_case.kappa.value, score.by_case.kappa.interval),
                render.kappa(score.by_case.dense_auc.value, score.by_case.dense_auc.interval),
            )
            for score in result.scores
        ]
        columns = ("model", "round or epoch", "linear weighted kappa", "AUC (dense vs. not dense)")
        render.print_table(out, f"On the test patients of {result.site}", columns, rows)
        for item in result.comparisons:
            compared = site_comparison(result.site, item)
            out.print(f"{compared.difference_sentence} {compared.test_sentence}", highlight=False, markup=False, soft_wrap=True)

    Conduct(command="evaluate", as_json=json, root=workspace, wait=wait, poll=poll, quiet=True).run(work, show)
