"""Questions to a person: asked on stderr, answered on stdin."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from fedcli.cli import plan_view, render
from fedcli.errors import ApprovalError
from fedcli.text.visible_text import visible

if TYPE_CHECKING:
    from fedcli.plan import Plan
    from fedcli.plan.settings import PlanChange


def attended() -> bool:
    """Return whether there is a person to ask."""
    _, err = render.consoles()
    return err.is_terminal and os.isatty(0)


def confirm(question: str) -> bool:
    """Ask a person; without a terminal the answer is no."""
    return attended() and typer.confirm(visible(question), err=True)


ApprovePlanOption = Annotated[
    str | None,
    typer.Option("--approve-plan", metavar="DIGEST", help="Approve the plan of this digest without being asked."),
]


def require_approval(plan: Plan, changes: tuple[PlanChange, ...], approve_plan: str | None, when: str = "in force") -> None:
    """Show a plan and ask, unless its digest was given.

    Raises:
        ApprovalError: The operator does not approve, or has approved another plan.
    """
    digest = plan.digest
    _, err = render.consoles()
    if approve_plan:
        if not digest.startswith(approve_plan):
            msg = f"the plan {when} is {digest[:12]}, expected {approve_plan[:12]}"
            raise ApprovalError(msg, hint="look at it again without --approve-plan")
        plan_view.show_promise(err, plan)
        return
    plan_view.show(err, f"Plan {plan.name}, {digest[:12]}, {when}", plan, changes)
    if not confirm("Do you approve this plan for this site?"):
        msg = f"the plan {digest[:12]} is not approved"
        raise ApprovalError(msg, hint=f"--approve-plan {digest[:12]} approves it without being asked")
