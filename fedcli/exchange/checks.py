"""The checks of the ledger, which numbers them: each takes bytes or measured facts, and raises an error if something is wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from fedcli import wire
from fedcli.disk import Measured
from fedcli.encodings import encoded_layout
from fedcli.errors import TrustError
from fedcli.exchange import layout, signatures
from fedcli.exchange.keys import verify_keys
from fedcli.exchange.recipients import check_sealing
from fedcli.exchange.records import Artifact, Record, Role, RoundRecord
from fedcli.plan import STATEFUL, Packing, Rule, Updates
from fedcli.privacy.sealing import sealed_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fedcli.exchange.records import FederationRecord, SumRecord
    from fedcli.exchange.signatures import VerifyKey
    from fedcli.plan import Aggregation
    from fedcli.tensors import Layout

R = TypeVar("R", bound=Record)
R_co = TypeVar("R_co", bound=Record, covariant=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """A record as the drop folder holds it: its key, its bytes and its signature's bytes."""

    key: str
    data: bytes
    signature: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified(Generic[R_co]):
    """A record that passed checks 1 to 5, with its key and digest."""

    key: str
    digest: str
    record: R_co

    @property
    def artifact(self) -> Artifact:
        """The record's one model or update."""
        return self.artifacts[0]

    @property
    def artifacts(self) -> tuple[Artifact, ...]:
        """All artifacts that the record names; none for kinds of records that have no artifacts."""
        artifacts: tuple[Artifact, ...] = getattr(self.record, "artifacts", ())
        return artifacts


def check_bytes(signed: Signed, most: int) -> None:
    """Run check 1; `signatures.verify` does so for the signature."""
    if len(signed.data) > most:
        msg = f"{signed.key}: the record has {len(signed.data)} bytes, expected at most {most}"
        raise TrustError(msg)


def check_length(signed: Signed, what: str, items: Sequence[object], most: int) -> None:
    """Raise a TrustError if a list is longer than the federation's bounds allow."""
    if len(items) > most:
        msg = f"{signed.key}: {len(items)} {what}, expected at most {most}"
        raise TrustError(msg)


def parse(signed: Signed, kind: type[R]) -> R:
    """Run check 3: return the record that the bytes encode."""
    try:
        return wire.decode(kind, signed.data)
    except wire.MalformedError as error:
        msg = f"{signed.key}: {error}"
        raise TrustError(msg) from error


def listed_keys(party: str, federations: Sequence[FederationRecord]) -> tuple[VerifyKey, ...]:
    """Return the keys that these federation records list for a party, the newest first."""
    listed = [key for record in reversed(federations) for key in record.keys_of(party)]
    if not listed:
        msg = f"site {party} is not a member from round {federations[-1].from_round} on"
        raise TrustError(msg, hint=f"the coordinator admits it with fedcli admit {party}")
    return tuple(dict.fromkeys(verify_keys(listed)))


def check_signature(signed: Signed, signature: bytes, keys: tuple[VerifyKey, ...]) -> None:
    """Run check 2: one of these keys has signed the record's exact bytes."""
    try:
        signatures.verify(signature, signed.data, keys)
    except TrustError as error:
        msg = f"{signed.key}: {error}"
        raise TrustError(msg) from error


def expect(signed: Signed, what: str, expected: object, actual: object) -> None:
    """Raise a TrustError if a value of a record is not the one that its place requires."""
    if expected != actual:
        msg = f"{signed.key}: {what}: expected {expected}, found {actual}"
        raise TrustError(msg)


def check_members(signed: Signed, record: RoundRecord | SumRecord, federation: FederationRecord) -> None:
    """No silent subset: every member that trains contributed, is absent, excused or rejected; nobody else is named."""
    used = [contribution.site for contribution in record.contributions]
    excused, rejected = [item.site for item in record.excused], [item.site for item in record.rejected]
    named = [*used, *record.without]
    if isinstance(record, RoundRecord) and record.round == 0:
        expect(signed, "sites named in round 0", [], named + [item.site for item in record.late])
        return
    lists = {"contributions": used, "absent": list(record.absent), "excused": excused, "rejected": rejected}
    for what, sites in lists.items():
        expect(signed, f"order of {what}", sorted(sites), sites)
    if isinstance(record, RoundRecord) and record.aggregates and not used:
        msg = f"{signed.key}: a round has at least one contribution, or is a restart"
        raise TrustError(msg)
    expect(signed, "sites named", list(federation.trainers), sorted(named))


def check_rule(signed: Signed, record: RoundRecord, settings: Aggregation) -> None:
    """The rule is the plan's, it has enough updates, and each has the weight that the plan gives; Krum leaves some out."""
    if record.round == 0:
        expect(signed, "rule", Rule.MEAN, record.rule)
    if record.aggregates:
        expect(signed, "rule", settings.rule, record.rule)
        check_weights(signed, record, settings)


def check_weights(signed: Signed, record: RoundRecord | SumRecord, settings: Aggregation) -> None:
    """The plan's rule has enough updates, and each has the weight that the plan gives; Krum leaves some out."""
    if len(record.contributions) < settings.least:
        msg = f"{signed.key}: {len(record.contributions)} updates, expected at least {settings.least} for {settings.rule}"
        raise TrustError(msg)
    chosen = [item for item in record.contributions if item.weight or settings.rule is not Rule.KRUM]
    if settings.rule is Rule.KRUM:
        expect(signed, "updates that were chosen", settings.keep, len(chosen))
    for item in chosen:
        expect(signed, f"weight of {item.site}", settings.weight(item.steps, item.images, item.patients), item.weight)


