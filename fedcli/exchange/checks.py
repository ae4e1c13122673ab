"""The single checks of the ledger, numbered there: each takes bytes and facts, and raises what does not hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from fedcli import wire
from fedcli.errors import ConfigurationError, TrustError
from fedcli.exchange import layout
from fedcli.exchange.records import MAX_RECORD_BYTES, Artifact, Record
from fedcli.exchange.signatures import VerifyKey

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fedcli.exchange.records import FederationRecord, PublicKey, Role, RoundRecord
    from fedcli.tensors import Layout, Measured

R = TypeVar("R", bound=Record)
R_co = TypeVar("R_co", bound=Record, covariant=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """A record as it lies in the drop folder: its key, its bytes and its signature's bytes."""

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
        artifacts: tuple[Artifact, ...] = getattr(self.record, "artifacts", ())
        return artifacts[0]


def parse(signed: Signed, kind: type[R]) -> R:
    """Run check 3: return the record that the bytes encode."""
    if len(signed.data) > MAX_RECORD_BYTES:
        msg = f"{signed.key}: the record has more than {MAX_RECORD_BYTES} bytes"
        raise TrustError(msg)
    try:
        return wire.decode(kind, signed.data)
    except wire.MalformedError as error:
        msg = f"{signed.key}: {error}"
        raise TrustError(msg) from error


def verify_keys(keys: Iterable[PublicKey]) -> tuple[VerifyKey, ...]:
    """Return the keys that a record lists."""
    try:
        return tuple(VerifyKey.parse(key.public_key) for key in keys)
    except ConfigurationError as error:  # it stands in a record, not in a file of this party's own
        msg = f"a record lists a key that is {error}"
        raise TrustError(msg) from error


def expect(signed: Signed, what: str, expected: object, found: object) -> None:
    """Raise a TrustError where two values of a record and its place differ."""
    if expected != found:
        msg = f"{signed.key}: {what}: expected {expected}, found {found}"
        raise TrustError(msg)


def check_members(signed: Signed, record: RoundRecord, federation: FederationRecord) -> None:
    """No silent subset: every member has contributed, is absent, or was rejected, and nobody else stands there."""
    used = [item.site for item in record.contributions]
    absent, rejected = list(record.absent), [item.site for item in record.rejected]
    if record.round == 0:
        expect(signed, "sites named in round 0", [], used + absent + rejected + [item.site for item in record.late])
        return
    for what, sites in (("contributions", used), ("absent", absent), ("rejected", rejected)):
        expect(signed, f"order of {what}", sorted(sites), sites)
    if not used:
        msg = f"{signed.key}: a round has at least one contribution"
        raise TrustError(msg)
    expect(signed, "sites named", [member.site for member in federation.members], sorted(used + absent + rejected))
    for item in record.contributions:
        expect(signed, f"weight of {item.site}", item.steps, item.weight)


def check_late(signed: Signed, record: RoundRecord, rounds: Sequence[Verified[RoundRecord]]) -> None:
    """An update is late only where its round was closed without it."""
    named = [(item.site, item.round) for item in record.late]
    if named != sorted(set(named)):
        msg = f"{signed.key}: late updates must be sorted by site and round, each once"
        raise TrustError(msg)
    for site, number in named:
        earlier = rounds[number].record if number < record.round else None
        if earlier is None or site not in (*earlier.absent, *(item.site for item in earlier.rejected)):
            msg = f"{signed.key}: late: round {number} was not closed without {site}"
            raise TrustError(msg)


def check_artifacts(signed: Signed, artifacts: tuple[Artifact, ...], role: Role, federation: FederationRecord) -> None:
    """Run check 6 as far as the record alone tells: roles, keys, and sizes within the plan's cap."""
    cap = federation.plan.limits.model_mb * 10**6
    for artifact in artifacts:
        expect(signed, "artifact's role", role, artifact.role)
        expect(signed, "artifact's key", layout.artifact(signed.key, artifact.stored_sha256), artifact.key)
        expect(signed, "artifact's stored size and digest",
                (artifact.content_size, artifact.content_sha256), (artifact.stored_size, artifact.stored_sha256))  # fmt: skip
        if artifact.stored_size > cap:
            msg = f"{artifact.key}: {artifact.stored_size} bytes, expected at most {cap} (limits.model_mb of the plan)"
            raise TrustError(msg)


def check_copy(key: str, artifact: Artifact, measured: Measured) -> None:
    """Run check 6 on a private copy of an artifact: these are the bytes that the record names.

    Raises:
        TrustError: Size or digest differ.
    """
    if (measured.size, measured.sha256) != (artifact.stored_size, artifact.stored_sha256):
        msg = (
            f"{artifact.key}: {measured.size} bytes with SHA-256 {measured.sha256[:12]}, expected by {key}: "
            f"{artifact.stored_size} bytes with {artifact.stored_sha256[:12]}"
        )
        raise TrustError(msg)


def check_artifact(key: str, artifact: Artifact, measured: Measured, found: Layout, expected: Layout | None) -> None:
    """Run checks 6 and 7 on a private copy of an artifact; `check_copy` comes first, before its header is read.

    Args:
        key: The record that names it.
        artifact: What the record says.
        measured: The copy's size and digest.
        found: The copy's layout.
        expected: The layout of the federation's models; None for φ(0), which sets it.

    Raises:
        TrustError: Size, digest, names, shapes or dtypes differ.
    """
    check_copy(key, artifact, measured)
    if found.size != measured.size:
        msg = f"{artifact.key}: the header describes {found.size} bytes, the file has {measured.size}"
        raise TrustError(msg)
    if expected is not None and (difference := expected.difference(found)):
        msg = f"{artifact.key}: not the federation's model: {difference}"
        raise TrustError(msg)
