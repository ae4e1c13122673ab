"""Who is a member, who was removed, and whose key waits for the coordinator's `admit`."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from fedcli.errors import UsageError
from fedcli.exchange.keys import public_keys, verify_keys
from fedcli.party.command_lines import WORKSPACE, party_command
from fedcli.workspace import CONFIRMED_RECOVERY, ConfirmedRecovery, WorkspaceRole

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fedcli.exchange.checks import Verified
    from fedcli.exchange.history import History
    from fedcli.exchange.ledger import Ledger
    from fedcli.exchange.records import FederationRecord
    from fedcli.party.party import Party
    from fedcli.workspace import Workspace


def removal_of(federations: Sequence[Verified[FederationRecord]], site: str) -> FederationRecord | None:
    """Return the federation record that removed a site; None if it is a member, or never was one."""
    removal = None
    for before, after in pairwise(item.record for item in federations):
        if after.keys_of(site):
            removal = None
        elif before.keys_of(site):
            removal = after
    return removal


def removal_in_words(site: str, removal: FederationRecord) -> str:
    """Return what a removed site is told."""
    reason = f" ({removal.reason})" if removal.reason else ""
    return f"{site} was removed from the federation, from round {removal.from_round} on{reason}"


def refuse_removed(federations: Sequence[Verified[FederationRecord]], site: str) -> None:
    """Raise a UsageError for a site that was removed: nobody accepts what it signs now."""
    if (removal := removal_of(federations, site)) is not None:
        raise UsageError(removal_in_words(site, removal), hint="ask the coordinator, who can admit it again")


def unconfirmed_key(workspace: Workspace, ledger: Ledger) -> str | None:
    """Return the fingerprint of a coordinator's key that the recovery key has brought in, until the site's operator confirms it."""
    recovery = ledger.recovery
    if recovery is None or workspace.settings.role is not WorkspaceRole.SITE:
        return None
    if workspace.load(ConfirmedRecovery, CONFIRMED_RECOVERY) == ConfirmedRecovery(record=recovery.digest):
        return None
    return verify_keys(recovery.record.coordinator)[0].fingerprint


def unconfirmed_in_words(fingerprint: str) -> str:
    """Return what a site is told about such a key."""
    return f"the recovery key has replaced the coordinator's key, which is now {fingerprint}"


def unlisted_in_words(party: Party) -> str:
    """Return why a site's key is not one of the open round."""
    federations, (key,) = party.ledger.federations, public_keys(party.signer.verify_key)
    if key in federations[-1].record.keys_of(party.name):
        first = next(item.record.from_round for item in federations if key in item.record.keys_of(party.name))
        return f"{party.name} takes part with the key {party.signer.verify_key.fingerprint} from round {first} on"
    if (removal := removal_of(federations, party.name)) is not None:
        return f"{removal_in_words(party.name, removal)}; ask the coordinator, who can admit it again"
    command = party_command(WORKSPACE, "admit", party.name)
    return f"{party.name} is not admitted yet; the coordinator runs `{command}`"


def not_admitted(history: History, enrolled: set[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return whose key waits for `admit`: sites that are no members, and members with a new key, both sorted.

    A removed site does not apply with a key that the federation has listed before.

    Args:
        history: What the drop folder contains.
        enrolled: The sites that have published an enrolment, also one that does not verify.
    """
    federations, members = history.federations, set(history.sites)
    ever = {member.site for item in federations for member in item.record.members}
    new = history.waiting.keys()
    return tuple(sorted((enrolled - ever) | (new - members))), tuple(sorted(new & members))
