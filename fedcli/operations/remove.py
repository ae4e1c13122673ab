"""The coordinator removes a site: its updates are refused from the next round on; what it has contributed stays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedcli.errors import UsageError
from fedcli.party.amendment import amend_federation, first_round
from fedcli.party.party import Party
from fedcli.results import Result, Status
from fedcli.text.visible_text import visible
from fedcli.workspace import WorkspaceRole

if TYPE_CHECKING:
    from pathlib import Path

    from fedcli.environment import Environment


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveRequest:
    """Whom to remove.

    Attributes:
        root: The coordinator's workspace.
        site: The member.
        reason: Why, as the site is told; empty gives no reason.
    """

    root: Path
    site: str
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveResult(Result):
    """The members that remain, and from which round on."""

    site: str
    from_round: int
    sites: tuple[str, ...]


def remove(request: RemoveRequest, environment: Environment) -> RemoveResult:
    """Remove a member from the open round on, or, if its update has arrived already, from the round after it.

    Raises:
        UsageError: It is not a member.
    """
    site = request.site
    with Party.at_work(request.root, WorkspaceRole.COORDINATOR, environment) as party:
        members = party.ledger.newest_federation.members
        if all(member.site != site for member in members):
            names = ", ".join(member.site for member in members) or "none"
            msg = f"{site} cannot be removed, expected one of the members: {names}"
            raise UsageError(msg, hint=f"it may have been removed already; `{party.command('status')}` shows the members")
        remaining = (member for member in members if member.site != site)
        record = amend_federation(party, first_round(party, [site]), members=remaining, reason=visible(request.reason) or None)
        return RemoveResult(
            status=Status.PUBLISHED,
            message=f"{site} is no member from round {record.from_round} on; what it contributed before stays in the history",
            site=site,
            from_round=record.from_round,
            sites=tuple(member.site for member in record.members),
        )
