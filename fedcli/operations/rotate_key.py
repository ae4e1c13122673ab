"""A party replaces its keys: the old signing key signs for the new ones, and is used until the federation lists them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedcli.errors import UsageError
from fedcli.exchange import layout
from fedcli.exchange.keys import create_key, load_signer, public_keys, read_recovery_key, verify_keys
from fedcli.exchange.store.listing import is_there
from fedcli.party.amendment import amend_federation, first_round, recover_federation
from fedcli.party.command_lines import WORKSPACE, party_command
from fedcli.party.enrolment import publish_enrolment, read_enrolments
from fedcli.party.own_keys import AskedPassphrase, new_encryption_key
from fedcli.party.party import Party
from fedcli.results import Result, Status
from fedcli.workspace import Rotation, WorkspaceRole

if TYPE_CHECKING:
    from pathlib import Path

    from fedcli.environment import Environment
    from fedcli.exchange.signatures import Signer, VerifyKey


@dataclass(frozen=True, slots=True, kw_only=True)
class RotateKeyRequest:
    """Whose key to replace.

    Attributes:
        root: The workspace.
        key: The new Ed25519 private key; None creates one in the workspace.
        recovery: The recovery key's file: it signs for the coordinator's new key in place of the present one.
        instead_of: The number of a federation record that this one takes the place of; None is the next number.
        successor: The public half of another recovery key: the recovery key then replaces itself, and not the coordinator's key.
    """

    root: Path
    key: Path | None = None
    recovery: Path | None = None
    instead_of: int | None = None
    successor: Path | None = None


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
        UsageError: A rotation to another key has begun, the site has not enrolled yet, or there is no such recovery key.
    """
    if request.recovery is not None and request.successor is not None:
        return _replace_recovery_key(request.root, request.recovery, request.successor, environment)
    if request.recovery is not None:
        return _recover(request, request.recovery, environment)
    with Party.at_work(request.root, None, environment) as party:
        before = party.signer.verify_key
        new = _new_key(party, request.key, before)
        if party.workspace.settings.role is WorkspaceRole.COORDINATOR:
            first = amend_federation(party, first_round(party, ()), coordinator=party.listed_as(new.verify_key)).from_round
            since = "From now on" if first == party.ledger.newest_round + 1 else f"From round {first} on"
            message = f"{since} the new key signs; the sites need not do anything. Keep the old key: it proves the history"
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


def _recover(request: RotateKeyRequest, recovery: Path, environment: Environment) -> RotateKeyResult:
    """Replace the coordinator's key by the recovery key."""
    with Party.at_work(request.root, WorkspaceRole.COORDINATOR, environment) as party:
        ledger = party.ledger
        newest, signer = ledger.newest_federation, _recovery_signer(party, recovery)
        number = len(ledger.federations) if request.instead_of is None else request.instead_of
        if not 1 <= number <= len(ledger.federations):
            msg = f"federation record {number} cannot be replaced, expected 1 to {len(ledger.federations)}"
            raise UsageError(msg)
        new = _new_key(party, request.key, verify_keys(newest.coordinator)[0])
        if newest.coordinator != party.listed_as(new.verify_key):
            recover_federation(party, number, signer, coordinator=party.listed_as(new.verify_key))
        leftovers = _leftovers(party, number)
        if not leftovers:
            party.folder.synchronise()
        return RotateKeyResult(
            status=Status.PUBLISHED,
            message=_recovered(new.verify_key.fingerprint, leftovers),
            party=party.name,
            fingerprint=new.verify_key.fingerprint,
            before=verify_keys(newest.coordinator)[0].fingerprint,
            listed=bool(leftovers) or party.signer.verify_key == new.verify_key,
        )


def _replace_recovery_key(root: Path, recovery: Path, successor: Path, environment: Environment) -> RotateKeyResult:
    """Name another recovery key, for which the present one signs; the coordinator's key stays, so sites have none to confirm."""
    with Party.at_work(root, WorkspaceRole.COORDINATOR, environment) as party:
        new, newest = read_recovery_key(successor, party.signer.verify_key), party.ledger.newest_federation
        before = newest.recovery
        if before != new:
            recover_federation(party, newest.number + 1, _recovery_signer(party, recovery), successor=new)
            party.folder.synchronise()
        fingerprint, present = (key.fingerprint for key in verify_keys([new, before or new]))
        return RotateKeyResult(
            status=Status.DONE if before == new else Status.PUBLISHED,
            message=f"The recovery key is now {fingerprint}; keep its private half offline, and destroy the one before",
            party=party.name,
            fingerprint=fingerprint,
            before=present,
            listed=True,
        )


