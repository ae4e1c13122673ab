"""A party takes a new signing key: the old key vouches for it, and signs until the federation lists the new one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedcli.errors import UsageError
from fedcli.exchange import layout
from fedcli.exchange.keys import create_key, load_signer, public_keys
from fedcli.exchange.records import EnrolmentRecord
from fedcli.party.amendment import amend_federation
from fedcli.party.party import Party, publication
from fedcli.results import Result, Status
from fedcli.workspace import Rotation, WorkspaceRole

if TYPE_CHECKING:
    from pathlib import Path

    from fedcli.environment import Environment
    from fedcli.exchange.signatures import Signer


@dataclass(frozen=True, slots=True, kw_only=True)
class RotateResult(Result):
    """A new key.

    Attributes:
        fingerprint: Of the new key.
        before: Of the key that vouches for it.
        listed: Whether the federation lists the new key already.
    """

    party: str
    fingerprint: str
    before: str
    listed: bool


def rotate(root: Path, key: Path | None, environment: Environment) -> RotateResult:
    """Begin a rotation, or go on with the one that has begun.

    Args:
        root: The workspace.
        key: The new Ed25519 private key; None makes one in the workspace.
        environment: Clock, progress, passphrase.

    Raises:
        UsageError: A rotation to another key has begun, or a site has not enrolled yet.
    """
    with Party.at_work(root, None, environment) as party:
        before = party.signer.verify_key
        new = _new_key(party, key)
        if party.workspace.settings.role is WorkspaceRole.COORDINATOR:
            amend_federation(party, party.ledger.newest_round + 1, coordinator=public_keys(new.verify_key))
            message = "The new key signs from now on; the sites follow by themselves. Keep the old one: it proves the history"
        else:
            _publish_enrolment(party, new)
            message = (
                f"Tell the coordinator this fingerprint, by telephone: {new.verify_key.fingerprint}; it runs fedcli admit "
                f"{party.name}. Until then the old key signs"
            )
        return RotateResult(
            status=Status.PUBLISHED,
            message=message,
            party=party.name,
            fingerprint=new.verify_key.fingerprint,
            before=before.fingerprint,
            listed=party.signer.verify_key == new.verify_key,
        )


def _new_key(party: Party, key: Path | None) -> Signer:
    """Return the key that takes over, remembered before it is published."""
    rotation = party.workspace.rotation
    if rotation is not None:
        if key is not None and str(key.expanduser().resolve()) != rotation.key:
            msg = f"{party.name}: a rotation to {rotation.key} has begun"
            raise UsageError(msg, hint="fedcli rotate-key without --key goes on with it")
        return load_signer(party.workspace.path(rotation.key), party.environment.passphrase)
    if key is None:
        number = sum(1 for _ in party.workspace.root.glob("key-*.pub")) + 1
        name = f"key-{number:04d}"
        signer = create_key(party.workspace.path(name), party.name)
    else:
        name = str(key.expanduser().resolve())
        signer = load_signer(key, party.environment.passphrase)
    if signer.verify_key == party.signer.verify_key:
        msg = f"{name}: is the key that signs already"
        raise UsageError(msg, hint="ssh-keygen -t ed25519 makes a new one")
    party.workspace.save("rotation.json", Rotation(key=name, public_key=signer.verify_key.line))
    return signer


def _publish_enrolment(party: Party, new: Signer) -> None:
    found = party.folder.enrolments(party.name)
    if not found:
        msg = f"{party.name}: has not enrolled, so there is no key to rotate"
        raise UsageError(msg, hint="a site that the coordinator listed from the start gives it the new public key by hand")
    newest = found[-1]
    keys = public_keys(new.verify_key)
    if newest.record.keys == keys:
        return
    record = EnrolmentRecord(
        federation=party.ledger.identity,
        party=party.name,
        created=party.environment.clock(),
        versions=party.versions(),
        number=newest.record.number + 1,
        previous=newest.digest,
        plan=party.workspace.approval.digest if party.workspace.approval else newest.record.plan,
        keys=keys,
    )
    key = layout.enrolment(party.name, record.number)
    party.commit(party.outbox.draft(f"enrolment-{record.number:04d}"), publication(key, record, countersigner=new))
