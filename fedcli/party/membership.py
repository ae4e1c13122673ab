"""Who is a member, who was removed, and whose key waits for the coordinator's `admit`."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from fedcli.environment import no_passphrase
from fedcli.errors import UsageError
from fedcli.exchange.keys import encryption_key, public_half, public_keys, verify_keys
from fedcli.party.command_lines import WORKSPACE, party_command
from fedcli.party.own_keys import keyring_of
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
    """Return the message for a removed site."""
    reason = f" ({removal.reason})" if removal.reason else ""
    return f"{site} was removed from the federation, from round {removal.from_round} on{reason}"


def refuse_removed(federations: Sequence[Verified[FederationRecord]], site: str) -> None:
    """Raise a UsageError for a site that was removed: nobody accepts what it signs now."""
    if (removal := removal_of(federations, site)) is not None:
        raise UsageError(removal_in_words(site, removal), hint="ask the coordinator, who can admit it again")


def foreign_key(workspace: Workspace, ledger: Ledger) -> str | None:
    """Return what is wrong if a federation record lists a key for a site that is not its own.

    Every record counts since the first that lists the site's present key, and those of the open round and after it. While a site
    that has lost its key waits to be admitted with another one, the lost key is listed.
    """
    site, rotation = workspace.settings.name, workspace.rotation
    if workspace.settings.role is not WorkspaceRole.SITE or workspace.approval is None or not ledger.federations:
        return None
    present = public_half(workspace.key_path)
    keyring = keyring_of(workspace, no_passphrase)
    own = {present.line} | ({rotation.public_key} if rotation else set())
    listing = (item.record.number for item in ledger.federations if present in verify_keys(item.record.keys_of(site)))
    since = next(listing, len(ledger.federations))
    if workspace.load(ReEnrolment, RE_ENROLMENT) != ReEnrolment(public_key=present.line):
        since = min(since, ledger.in_force(ledger.newest_round + 1).record.number)
    for federation in ledger.federations[since:]:
        for key in verify_keys(federation.record.keys_of(site)):
            if key.line not in own:
                return (
                    f"{federation.key}: lists for {site} the key {key.fingerprint}, expected this workspace's "
                    f"{present.fingerprint}: anyone who holds the listed key can sign as {site}"
                )
        sealed_to = encryption_key(federation.record.keys_of(site))
        if sealed_to is not None and sealed_to not in keyring.public:
            return (
                f"{federation.key}: lists for {site} the encryption key {sealed_to.digest[:12]}, which this workspace does not "
                f"have: what is sealed to {site}, somebody else can open; if that key is lost, restore `encryption` from a backup"
            )
    return None


def announcement(ledger: Ledger, root: Path | None) -> str:
    """Return what `status` tells a site before everything else: that it was removed, or that its coordinator has a new key.

    Args:
        ledger: The federation's history.
        root: The reader's workspace; None is for readers without one.
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
    """Return the message for a site about such a key."""
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
