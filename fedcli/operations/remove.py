"""The coordinator removes a site: its updates are refused from the next round on; what it has contributed stays.

What contains its updates is listed, and `restart` goes back to the newest model without them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedcli.errors import UsageError
from fedcli.exchange.history.lineage import lineage, rounds_with
from fedcli.party.amendment import amend_federation, first_round
from fedcli.party.command_lines import WORKSPACE, party_command
from fedcli.party.history.history_reader import read_history
from fedcli.party.party import Party
from fedcli.results import Result, Status
from fedcli.text.visible_text import visible
from fedcli.text.wording import counted, number_ranges
from fedcli.workspace import WorkspaceRole

if TYPE_CHECKING:
    from pathlib import Path

    from fedcli.environment import Environment
    from fedcli.exchange.history import History
    from fedcli.exchange.records import FederationRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveRequest:
    """Whom to remove.

    Attributes:
        root: The coordinator's workspace.
        site: The member.
        reason: Why, for the site to see; empty gives no reason.
    """

    root: Path
    site: str
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveResult(Result):
    """The members that remain, and what contains the site's updates.

    Attributes:
        site: The site.
        from_round: The first round without it.
        sites: The members that remain.
        rounds: Rounds whose global model contains an update of the site.
        models: The keys of shared models that contain one, or are the site's own.
        restart_from: The newest round before them; null if the newest global model contains none.
    """

    site: str
    from_round: int
    sites: tuple[str, ...]
    rounds: tuple[int, ...]
    models: tuple[str, ...]
    restart_from: int | None


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
        history, _ = read_history(party.folder)
        containing, newest = rounds_with(history.rounds, site), len(history.rounds) - 1
        without = [number for number in lineage(history.rounds, newest) if number not in containing]
        restart_from = without[-1] if newest in containing else None
        models = _models_with(history, site, containing)
        message = f"{site} is no member from round {record.from_round} on; what it contributed before stays in the history"
        return RemoveResult(
            status=Status.PUBLISHED,
            message=message + _advice(party, site, record, containing, models, restart_from),
            site=site,
            from_round=record.from_round,
            sites=tuple(member.site for member in record.members),
            rounds=containing,
            models=models,
            restart_from=restart_from,
        )


def _models_with(history: History, site: str, rounds: tuple[int, ...]) -> tuple[str, ...]:
    bases = {history.rounds[number].digest for number in rounds}
    return tuple(sorted(item.key for (owner, _), item in history.models.items() if owner == site or item.record.base in bases))


def _advice(
    party: Party, site: str, record: FederationRecord, rounds: tuple[int, ...], models: tuple[str, ...], restart_from: int | None
) -> str:
    """Return what contains updates of the site, and how to leave them behind."""
    text = ""
    if rounds or models:
        text += f": {counted(len(rounds), 'global model')} ({number_ranges(rounds)})" if rounds else ""
        text += f"{' and' if rounds else ':'} {', '.join(models)}" if models else ""
    if restart_from is not None:
        words = ("restart", "--from", str(restart_from), "--reason", "TEXT")
        who = "the coordinator above runs " if record.plan.tree.above else ""
        command = party_command(WORKSPACE, *words) if who else party.command(*words)
        text += f"; to go on without it: {who}`{command}`"
    elif record.from_round > party.ledger.newest_round + 1:
        command = party.command("aggregate", "--without", site, "--reason", "TEXT")
        text += f"; its update of the open round is used unless it is left out: `{command}`"
    return text
