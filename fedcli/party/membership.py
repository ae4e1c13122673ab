"""Who is a member, who was removed, and whose key waits for the coordinator's `admit`."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from fedcli.errors import UsageError
from fedcli.exchange.keys import public_half, public_keys, verify_keys
from fedcli.party.command_lines import WORKSPACE, party_command
from fedcli.workspace import CONFIRMED_RECOVERY, RE_ENROLMENT, ConfirmedRecovery, ReEnrolment, Workspace, WorkspaceRole

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from fedcli.exchange.checks import Verified
    from fedcli.exchange.history import History
    from fedcli.exchange.ledger import Ledger
    from fedcli.exchange.records import FederationRecord
    from fedcli.party.party import Party


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


def foreign_key(workspace: Workspace, ledger: Ledger) -> str | None:
    """Return what is wrong if the record in force or the newest one lists a key for a site that is not its own.

    While a site that has lost its key waits to be admitted with another one, the lost key is listed.
    """
    site, rotation = workspace.settings.name, workspace.rotation
    if workspace.settings.role is not WorkspaceRole.SITE or workspace.approval is None or not ledger.federations:
        return None
    present = public_half(workspace.key_path)
    own = {present.line} | ({rotation.public_key} if rotation else set())
    since = 0
    if workspace.load(ReEnrolment, RE_ENROLMENT) == ReEnrolment(public_key=present.line):
        listing = (item.record.number for item in ledger.federations if item.record.keys_of(site) == public_keys(present))
        since = next(listing, len(ledger.federations))
    for federation in (ledger.in_force(ledger.newest_round + 1), ledger.federations[-1]):
        for key in verify_keys(federation.record.keys_of(site)):
            if key.line not in own and federation.record.number >= since:
                return (
                    f"{federation.key}: lists for {site} the key {key.fingerprint}, expected this workspace's "
                    f"{present.fingerprint}: whoever holds the listed key can sign as {site}"
                )
    return None


def announcement(ledger: Ledger, root: Path | None) -> str:
    """Return what `status` tells a site before everything else: that it was removed, or that its coordinator has a new key.

    Args:
        ledger: The federation's history.
        root: The workspace of who asks; None is told nothing.
    """
    if root is None:
        return ""
    workspace = Workspace.open(root)
    if (removal := removal_of(ledger.federations, workspace.settings.name)) is not None:
        return f"{removal_in_words(workspace.settings.name, removal)}. "
    if (fingerprint := unconfirmed_key(workspace, ledger)) is not None:
        text = unconfirmed_in_words(fingerprint)
        command = party_command(root, "approve", "--coordinator-key", "FINGERPRINT")
        return f"{text[:1].upper()}{text[1:]}; call the coordinator, then: {command}. "
    return ""


def unconfirmed_key(workspace: Workspace, ledger: Ledger) -> str | None:
    """Return the fingerprint of a coordinator's key that the recovery key has brought in, until a site's operator confirms it."""
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