def _recovery_signer(party: Party, recovery: Path) -> Signer:
    """Load the federation's recovery key."""
    signer, listed = load_signer(recovery, party.environment.passphrase), party.ledger.newest_federation.recovery
    if listed is None or public_keys(signer.verify_key) != (listed,):
        named = verify_keys([listed])[0].fingerprint if listed else "none"
        msg = f"{recovery}: the key {signer.verify_key.fingerprint}, expected the federation's recovery key, {named}"
        raise UsageError(msg, hint="fedcli init --recovery-key names it; without one, begin a new federation")
    return signer


def _leftovers(party: Party, number: int) -> tuple[str, ...]:
    """Return what follows the replaced record in the drop folder: the coordinator's records, and updates made on its rounds."""
    keys, federations = party.store.list(layout.prefix(layout.COORDINATOR)), party.ledger.federations
    if number >= len(federations):
        return ()
    first = federations[number].record.from_round
    later = [layout.federation(each) for each in layout.federation_numbers(keys) if each > number]
    rounds = [each for each in layout.round_numbers(keys) if each >= first]
    later += map(layout.round_record, rounds)
    for member in party.ledger.newest_federation.members:
        made = [layout.update(member.site, each + 1) for each in rounds]
        later += [update for update in made if is_there(party.store, update, if_hidden=True)]
    return tuple(later)


def _recovered(fingerprint: str, leftovers: tuple[str, ...]) -> str:
    command = party_command(WORKSPACE, "approve", "--coordinator-key", "FINGERPRINT")
    text = f"Call every site, and read it the coordinator's new fingerprint, {fingerprint}; each runs `{command}`"
    if leftovers:
        text += (
            ". Before that, move out of the drop folder, with the files beside them, what was made under the replaced record: "
        )
        text += ", ".join(leftovers)
    return text


def _new_key(party: Party, key: Path | None, present: VerifyKey) -> Signer:
    """Return the new signing key, which is saved in the workspace before it is published; an encryption key comes with it."""
    rotation = party.workspace.rotation
    if rotation is not None:
        if key is not None and str(key.expanduser().resolve()) != rotation.key:
            msg = f"{party.name}: a rotation to {rotation.key} has begun"
            raise UsageError(msg, hint=f"to continue it: `{party.command('rotate-key')}`")
        return load_signer(party.workspace.path(rotation.key), party.environment.passphrase)
    passphrase = AskedPassphrase(party.environment.passphrase)
    if key is None:
        number = sum(1 for _ in party.workspace.root.glob("key-*.pub")) + 1
        name = f"key-{number:04d}"
        signer = create_key(party.workspace.path(name), party.name)
    else:
        name = str(key.expanduser().resolve())
        signer = load_signer(key, passphrase)
    if signer.verify_key == present:
        msg = f"{name}: this key is the signing key already"
        raise UsageError(msg, hint="ssh-keygen -t ed25519 creates a new one")
    new_encryption_key(party.workspace, party.name, passphrase.answer)
    party.workspace.save("rotation.json", Rotation(key=name, public_key=signer.verify_key.line))
    return signer


def _enrol(party: Party, new: Signer) -> None:
    series, present = read_enrolments(party.folder, party.name), party.signer.verify_key
    if any(item.record.keys == party.listed_as(new.verify_key) for item in series.verified):
        return
    before = next((item for item in reversed(series.verified) if present in verify_keys(item.record.keys)), None)
    if before is None:
        msg = f"{party.name}: has not enrolled, so there is no key to rotate"
        raise UsageError(msg, hint="a site that was listed from the start sends its new public key to the coordinator")
    approval = party.workspace.approval
    plan = approval.digest if approval else before.record.plan
    publish_enrolment(party, new, plan, before)
