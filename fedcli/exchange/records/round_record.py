"""One round: the global model, and what it was made of."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from fedcli.cohort import Count
from fedcli.exchange.records.record import MAX_MEMBERS, Artifact, NotNegative, Number, Record, Steps
from fedcli.plan import MAX_STEPS, Rule
from fedcli.wire import STRICT, Digest, LongText, ShortText, SiteName, Timestamp, absent_means

_MAX_LATE = 10_000
MAX_REFUSED_SHARES = 10_000
"""As many as a masked round's record has room for; the others are left out without a name."""


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