def round_roles(record: RoundRecord, settings: Aggregation, rounds: Sequence[Verified[RoundRecord]]) -> tuple[Role, ...]:
    """Return what the artifacts of a round are: the model, and the server's state if the rule, or the earlier round, has one."""
    if record.restart is not None:
        return tuple(artifact.role for artifact in rounds[record.restart.round].artifacts)
    return (Role.MODEL, Role.SERVER_STATE) if record.round and settings.rule in STATEFUL else (Role.MODEL,)


def check_restart(signed: Signed, record: RoundRecord, rounds: Sequence[Verified[RoundRecord]]) -> None:
    """A restart has the rule, the model and the server's state of the earlier round."""
    if record.restart is None:
        return
    earlier = rounds[record.restart.round].record
    expect(signed, "rule", earlier.rule, record.rule)
    for before, artifact in zip(earlier.artifacts, record.artifacts, strict=True):  # their roles are the same
        what = f"{artifact.role} of round {earlier.round}"
        expect(signed, what, (before.content_size, before.content_sha256), (artifact.content_size, artifact.content_sha256))


def check_late(signed: Signed, record: RoundRecord, rounds: Sequence[Verified[RoundRecord]]) -> None:
    """An update is late only if its round was closed without it."""
    named = [(item.site, item.round) for item in record.late]
    if named != sorted(set(named)):
        msg = f"{signed.key}: late updates must be sorted by site and round, each once"
        raise TrustError(msg)
    for site, number in named:
        earlier = rounds[number].record if number < record.round else None
        if earlier is None or site not in earlier.without:
            msg = f"{signed.key}: late: round {number} was not closed without {site}"
            raise TrustError(msg)


def check_artifacts(signed: Signed, artifacts: tuple[Artifact, ...], federation: FederationRecord, *roles: Role) -> None:
    """Run the part of check 6 that needs only the record: roles, keys, encoding, packing, and sizes within the plan's cap."""
    cap = federation.plan.limits.model_mb * 10**6
    expect(signed, "artifacts' roles", ", ".join(roles), ", ".join(artifact.role for artifact in artifacts))
    for artifact in artifacts:
        travel = federation.plan.updates if artifact.role is Role.UPDATE else Updates()
        expect(signed, "artifact's key", layout.artifact(signed.key, artifact.stored_sha256), artifact.key)
        expect(signed, "artifact's encoding", travel.encoding, artifact.encoding)
        expect(signed, "artifact's packing", travel.packing, artifact.packing)
        check_sealing(signed, artifact, federation)
        if artifact.packing is Packing.NONE and artifact.encryption is None:
            expect(signed, "artifact's stored size and digest",
                   (artifact.content_size, artifact.content_sha256), (artifact.stored_size, artifact.stored_sha256))  # fmt: skip
        elif artifact.packing is Packing.NONE:
            expect(signed, "artifact's stored size", sealed_size(artifact.content_size), artifact.stored_size)
        if (size := max(artifact.stored_size, artifact.content_size)) > cap:
            msg = f"{artifact.key}: {size} bytes, expected at most {cap} (limits.model_mb of the plan)"
            raise TrustError(msg)


def check_copy(key: str, artifact: Artifact, measured: Measured) -> None:
    """Run check 6 on a private copy of an artifact: these are the stored bytes that the record names.

    Raises:
        TrustError: Size or digest differ.
    """
    _check_measured(key, artifact, measured, Measured(size=artifact.stored_size, sha256=artifact.stored_sha256))


def check_artifact(key: str, artifact: Artifact, measured: Measured, actual: Layout, expected: Layout | None) -> None:
    """Run checks 6 and 7 on the unpacked content of an artifact; run `check_copy` first, before anything in it is read.

    Args:
        key: The record that names it.
        artifact: What the record says.
        measured: The content's size and digest.
        actual: The content's layout.
        expected: The layout of the federation's models; None for φ(0), which defines it.

    Raises:
        TrustError: Size, digest, names, shapes or dtypes differ.
    """
    _check_measured(key, artifact, measured, Measured(size=artifact.content_size, sha256=artifact.content_sha256))
    if actual.size != measured.size:
        msg = f"{artifact.key}: the header describes {actual.size} bytes, the file has {measured.size}"
        raise TrustError(msg)
    if expected is not None:
        check_layout(artifact, actual, expected)


def check_layout(artifact: Artifact, actual: Layout, expected: Layout) -> None:
    """Run check 7: names and shapes are those of the federation's models, dtypes those of the artifact's encoding.

    Raises:
        TrustError: They differ.
    """
    if difference := encoded_layout(expected, artifact.encoding).difference(actual):
        msg = f"{artifact.key}: not the federation's model: {difference}"
        raise TrustError(msg)


def _check_measured(key: str, artifact: Artifact, actual: Measured, expected: Measured) -> None:
    if actual != expected:
        msg = (
            f"{artifact.key}: {actual.size} bytes with SHA-256 {actual.sha256[:12]}, expected by {key}: "
            f"{expected.size} bytes with {expected.sha256[:12]}"
        )
        raise TrustError(msg)
