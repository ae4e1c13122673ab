"""A site joins: it looks at the federation, its operator approves the plan, and it publishes its public key."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from fedcli.disclosure.small_sites import advice_on_data
from fedcli.errors import ConfigurationError, DataError, TrustError
from fedcli.imaging.dataset import prepared_dataset
from fedcli.party.enrolment import publish_enrolment, read_enrolments
from fedcli.party.own_keys import own_keys
from fedcli.party.party import Party
from fedcli.party.source import store_settings
from fedcli.private_files import locked
from fedcli.results import Result, Status
from fedcli.workspace import RE_ENROLMENT, ReEnrolment, Settings, Workspace, WorkspaceRole

if TYPE_CHECKING:
    from fedcli.environment import Environment
    from fedcli.exchange.records import PublicKey
    from fedcli.party.enrolment import EnrolmentSeries
    from fedcli.party.own_keys import OwnKeys
    from fedcli.party.source import Source
    from fedcli.plan import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Invitation:
    """A federation as a site sees it before it joins.

    Attributes:
        source: The drop folder, with the coordinator's key that it names.
        coordinator: Fingerprint of that key.
        confirmed: Whether the site knew it before.
        plan: The plan that the operator is asked to approve.
        sites: The members so far.
    """

    source: Source
    coordinator: str
    confirmed: bool
    plan: Plan
    sites: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinRequest:
    """How a site joins.

    Attributes:
        root: Its workspace; created if it is missing.
        site: Its name.
        invitation: The federation whose coordinator the operator has confirmed, and whose plan the operator has approved.
        key: Its Ed25519 key; None creates one in the workspace.
        prepared: Where its prepared data are, or will be.
        share_dataset: Whether a summary of its data may be published.
        share_models: Whether its best models may be published for evaluation at other sites.
        threads: CPU threads for training; 0 takes PyTorch's default.
        re_enrol: Whether the site, which is a member, has lost its key: it enrols another one under its name.
        declared_patients: About how many training patients it has, where the plan promises privacy; 0 declares none yet.
        tester: Whether all its patients are test patients: it does not train, and evaluates the others' models.
    """

    root: Path
    site: str
    invitation: Invitation
    key: Path | None = None
    prepared: str = "prepared"
    share_dataset: bool = False
    share_models: bool = False
    threads: int = 0
    re_enrol: bool = False
    declared_patients: int = 0
    tester: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinResult(Result):
    """A site that has published its enrolment.

    Attributes:
        fingerprint: Fingerprint of its key, which the coordinator confirms when admitting it.
        plan: Digest of the plan that was approved.
        admitted: Whether the coordinator has admitted this key already.
    """

    site: str
    fingerprint: str
    plan: str
    admitted: bool


def inspect(source: Source) -> Invitation:
    """Look at a federation without a workspace.

    Raises:
        TrustError: It is not the federation of the given coordinator, or does not verify.
    """
    with tempfile.TemporaryDirectory() as scratch:
        folder = source.folder(Path(scratch))
        folder.synchronise()
        fingerprint, newest = folder.ledger.first_key.fingerprint, folder.ledger.newest_federation
        return Invitation(
            source=replace(source, coordinator=fingerprint),
            coordinator=fingerprint,
            confirmed=source.coordinator is not None,
            plan=newest.plan,
            sites=tuple(member.site for member in newest.members),
        )


def join(request: JoinRequest, environment: Environment) -> JoinResult:
    """Join a federation, or finish joining it.

    Raises:
        ConfigurationError: The site's name is taken by another key.
        TrustError: Somebody has enrolled under it with another key.
    """
    plan = request.invitation.plan
    keys = _create_workspace(request, environment)
    key, fingerprint = keys.listed[0], keys.signing.fingerprint
    with Party.at_work(request.root, WorkspaceRole.SITE, environment, confirmed=False) as party:
        series = read_enrolments(party.folder, party.name)
        enrolled = any(key in item.record.keys for item in series.verified)
        listed_before = any(key in item.record.keys_of(party.name) for item in party.ledger.federations)
        waits = (enrolled or request.re_enrol) and not listed_before
        if not waits:
            _refuse_taken_name(party, key, series)
        party.workspace.approve(plan)
        _warn_of_small_data(party, plan)
        if not enrolled:
            listed = [item for item in series.verified if party.ledger.has_listed(party.name, item.record.keys)]
            before = listed[-1] if listed else None
            publish_enrolment(party, party.signer, plan.digest, before)
        admitted = key in party.ledger.newest_federation.keys_of(party.name)
        first = "you are admitted" if admitted else f"tell the coordinator this fingerprint, by telephone: {fingerprint}"
        prepare = party.command("prepare", "ARCHIVE", "--labels", "LABELS")
        return JoinResult(
            status=Status.DONE if enrolled else Status.PUBLISHED,
            message=f"Next: {first}; then `{prepare}` and `{party.command('evaluate' if request.tester else 'train-round')}`",
            site=party.name,
            fingerprint=fingerprint,
            plan=plan.digest,
            admitted=admitted,
        )


def _warn_of_small_data(party: Party, plan: Plan) -> None:
    """Say what a site of this size should know, where its data are prepared already."""
    with suppress(DataError):
        cohort = prepared_dataset.describe(party.workspace.prepared_path).cohort
        for sentence in advice_on_data(plan, cohort):
            party.environment.progress.event(f"{party.name}: {sentence}")


def _create_workspace(request: JoinRequest, environment: Environment) -> OwnKeys:
    """Create the site's workspace if it is missing; return its keys."""
    source = request.invitation.source
    with locked(request.root):
        keys = own_keys(request.root, request.key, request.site, environment.passphrase)
        settings = Settings(
            role=WorkspaceRole.SITE,
            name=request.site,
            drop=source.address,
            coordinator=request.invitation.coordinator,
            key=keys.name,
            prepared=request.prepared,
            share_dataset=request.share_dataset,
            share_models=request.share_models,
            threads=request.threads,
            tester=request.tester,
            declared_patients=request.declared_patients,
            **store_settings(source.options),
        )
        workspace = Workspace.create(request.root, settings)
        if request.re_enrol:
            workspace.save(RE_ENROLMENT, ReEnrolment(public_key=keys.signing.line))
    return keys


def _refuse_taken_name(party: Party, key: PublicKey, series: EnrolmentSeries) -> None:
    hint = "give that key with --key, or choose another name; if this site has lost that key, add --re-enrol"
    listed = party.ledger.newest_federation.keys_of(party.name)
    if listed and key not in listed:
        msg = f"{party.name}: the federation has a site of this name with another key"
        raise ConfigurationError(msg, hint=hint)
    if series.verified and not listed and all(key not in item.record.keys for item in series.verified):
        msg = f"{party.name}: somebody has enrolled under this name with another key"
        raise TrustError(msg, hint=hint)
