"""The check of a region's coordinator: whether the workspace above, its federation and the region go together."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from fedcli.exchange.keys import public_half
from fedcli.party.command_lines import party_command
from fedcli.party.folder import Folder
from fedcli.party.source import Source
from fedcli.wire import SHORT_DIGEST
from fedcli.workspace import Review, Workspace, WorkspaceRole

if TYPE_CHECKING:
    from fedcli.exchange.ledger import Ledger
    from fedcli.operations.doctor.findings import Check, Examination


def above(exam: Examination, workspace: Workspace, ledger: Ledger | None) -> None:
    """Check what `relay` needs of the federation above; nothing where the federation is no region."""
    if workspace.settings.role is not WorkspaceRole.COORDINATOR or ledger is None or not ledger.federations:
        return
    plan = ledger.newest_federation.plan
    if not plan.tree.above:
        return
    with exam.check("federation above", "`above` in workspace.toml names the workspace of the region's site there") as check:
        if workspace.above_path is None:
            check.fail("workspace.toml names no workspace above, and the plan is that of a region")
            return
        member = Workspace.open(workspace.above_path, WorkspaceRole.SITE)
        with tempfile.TemporaryDirectory() as scratch:
            folder = Folder(Source.of_workspace(member).open(), coordinator=member.settings.coordinator, cache=Path(scratch))
            folder.synchronise()
        if folder.ledger.identity != plan.tree.above:
            found, expected = folder.ledger.identity[:SHORT_DIGEST], plan.tree.above[:SHORT_DIGEST]
            check.fail(f"{member.root} is in federation {found}, expected {expected}, which tree.above of the plan names")
            return
        _examine(check, member, folder.ledger, plan.rounds)


def _examine(check: Check, member: Workspace, ledger: Ledger, rounds: int) -> None:
    """Say what keeps the region from sending, or from going on to the last round."""
    name = member.settings.name
    record = ledger.in_force(ledger.newest_round + 1).record
    if public_half(member.key_path).line not in {key.public_key for key in record.keys_of(name)}:
        check.fail(f"{name} is not listed there with this key", f"`fedcli doctor -C {member.root}` says what to do")
    elif not record.plan.tree.regions:
        check.fail("the plan there has no regions", "its coordinator sets tree.regions = true, with fedcli amend")
    elif member.settings.review is Review.ASK:
        check.fail(f'{member.root}: review = "ask" holds updates for a person', 'set review = "auto" there')
    elif not member.approves(record.plan):
        check.fail("the plan there is not approved", f"`{party_command(member.root, 'approve')}` shows the plan and asks")
    elif record.plan.rounds != rounds:
        check.warn(f"{record.plan.rounds} rounds there and {rounds} here", "give both plans as many rounds, with fedcli amend")
    else:
        check.ok(f"{name} is listed there; round {ledger.newest_round} of {rounds}")
