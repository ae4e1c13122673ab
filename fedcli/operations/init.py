"""Begin a federation: the coordinator publishes the plan, the members and φ(0)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypedDict

from fedcli import tensors
from fedcli.aggregation.rules import rule_of
from fedcli.disclosure.small_sites import few_steps
from fedcli.disk import Measured
from fedcli.errors import ConfigurationError
from fedcli.exchange import layout
from fedcli.exchange.keys import public_keys, read_public_key, read_recovery_key
from fedcli.exchange.recipients import check_auditors
from fedcli.exchange.records import FederationRecord, Member, Relayed, Role, RoundRecord
from fedcli.party.amendment import sorted_members
from fedcli.party.own_keys import own_keys
from fedcli.party.party import Party, publication
from fedcli.party.source import store_settings
from fedcli.party.transfer.artifacts import Artifacts
from fedcli.party.transfer.outgoing import ArtifactFile, artifact_of
from fedcli.party.tree.region_plan import region_plan
from fedcli.plan import Beginning
from fedcli.privacy.sealing import sealed_size
from fedcli.private_files import locked
from fedcli.results import Result, Status
from fedcli.workspace import Settings, Workspace, WorkspaceRole

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from fedcli.environment import Environment
    from fedcli.exchange.outbox import Draft
    from fedcli.party.source import Source
    from fedcli.plan import Plan
    from fedcli.tensors import Arrays


_HEADER_BYTES = 128
"""More than the header of a masked update's only tensor, and less than that of a state."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InitRequest:
    """How a federation begins.

    Attributes:
        root: The coordinator's workspace; created if it is missing.
        plan: The plan.
        source: The drop folder; how it is reached is kept in the workspace's settings.
        key: The coordinator's Ed25519 key; None creates one in the workspace.
        sites: Public key files of sites that are members from the start, by name.
        recovery: The public half of the recovery key; None names none, and none can be named later.
        weights: The file of trained weights, if the plan begins from one; None takes torchvision's cache for ImageNet.
        above: Of a region, the workspace of its site in the federation above, whose φ(0) it begins from; None is no region.
    """

    root: Path
    plan: Plan
    source: Source
    key: Path | None = None
    sites: Mapping[str, Path] = field(default_factory=dict)
    recovery: Path | None = None
    weights: Path | None = None
    above: Path | None = None


class _StatedBeginning(TypedDict, total=False):
    """Where φ(0) comes from, as round 0 states it."""

    pretrained: str | None
    relayed: Relayed


@dataclass(frozen=True, slots=True, kw_only=True)
class InitResult(Result):
    """A federation that has begun.

    Attributes:
        coordinator: Fingerprint of the coordinator's key, which every site pins.
        federation: Digest of the federation's first record.
        plan: Digest of the plan, which every site's operator approves.
        network: The network's name.
        values: Numbers that each round sends: weights, and the buffers of the normalisation.
        sites: Members from the start.
    """

    drop: str
    coordinator: str
    federation: str
    plan: str
    network: str
    values: int
    sites: tuple[str, ...]


def init(request: InitRequest, environment: Environment) -> InitResult:
    """Begin a federation, or finish beginning it.

    Raises:
        ConfigurationError: A key is wrong, the drop folder contains another federation, the network does not take images of the
            plan's size, or the trained weights are missing, wrong, or not what the plan begins from.
    """
    source = request.source
    request = _with_plan_above(request, environment)
    plan = request.plan
    if request.weights is not None and plan.network.weights is Beginning.NONE:
        msg = f"{request.weights}: the plan begins without trained weights"
        raise ConfigurationError(msg, hint='set network.weights = "file" or "imagenet" in the plan, or leave --weights out')
    if request.weights is None and plan.network.weights is Beginning.FILE:
        msg = "the plan begins from a file of weights, and none is given"
        raise ConfigurationError(
            msg, hint="name it: fedcli init --weights FILE; any .safetensors file of the plan's network will do"
        )
    if plan.training.steps and (sentence := few_steps(plan, plan.training.epochs * plan.training.steps)) is not None:
        environment.progress.event(sentence)
    for site in request.sites:
        layout.require_site(site)
    check_auditors(plan)
    _refuse_members_without_encryption_key(request)
    members = sorted_members(Member(site=name, keys=public_keys(read_public_key(path))) for name, path in request.sites.items())
    source.open().probe(layout.prefix(layout.COORDINATOR))
    _create_workspace(request, environment)
    with Party.at_work(request.root, WorkspaceRole.COORDINATOR, environment) as party:
        if party.ledger.newest_round < 0:
            _publish_beginning(party, request, members)
            party.folder.synchronise()
        return _result(party, plan)


def _refuse_members_without_encryption_key(request: InitRequest) -> None:
    """Refuse members named by a signing key only, where nothing could be sealed for them."""
    if request.plan.confidentiality.sealing and request.sites:
        msg = f"{', '.join(request.sites)}: named by a signing key, and the plan seals files to the sites' encryption keys"
        hint = "leave --site out: the sites enrol with fedcli join, and fedcli admit lists them with both keys"
        raise ConfigurationError(msg, hint=hint)


def _create_workspace(request: InitRequest, environment: Environment) -> None:
    with locked(request.root):
        keys = own_keys(request.root, request.key, layout.COORDINATOR, environment.passphrase)
        settings = Settings(
            role=WorkspaceRole.COORDINATOR,
            name=layout.COORDINATOR,
            drop=request.source.address,
            coordinator=keys.signing.fingerprint,
            key=keys.name,
            above=str(request.above.resolve()) if request.above is not None else "",
            **store_settings(request.source.options),
        )
        Workspace.create(request.root, settings)


