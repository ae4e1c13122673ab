"""A party replaces its signing key: the old key signs for the new one, and is used until the federation lists the new one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedcli.errors import UsageError
from fedcli.exchange.keys import create_key, load_signer, public_keys
from fedcli.party.amendment import amend_federation
from fedcli.party.command_lines import WORKSPACE, party_command
from fedcli.party.enrolment import publish_enrolment, read_enrolments
from fedcli.party.party import Party
from fedcli.results import Result, Status
from fedcli.workspace import Rotation, WorkspaceRole

if TYPE_CHECKING:
    from pathlib import Path

    from fedcli.environment import Environment
    from fedcli.exchange.signatures import Signer


@dataclass(frozen=True, slots=True, kw_only=True)
class RotateKeyRequest:
    """Whose key to replace.

    Attributes:
        root: The workspace.
        key: The new Ed25519 private key; None creates one in the workspace.
    """

    root: Path
    key: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RotateKeyResult(Result):
    """A new key.

    Attributes:
        fingerprint: Fingerprint of the new key.
        before: Fingerprint of the key that signs for it.
        listed: Whether the federation lists the new key already.
    """

    party: str
    fingerprint: str
    before: str
    listed: bool


def rotate_key(request: RotateKeyRequest, environment: Environment) -> RotateKeyResult:
    """Begin a rotation, or continue one that has begun.

    Raises:
        UsageError: A rotation to another key has begun, or the site has not enrolled yet.
    """
    with Party.at_work(request.root, None, environment) as party:
        before = party.signer.verify_key
        new = _new_key(party, request.key)
        if party.workspace.settings.role is WorkspaceRole.COORDINATOR:
            amend_federation(party, party.ledger.newest_round + 1, coordinator=public_keys(new.verify_key))
            message = "From now on the new key signs; the sites need not do anything. Keep the old key: it proves the history"
        else:
            _enrol(party, new)
            command = party_command(WORKSPACE, "admit", party.name)
            message = (
                f"Tell the coordinator this fingerprint, by telephone: {new.verify_key.fingerprint}; the coordinator then runs "
                f"`{command}`. Until then the old key signs"
            )
        return RotateKeyResult(
            status=Status.PUBLISHED,
            message=message,
            party=party.name,
            fingerprint=new.verify_key.fingerprint,
            before=before.fingerprint,
            listed=party.signer.verify_key == new.verify_key,
        )


def _new_key(party: Party, key: Path | None) -> Signer:
    """Return the new key, which is saved in the workspace before it is published."""
    rotation = party.workspace.rotation
    if rotation is not None:
        if key is not None and str(key.expanduser().resolve()) != rotation.key:
            msg = f"{party.name}: a rotation to {rotation.key} has begun"
            raise UsageError(msg, hint=f"to continue it: `{party.command('rotate-key')}`")
        return load_signer(party.workspace.path(rotation.key), party.environment.passphrase)
    if key is None:
        number = sum(1 for _ in party.workspace.root.glob("key-*.pub")) + 1
        name = f"key-{number:04d}"
        signer = create_key(party.workspace.path(name), party.name)
    else:
        name = str(key.expanduser().resolve())
        signer = load_signer(key, party.environment.passphrase)
    if signer.verify_key == party.signer.verify_key:
        msg = f"{name}: this key is the signing key already"
        raise UsageError(msg, hint="ssh-keygen -t ed25519 creates a new one")
    party.workspace.save("rotation.json", Rotation(key=name, public_key=signer.verify_key.line))
    return signer


def _enrol(party: Party, new: Signer) -> None:
    series, present = read_enrolments(party.folder, party.name), public_keys(party.signer.verify_key)
    if any(item.record.keys == public_keys(new.verify_key) for item in series.verified):
        return
    before = next((item for item in reversed(series.verified) if item.record.keys == present), None)
    if before is None:
        msg = f"{party.name}: has not enrolled, so there is no key to rotate"
        raise UsageError(msg, hint="a site that was listed from the start sends its new public key to the coordinator")
    approval = party.workspace.approval
    plan = approval.digest if approval else before.record.plan
    publish_enrolment(party, new, plan, series.next_number, before)
