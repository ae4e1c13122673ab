"""The ledger: takes signed bytes, and returns verified records.

No I/O, no clock, no tensors. The checks, in this order, each with a test that breaks it:

    1. size caps, of record and signature;
    2. a canonical signature by a key that the federation record in force lists for the party;
    3. the schema;
    4. federation, party, round and parent digests: the record is where it belongs;
    5. steps and counts within the plan's bounds;
    6. sizes, digests and keys of the artifacts;
    7. names, shapes and dtypes of the tensors.

Nothing is parsed before its signature is verified (2 before 3; a federation's first record is the exception: it carries the key
itself, which the caller pins), and no tensor is read before its header is checked (7). Aggregation checks that values are finite.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, TypeVar

from fedcli import wire
from fedcli.errors import LaterRoundError, TrustError
from fedcli.exchange import layout
from fedcli.exchange.bounds import Bounds
from fedcli.exchange.checks import (
    Signed,
    Verified,
    check_artifacts,
    check_bytes,
    check_late,
    check_length,
    check_members,
    check_restart,
    check_rule,
    check_signature,
    expect,
    listed_keys,
    parse,
    round_roles,
)
from fedcli.exchange.claims import check_claims
from fedcli.exchange.history.lineage import Rounds
from fedcli.exchange.keys import encryption_key, verify_keys
from fedcli.exchange.masking.masked_rounds import check_masked, check_payload
from fedcli.exchange.recipients import check_readers
from fedcli.exchange.records import (
    ArchiveRecord,
    DatasetRecord,
    EnrolmentRecord,
    EvaluationRecord,
    FederationRecord,
    GrantRecord,
    ModelRecord,
    Record,
    Role,
    RoundRecord,
    SiteRecord,
    UpdateRecord,
)
from fedcli.exchange.round_norms import check_norms
from fedcli.exchange.succession import amending_keys, check_amendment, check_recovery, check_seen
from fedcli.exchange.tree.relayed_rounds import check_relayed

if TYPE_CHECKING:
    from fedcli.exchange.records import PublicKey
    from fedcli.exchange.signatures import VerifyKey

R = TypeVar("R", bound=Record)
S = TypeVar("S", ArchiveRecord, DatasetRecord, ModelRecord, EvaluationRecord, GrantRecord)


class Ledger:
    """The trusted history of one federation, grown record by record.

    Attributes:
        federations: The federation records so far.
        rounds: The round records so far; those of a memory are read when they are asked for.
        bounds: How much a party may publish, by the federation records so far.
    """

    def __init__(self, coordinator: str | None = None) -> None:
        """Begin an empty history.

        Args:
            coordinator: Fingerprint of the coordinator's first key; None accepts whatever key the first record carries, and the
                history is then at best consistent, never verified.
        """
        self.pinned = coordinator
        self.federations: list[Verified[FederationRecord]] = []
        self.rounds = Rounds()
        self.bounds = Bounds()
        self._plans: list[str] = []  # the digest of each federation record's plan, which updates must name

    @property
    def identity(self) -> str:
        """The federation's digest: that of its first record."""
        self._require_beginning()
        return self.federations[0].digest

    @property
    def first_key(self) -> VerifyKey:
        """The coordinator's first key, on which all trust rests."""
        self._require_beginning()
        return verify_keys(self.federations[0].record.coordinator)[0]

    @property
    def newest_round(self) -> int:
        """Number of the newest round record; -1 before round 0."""
        return len(self.rounds) - 1

    def in_force(self, number: int) -> Verified[FederationRecord]:
        """Return the federation record that is in force for a round."""
        self._require_beginning()
        return [item for item in self.federations if item.record.from_round <= number][-1]

    def _since(self, number: int) -> list[FederationRecord]:
        """Return the federation record that is in force for a round, and all later ones."""
        return [item.record for item in self.federations[self.in_force(number).record.number :]]

    def has_listed(self, party: str, keys: tuple[PublicKey, ...]) -> bool:
        """Tell whether a federation record lists, or has listed, these keys for a party."""
        return any(item.record.keys_of(party) == keys for item in self.federations)

    @property
    def newest_federation(self) -> FederationRecord:
        """The newest federation record, even if its first round has not come yet."""
        self._require_beginning()
        return self.federations[-1].record

    @property
    def recovery(self) -> Verified[FederationRecord] | None:
        """The newest record by which the recovery key has replaced the coordinator's keys; None if it never has."""
        changes = [after for before, after in pairwise(self.federations) if before.record.coordinator != after.record.coordinator]
        return next((item for item in reversed(changes) if item.key == layout.recovery(item.record.number)), None)

    def add_federation(self, signed: Signed) -> Verified[FederationRecord]:
        """Take the next federation record."""
        number = len(self.federations)
        recovered = number > 0 and signed.key == layout.recovery(number)
        keys = amending_keys(signed, self.newest_federation, recovered=recovered) if number else self._first_keys(signed)
        verified = self.open_signed(signed, FederationRecord, layout.COORDINATOR, keys, first=number == 0)
        record = verified.record
        expect(signed, "number", number, record.number)
        expect(signed, "previous federation record", self.federations[-1].digest if number else None, record.previous)
        earliest = max(len(self.rounds), self.federations[-1].record.from_round if number and not recovered else 0)
        if record.from_round < earliest or (number == 0 and record.from_round != 0):
            msg = f"{signed.key}: in force from round {record.from_round}, expected {earliest} or later"
            raise TrustError(msg)
        if number:
            check_amendment(signed, record, self.federations[0].record)
            before = self.in_force(record.from_round).record if recovered else self.newest_federation
            check_recovery(signed, record, before, recovered=recovered)
        self.federations.append(verified)
        self._plans.append(record.plan.digest)
        self.bounds = self.bounds.after(record)
        return verified

    def add_round(self, signed: Signed) -> Verified[RoundRecord]:
        """Take the next round record."""
        number = len(self.rounds)
        force = self.in_force(number)
        verified = self.open_signed(signed, RoundRecord, layout.COORDINATOR, verify_keys(force.record.coordinator))
        record = verified.record
        expect(signed, "round", number, record.round)
        expect(signed, "parent round", self.rounds.digests[-1] if number else None, record.parent)
        expect(signed, "federation record in force", force.digest, record.federation_record)
        check_members(signed, record, force.record)
        check_late(signed, record, self.rounds)
        settings = force.record.plan.aggregation
        check_rule(signed, record, settings)
        check_norms(signed, record, force.record.plan.limits)
        check_masked(signed, record, force.record)
        check_relayed(signed, record, force.record.plan)
        check_artifacts(signed, record.artifacts, force.record, *round_roles(record, settings, self.rounds))
        check_restart(signed, record, self.rounds)
        check_readers(signed, record.artifacts, layout.COORDINATOR, [force.record])
        self.rounds.append(verified)
        return verified

    def update(self, site: str, number: int, signed: Signed) -> Verified[UpdateRecord]:
        """Verify a site's update of a round; the ledger must hold its parent."""
        force = self.in_force(number)
        verified = self.open_signed(signed, UpdateRecord, site, listed_keys(site, [force.record]))
        record = verified.record
        if site in force.record.testers:
            msg = f"{signed.key}: {site} is a tester from round {force.record.from_round} on, and sends no updates"
            raise TrustError(msg)
        expect(signed, "round", number, record.round)
        check_seen(signed, record, self.rounds)
        expect(signed, "plan", self._plans[force.record.number], record.plan)
        check_payload(signed, record, force.record.plan)
        check_claims(signed.key, record, force.record.plan)
        check_artifacts(signed, record.artifacts, force.record, Role.UPDATE)
        check_readers(signed, record.artifacts, site, [item for item in self._since(number - 1) if item.from_round <= number])
        return verified

    def enrolment(self, site: str, signed: Signed) -> Verified[EnrolmentRecord]:
        """Verify a site's first enrolment with the key that it carries; the coordinator's operator decides whose key that is."""
        check_bytes(signed, self.bounds.record_bytes(signed.key))
        carried = parse(signed, EnrolmentRecord).keys
        verified = self.open_signed(signed, EnrolmentRecord, site, verify_keys(carried))
        encryption_key(carried)
        expect(signed, "number", 0, verified.record.number)
        expect(signed, "previous enrolment", None, verified.record.previous)
        return verified

    def later_enrolment(
        self, site: str, number: int, before: Verified[EnrolmentRecord] | None, signed: Signed, countersignature: bytes
    ) -> Verified[EnrolmentRecord]:
        """Verify an enrolment after the first, countersigned by the new key that it carries.

        A rotation is signed by a key of the enrolment before it; a site that has lost that key signs by the new one. In both
        cases the coordinator's operator decides whose key it is.
        """
        carried = parse(signed, EnrolmentRecord).keys
        earlier = verify_keys(before.record.keys) if before else ()
        verified = self.open_signed(signed, EnrolmentRecord, site, (*earlier, *verify_keys(carried)))
        expect(signed, "number", number, verified.record.number)
        expect(signed, "previous enrolment", before.digest if before else None, verified.record.previous)
        check_signature(signed, countersignature, verify_keys(carried))
        encryption_key(carried)
        return verified

    def dataset(self, site: str, number: int, signed: Signed) -> Verified[DatasetRecord]:
        """Verify a site's data set record."""
        verified = self._open_outside_rounds(signed, DatasetRecord, site, number)
        for part in verified.record.cohort.parts:
            expect(signed, f"classes of the {part.part} part", len(self.newest_federation.plan.classes), len(part.class_images))
        return verified

    def model(self, site: str, number: int, kind: str, signed: Signed) -> Verified[ModelRecord]:
        """Verify a shared model's record."""
        verified = self._open_outside_rounds(signed, ModelRecord, site, number)
        expect(signed, "kind", kind, verified.record.kind.value)
        if verified.record.base not in self.rounds.digests:
            msg = f"{signed.key}: started from round record {verified.record.base[:12]}, which this federation does not have"
            raise TrustError(msg)
        check_artifacts(signed, verified.record.artifacts, self.newest_federation, Role.MODEL)
        check_readers(signed, verified.artifacts, site, self._since(verified.record.as_of))
        return verified

    def evaluation(self, site: str, number: int, signed: Signed) -> Verified[EvaluationRecord]:
        """Verify a site's evaluation."""
        verified = self._open_outside_rounds(signed, EvaluationRecord, site, number)
        check_length(signed, "scores", verified.record.scores, self.bounds.scores)
        classes = len(self.newest_federation.plan.classes)
        for measures in (part for score in verified.record.scores for part in (score.by_case, score.by_image)):
            if measures.confusion is not None and len(measures.confusion) != classes:
                msg = f"{signed.key}: a confusion matrix is not {classes} × {classes}"
                raise TrustError(msg)
        return verified

    def grant(self, party: str, number: int, signed: Signed) -> Verified[GrantRecord]:
        """Verify a party's grant record; that what it wraps opens anything shows when it is used."""
        return self._open_outside_rounds(signed, GrantRecord, party, number)

    def archive(self, number: int, signed: Signed) -> Verified[ArchiveRecord]:
        """Verify the coordinator's record of an archive."""
        return self._open_outside_rounds(signed, ArchiveRecord, layout.COORDINATOR, number)

    def _open_outside_rounds(self, signed: Signed, kind: type[S], party: str, number: int) -> Verified[S]:
        """Open a record that a party makes outside the rounds, as of the newest round that it had seen.

        The key is one that the federation listed for the party in that round, or has listed since: what a member wrote stays
        valid after its key was rotated out, or the member was removed; what it writes later is not.
        """
        self._require_beginning()
        verified = self.open_signed(signed, kind, party, listed_keys(party, [item.record for item in self.federations]))
        check_seen(signed, verified.record, self.rounds)
        as_of = verified.record.as_of
        if as_of > self.newest_round:
            msg = f"{signed.key}: as of round {as_of}, expected at most {self.newest_round}, the newest one"
            raise LaterRoundError(msg, as_of)
        check_signature(signed, signed.signature, listed_keys(party, self._since(as_of)))
        expect(signed, "number", number, verified.record.number)
        if isinstance(verified.record, SiteRecord) and verified.record.seen is not None:
            expect(signed, "newest round seen", as_of, verified.record.seen.round)
        return verified

    def _require_beginning(self) -> None:
        if not self.federations:
            msg = f"{layout.federation(0)}: there is no federation record"
            hint = "the coordinator begins a federation with fedcli init; if one has begun there, check that the share is mounted"
            raise TrustError(msg, hint=hint)

    def open_signed(
        self, signed: Signed, kind: type[R], party: str, keys: tuple[VerifyKey, ...], *, first: bool = False
    ) -> Verified[R]:
        """Run checks 1 to 3, and the part of 4 that holds for every record.

        Args:
            signed: The record as the drop folder holds it.
            kind: Its class.
            party: Who must have made it.
            keys: One of them must have signed it.
            first: Whether it is the federation's first record, which names no federation.
        """
        check_bytes(signed, self.bounds.record_bytes(signed.key))
        check_signature(signed, signed.signature, keys)
        record = parse(signed, kind)
        expect(signed, "party", party, record.party)
        expect(signed, "federation", None if first else self.identity, record.federation)
        return Verified(key=signed.key, digest=wire.sha256(signed.data), record=record)

    def _first_keys(self, signed: Signed) -> tuple[VerifyKey, ...]:
        keys = verify_keys(parse(signed, FederationRecord).coordinator)
        if self.pinned is None:
            return keys
        pinned = tuple(key for key in keys if key.fingerprint == self.pinned)
        if not pinned:
            carried = ", ".join(key.fingerprint for key in keys)
            msg = f"{signed.key}: the coordinator's key is {carried}, expected the pinned {self.pinned}"
            raise TrustError(msg, hint="this folder is not the federation that you joined; ask the coordinator by telephone")
        return pinned
