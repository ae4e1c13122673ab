"""The coordinator's records: the federation, each round, and archives."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from fedcli.cohort import Count
from fedcli.exchange.layout import COORDINATOR
from fedcli.exchange.records.record import (
    MAX_MEMBERS,
    Artifact,
    Keys,
    NotNegative,
    Number,
    Ordinal,
    PublicKey,
    Purpose,
    Record,
    Role,
    Steps,
    key_for,
)
from fedcli.plan import MAX_STEPS, Plan, Rule
from fedcli.wire import STRICT, Digest, LongText, ShortText, SiteName, Timestamp, absent_means

_MAX_LATE = 10_000
MAX_REFUSED_SHARES = 10_000
"""As many as a masked round's record has room for; the others are left out without a name."""


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Member:
    """A site of the federation and its public keys.

    Attributes:
        site: Its name.
        keys: Its keys.
        tester: Whether it has test patients only: it sends no updates, no round waits for it, and it signs evaluations.
    """

    site: SiteName
    keys: Keys
    tester: Annotated[bool, absent_means(value=False)] = False

    @model_validator(mode="after")
    def _is_a_site(self) -> Member:
        if self.site == COORDINATOR:
            msg = "a site cannot be called coordinator"
            raise ValueError(msg)
        return self


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class FederationRecord(Record):
    """The plan, the members and the coordinator's keys, in force from a round until the next such record takes over.

    Attributes:
        number: Counts from 0.
        previous: Digest of the record before; null in the first.
        from_round: First round under it; later than the newest one published.
        coordinator: The coordinator's keys; the old key signs the record that lists a new one.
        members: The sites, sorted by name.
        plan: What all agree on.
        split_fixed: Whether seed and split stay those of the first plan; false, and left out, in federations begun before that.
        recovery: The key, kept offline, that can replace the coordinator's keys; null if there is none.
        reason: Why it amends the one before, in words for whom it concerns; null if nobody gave a reason.
    """

    schema: Literal["fedcli/federation@1"] = "fedcli/federation@1"
    number: Number
    previous: Digest | None
    from_round: Number
    coordinator: Keys
    members: Annotated[tuple[Member, ...], Field(max_length=MAX_MEMBERS, fail_fast=True)]
    plan: Plan
    split_fixed: Annotated[bool, absent_means(value=False)] = True
    recovery: Annotated[PublicKey | None, absent_means(None)] = None
    reason: Annotated[LongText | None, absent_means(None)] = None

    @model_validator(mode="after")
    def _sorted_members(self) -> FederationRecord:
        names = [member.site for member in self.members]
        if names != sorted(set(names)):
            msg = "members must be sorted by name, each once"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _sealing_has_keys(self) -> FederationRecord:
        parties = {COORDINATOR: self.coordinator} | {member.site: member.keys for member in self.members}
        lacking = [name for name, keys in parties.items() if key_for(Purpose.ENCRYPTION, keys) is None]
        if self.plan.confidentiality.sealing and lacking:
            msg = f"the plan seals files, and there is no encryption key of {', '.join(lacking[:3])}"
            raise ValueError(msg)
        return self

    def keys_of(self, party: str) -> Keys:
        """Return the keys that the record lists for a party: none if it is not a member."""
        if party == COORDINATOR:
            return self.coordinator
        return next((member.keys for member in self.members if member.site == party), ())

    @property
    def trainers(self) -> tuple[str, ...]:
        """The members that train, sorted."""
        return tuple(member.site for member in self.members if not member.tester)

    @property
    def testers(self) -> tuple[str, ...]:
        """The members that only test, sorted."""
        return tuple(member.site for member in self.members if member.tester)


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Contribution:
    """One site's share in a global model.

    Attributes:
        site: Whose update.
        update: Digest of the update record.
        steps: n_k.
        images: Training images of the site; null where the update withholds them.
        patients: Training patients of the site, likewise.
        weight: What its delta was multiplied by: steps, images, patients or 1, as the plan says; 0 if Krum did not choose it.
        norm: Euclidean norm of the delta's float tensors, before it was clipped, to six digits; null in a masked round.
        cosine: Between the delta and the step that all updates gave together, to six digits; null if one of them is zero
            or the updates are masked.
        trained_norm: The norm of its trained weights as they were used, to six digits; left out where the plan limits no norms.
    """

    site: SiteName
    update: Digest
    steps: Steps
    images: Count | None
    patients: Count | None
    weight: Annotated[int, Field(ge=0, le=MAX_STEPS)]
    norm: NotNegative | None
    cosine: Annotated[float, Field(ge=-1, le=1)] | None
    trained_norm: Annotated[NotNegative | None, absent_means(None)] = None


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Late:
    """A valid update that came after its round was closed: it is named and kept, but never used."""

    site: SiteName
    round: Number
    update: Digest


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Rejected:
    """An update that was not used, and why.

    Attributes:
        site: Whose update.
        update: Digest of whatever file was in its place.
        reason: Why.
        norm: The norm of its trained weights, where the plan's limits of norms are the reason; otherwise left out.
    """

    site: SiteName
    update: Digest | None
    reason: LongText
    norm: Annotated[NotNegative | None, absent_means(None)] = None


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Excused:
    """A member that had sent nothing when the coordinator closed the round without it, and why."""

    site: SiteName
    reason: LongText


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Restart:
    """The earlier round whose model and server state a round has again, and why."""

    round: Number
    reason: Annotated[LongText, Field(min_length=1)]


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Answer:
    """A site that has answered the closing of a masked round, and the digest of its unmask record."""

    site: SiteName
    unmask: Digest


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class RefusedShare:
    """A share in an answer that is not the published one: its holder or its dealer is at fault.

    Attributes:
        holder: Who answered.
        dealer: Whose secret it is a share of.
    """

    holder: SiteName
    dealer: SiteName


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Culprit:
    """A dealer whose shares restore another secret than the published one, and how it differs."""

    site: SiteName
    fault: ShortText


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class MaskedSum:
    """What a masked round, or a restart after a closing, was computed from.

    Attributes:
        opening: Digest of the opening record.
        closing: Digest of the closing record.
        answers: The answers used, sorted by site.
        refused_shares: The shares in them that were left out, sorted by dealer, then by holder's position.
        culprits: Dealers convicted by them, sorted; only where no sum came out.
    """

    opening: Digest
    closing: Digest
    answers: Annotated[tuple[Answer, ...], Field(max_length=MAX_MEMBERS, fail_fast=True)]
    refused_shares: Annotated[tuple[RefusedShare, ...], Field(max_length=MAX_REFUSED_SHARES, fail_fast=True)] = ()
    culprits: Annotated[tuple[Culprit, ...], Field(max_length=MAX_MEMBERS, fail_fast=True)] = ()


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Relayed:
    """Where the model of a region's round comes from.

    Attributes:
        record: Digest of the record of the same round in the federation above, whose model it is.
        sum: Digest of the region's record of what it has summed in the round; null if it has summed nothing.
    """

    record: Digest
    sum: Digest | None


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class RoundRecord(Record):
    """One global model and what it was made of; round 0 holds φ(0).

    Attributes:
        round: t.
        parent: Digest of the round record before; null in round 0.
        federation_record: Digest of the federation record in force.
        pretrained: In round 0 of a plan that begins from trained weights: SHA-256 of the weights' file; otherwise null.
        rule: How the updates were aggregated: the plan's rule; `mean` in round 0, which aggregates none; in a restart the rule of
            the earlier round.
        contributions: The updates used, sorted by site.
        absent: Members that sent nothing, sorted.
        excused: Members that sent nothing, and without which a person closed the round, sorted; left out if there are none.
        rejected: Members whose update was refused, or discarded by a restart, sorted.
        late: Updates of earlier rounds that arrived since the last round record, sorted.
        base_norm: The norm of the trained weights of φ(t-1), to six digits; left out where the plan limits no norms.
        deadline: When the next round may be closed with a quorum; null if it waits for every site, and in round 0: the deadline
            of round 1 follows from the federation record that lists its members.
        restart: Where the round has no contributions, but goes back to an earlier one; otherwise left out.
        masked: Where updates were masked, what their sum was computed from; of a restart, what it could not be computed from.
        relayed: In a region, where the model comes from; otherwise left out.
        artifacts: The global model, and the server's state if the rule has one.
    """

    schema: Literal["fedcli/round@1"] = "fedcli/round@1"
    round: Number
    parent: Digest | None
    federation_record: Digest
    pretrained: Digest | None = None
    rule: Rule = Rule.MEAN
    contributions: Annotated[tuple[Contribution, ...], Field(max_length=MAX_MEMBERS, fail_fast=True)] = ()
    absent: Annotated[tuple[SiteName, ...], Field(max_length=MAX_MEMBERS, fail_fast=True)] = ()
    excused: Annotated[tuple[Excused, ...], Field(max_length=MAX_MEMBERS, fail_fast=True), absent_means(())] = ()
    rejected: Annotated[tuple[Rejected, ...], Field(max_length=MAX_MEMBERS, fail_fast=True)] = ()
    late: Annotated[tuple[Late, ...], Field(max_length=_MAX_LATE, fail_fast=True)] = ()
    base_norm: Annotated[NotNegative | None, absent_means(None)] = None
    deadline: Timestamp | None = None
    restart: Annotated[Restart | None, absent_means(None)] = None
    masked: Annotated[MaskedSum | None, absent_means(None)] = None
    relayed: Annotated[Relayed | None, absent_means(None)] = None
    artifacts: Annotated[tuple[Artifact, ...], Field(min_length=1, max_length=2, fail_fast=True)]

    @property
    def named(self) -> frozenset[str]:
        """The members of whose updates it says that they were used or refused."""
        return frozenset({*(item.site for item in self.contributions), *(item.site for item in self.rejected)})

    @property
    def without(self) -> tuple[str, ...]:
        """The members whose update is not in it."""
        return (*self.absent, *(item.site for item in self.excused), *(item.site for item in self.rejected))

    @property
    def aggregates(self) -> bool:
        """Whether updates were aggregated: not so in round 0, in a restart, and where a region has summed nothing."""
        return self.round > 0 and self.restart is None and (self.relayed is None or self.relayed.sum is not None)

    @model_validator(mode="after")
    def _is_consistent(self) -> RoundRecord:
        if self.pretrained is not None and self.round:
            msg = f"pretrained belongs to round 0, but this is round {self.round}"
            raise ValueError(msg)
        if self.restart is not None and self.restart.round >= self.round:
            msg = f"round {self.round} restarts from round {self.restart.round}, which is not before it"
            raise ValueError(msg)
        if self.restart is not None and self.contributions:
            msg = f"round {self.round} is a restart, but has contributions"
            raise ValueError(msg)
        if self.relayed is not None and (self.relayed.sum is not None) is not bool(self.contributions):
            msg = f"round {self.round}: a region's round has contributions where it names a sum, and nowhere else"
            raise ValueError(msg)
        if any((item.norm is None) is not (self.masked is not None) for item in self.contributions):
            msg = f"round {self.round}: contributions state norms, but not where updates were masked"
            raise ValueError(msg)
        return self


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class ArchiveRecord(Record):
    """Artifacts of old rounds were moved into a tar: from now on they may be absent from the drop folder.

    Attributes:
        number: Counts from 1; the newest counts.
        as_of: Newest round when it was made.
        before: The first round that can be recomputed without the tar; at most the newest one.
        tar: SHA-256 of the tar.
    """

    schema: Literal["fedcli/archive@1"] = "fedcli/archive@1"
    number: Ordinal
    as_of: Number
    before: Ordinal
    tar: Digest

    @model_validator(mode="after")
    def _keeps_the_newest_round(self) -> ArchiveRecord:
        if self.before > self.as_of:
            msg = f"archived before round {self.before}, though the newest was {self.as_of}"
            raise ValueError(msg)
        return self


def archivable(number: int, role: Role, before: int) -> bool:
    """Tell whether an archive before round `before` may move out an artifact of a round.

    What round `before` starts from stays, and so does φ(0), which sets the layout of every model and starts local training.
    """
    return number < before if role is Role.UPDATE else 0 < number < before - 1
