"""A site joins: it looks at the federation, its operator agrees to the plan, and it publishes its public key."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from fedcli.errors import ConfigurationError, TrustError
from fedcli.exchange import layout
from fedcli.exchange.keys import own_key, public_keys
from fedcli.exchange.records import EnrolmentRecord
from fedcli.exchange.store import StoreOptions, open_store
from fedcli.party.folder import Folder
from fedcli.party.party import Party, publication, store_settings
from fedcli.private_files import locked
from fedcli.results import Result, Status
from fedcli.workspace import Settings, Workspace, WorkspaceRole

if TYPE_CHECKING:
    from fedcli.environment import Environment
    from fedcli.exchange.records import PublicKey
    from fedcli.exchange.signatures import VerifyKey
    from fedcli.plan import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Invitation:
    """A federation as a site sees it before it joins.

    Attributes:
        coordinator: Fingerprint of the coordinator's first key.
        confirmed: Whether that is the key the site was told.
        plan: What the operator is asked to agree to.
        sites: The members so far.
    """

    coordinator: str
    confirmed: bool
    plan: Plan
    sites: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinRequest:
    """How a site wants to join.

    Attributes:
        root: Its workspace; made if it is missing.
        site: Its name.
        drop: The drop folder.
        key: Its Ed25519 key; None makes one in the workspace.
        prepared: Where its prepared data are, or will be.
        share_dataset: Whether aggregate facts of its data may be published.
        share_models: Whether its best models may be published for evaluation elsewhere.
        threads: CPU threads for training; 0 takes PyTorch's default.
        options: How the drop folder is reached; kept in the workspace's settings.
    """

    root: Path
    site: str
    drop: str
    key: Path | None = None
    prepared: str = "prepared"
    share_dataset: bool = False
    share_models: bool = False
    threads: int = 0
    options: StoreOptions = field(default_factory=StoreOptions)


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinResult(Result):
    """A site that has published its enrolment.

    Attributes:
        fingerprint: Of its key, which the coordinator confirms when admitting it.
        plan: Digest of the plan that was approved.
        admitted: Whether the coordinator has admitted this key already.
    """

    site: str
    fingerprint: str
    plan: str
    admitted: bool


def inspect(drop: str, coordinator: str | None, options: StoreOptions | None = None) -> Invitation:
    """Look at a federation without a workspace.

    Raises:
        TrustError: It is not the federation of the coordinator whose fingerprint was given, or does not verify.
    """
    with tempfile.TemporaryDirectory() as scratch:
        folder = Folder(open_store(drop, options), coordinator=coordinator, cache=Path(scratch))
        folder.synchronise()
        ledger = folder.ledger
        first_key = ledger.first_key
        return Invitation(
            coordinator=first_key.fingerprint,
            confirmed=coordinator is not None,
            plan=ledger.newest_federation.plan,
            sites=tuple(member.site for member in ledger.newest_federation.members),
        )


def join(request: JoinRequest, invitation: Invitation, environment: Environment) -> JoinResult:
    """Join a federation whose plan the operator has approved, or finish joining it.

    Raises:
        ConfigurationError: The site's name is taken by another key.
    """
    verify_key = _create_workspace(request, invitation, environment)
    with Party.at_work(request.root, WorkspaceRole.SITE, environment) as party:
        _refuse_taken_name(party, *public_keys(verify_key))
        party.workspace.approve(invitation.plan)
        published = _publish_enrolment(party, invitation.plan)
        admitted = public_keys(verify_key)[0] in party.ledger.newest_federation.keys_of(party.name)
    after = "you are admitted" if admitted else f"tell the coordinator this fingerprint, by telephone: {verify_key.fingerprint}"
    return JoinResult(
        status=Status.PUBLISHED if published else Status.DONE,
        message=f"Next: {after}; then fedcli prepare your archive, and run fedcli train-round",
        site=party.name,
        fingerprint=verify_key.fingerprint,
        plan=invitation.plan.digest,
        admitted=admitted,
    )


def _create_workspace(request: JoinRequest, invitation: Invitation, environment: Environment) -> VerifyKey:
    """Make the site's workspace, or find that it is there; return its public key."""
    with locked(request.root):
        key_name, verify_key = own_key(request.root, request.key, request.site, environment.passphrase)
        settings = Settings(
            role=WorkspaceRole.SITE,
            name=request.site,
            drop=request.drop,
            coordinator=invitation.coordinator,
            key=key_name,
            prepared=request.prepared,
            share_dataset=request.share_dataset,
            share_models=request.share_models,
            threads=request.threads,
            **store_settings(request.options),
        )
        Workspace.create(request.root, settings)
    return verify_key


def _refuse_taken_name(party: Party, key: PublicKey) -> None:
    listed = party.ledger.newest_federation.keys_of(party.name)
    if listed and key not in listed:
        msg = f"{party.name}: the federation knows a site of this name with another key"
        raise ConfigurationError(msg, hint="give that key with --key, or choose another name")
    enrolments = party.folder.enrolments(party.name)
    if enrolments and key not in enrolments[-1].record.keys:
        msg = f"{party.name}: somebody has enrolled under this name with another key"
        raise TrustError(msg, hint="give that key with --key, or choose another name")


def _publish_enrolment(party: Party, plan: Plan) -> bool:
    """Publish the enrolment unless it is there; tell whether it was published now."""
    key = layout.enrolment(party.name, 0)
    if party.store.stat(key) is not None:
        return False
    record = EnrolmentRecord(
        federation=party.ledger.identity,
        party=party.name,
        created=party.environment.clock(),
        versions=party.versions(),
        number=0,
        previous=None,
        plan=plan.digest,
        keys=public_keys(party.signer.verify_key),
    )
    party.commit(party.outbox.draft("enrolment-0000"), publication(key, record))
    return True