def _with_plan_above(request: InitRequest, environment: Environment) -> InitRequest:
    """Return the request with the federation above in the plan, if there is one and the plan can be that of a region of it.

    Raises:
        ConfigurationError: The plan names another one, or does not fit it.
    """
    if request.above is not None:
        with Party.at_work(request.above, WorkspaceRole.SITE, environment) as member:
            return replace(request, plan=region_plan(request.plan, member.ledger))
    if named := request.plan.tree.above:
        msg = f"the plan is that of a region of the federation {named[:12]}"
        raise ConfigurationError(msg, hint="--above names the workspace of the region's site in it")
    return request


def _publish_beginning(party: Party, request: InitRequest, members: tuple[Member, ...]) -> None:
    plan = request.plan
    recovery = read_recovery_key(request.recovery, party.signer.verify_key) if request.recovery is not None else None
    draft = party.outbox.draft("round-0000")
    file, beginning = _initial_model(request, draft, party.environment)
    created = party.environment.clock()
    versions = party.versions(torch=True)
    federation = FederationRecord(
        federation=None,
        party=layout.COORDINATOR,
        created=created,
        versions=versions,
        number=0,
        previous=None,
        from_round=0,
        coordinator=party.listed_as(party.signer.verify_key),
        recovery=recovery,
        members=members,
        plan=plan,
    )
    first, key = publication(layout.federation(0), federation), layout.round_record(0)
    artifact, stored = artifact_of(file, key, federation, first.digest, layout.COORDINATOR)
    record = RoundRecord(
        federation=first.digest,
        party=layout.COORDINATOR,
        created=created,
        versions=versions,
        round=0,
        parent=None,
        federation_record=first.digest,
        artifacts=(artifact,),
        **beginning,
    )
    party.commit(draft, first, publication(key, record, (artifact, stored)))


def _initial_model(request: InitRequest, draft: Draft, environment: Environment) -> tuple[ArtifactFile, _StatedBeginning]:
    """Make φ(0) in a draft, or take that of the federation above; return it and what the record says of it."""
    from fedcli.learning.networks import pretrained, registry  # noqa: PLC0415 - torch takes seconds, and only this needs it
    from fedcli.learning.training.mechanism import require_private  # noqa: PLC0415 - likewise

    plan, path = request.plan, draft.folder / "model"
    registry.check_fit(plan.network, len(plan.classes), plan.images.size, plan.training.batch_size)
    if plan.privacy.promised:
        require_private(registry.build(plan.network, len(plan.classes)), plan.training)
    if request.above is not None:
        with Party.at_work(request.above, WorkspaceRole.SITE, environment) as member:
            first = member.ledger.rounds[0]
            copied = Artifacts(member.store, draft.folder / "fetched", member.folder.opening).fetch(first, first.artifact)
            content = Measured(size=first.artifact.content_size, sha256=first.artifact.content_sha256)
            relayed = Relayed(record=first.digest, sum=None)
            return ArtifactFile(role=Role.MODEL, path=copied, content=content), _StatedBeginning(relayed=relayed)
    source = None
    if plan.network.weights is not Beginning.NONE:
        source = pretrained.read(request.weights or pretrained.cached(plan.network.name))
    initial = registry.initial_state(plan.network, len(plan.classes), plan.seed, source)
    _require_room(plan, initial)
    file = ArtifactFile(role=Role.MODEL, path=path, content=tensors.write(path, initial))
    return file, _StatedBeginning(pretrained=source.sha256 if source else None)


def _require_room(plan: Plan, initial: Arrays) -> None:
    """Refuse a plan under which no masked update, or no server state, of a model could be published."""
    sizes = {name: value.size for name, value in initial.items()}
    server = rule_of(plan.aggregation).server
    masked = 8 * sum(sizes.values()) if plan.aggregation.masking else 0
    kept = 4 * sum(size for name, size in sizes.items() if not tensors.is_buffer(name)) * len(server.state) if server else 0
    for what, size, hint in (
        ("a masked update", masked, "masking takes eight bytes for each value"),
        ("the state of the server", kept, f"aggregation.rule = {plan.aggregation.rule.value} keeps it from round to round"),
    ):
        needed = sealed_size(size + _HEADER_BYTES)
        if size and needed > plan.limits.model_mb * 10**6:
            least = -(-needed // 10**6)
            msg = f"limits.model_mb = {plan.limits.model_mb}, expected at least {least}: {what} has {needed:,} bytes"
            raise ConfigurationError(msg, hint=f"{hint}; raise limits.model_mb in the plan")


def _result(party: Party, plan: Plan) -> InitResult:
    ledger = party.ledger
    newest = ledger.newest_federation
    if newest.plan != plan:
        digests = f"{newest.plan.digest[:12]}, not {plan.digest[:12]}"
        msg = f"{party.store.address}: contains a federation under another plan, {digests}"
        raise ConfigurationError(msg, hint="begin a new federation in an empty drop folder")
    with party.folder.global_model(0).open("rb") as file:
        values = sum((item.end - item.begin) // tensors.DTYPE_BYTES[item.dtype] for item in tensors.read_layout(file).tensors)
    fingerprint = party.workspace.settings.coordinator
    return InitResult(
        status=Status.PUBLISHED,
        message=f"Give every site the drop folder's address and this fingerprint, by telephone: {fingerprint}",
        drop=party.store.address,
        coordinator=fingerprint,
        federation=ledger.identity,
        plan=plan.digest,
        network=plan.network.name,
        values=values,
        sites=tuple(member.site for member in newest.members),
    )
