"""A site's work of one round."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from fedcli.cohort import Count
from fedcli.exchange.records.privacy_claim import PrivacyClaim
from fedcli.exchange.records.record import Artifact, NotNegative, Ordinal, Payload, Seconds, Steps
from fedcli.exchange.records.site_record import SiteRecord, ValidationScore
from fedcli.wire import STRICT, Digest, ShortText, absent_means


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class RegionalSum:
    """What a region's update was computed from: a record in the drop folder of the region's own federation.

    Attributes:
        federation: SHA-256 of the first record of that federation.
        record: Digest of its record of what it has summed.
    """

    federation: Digest
    record: Digest


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class UpdateRecord(SiteRecord):
    """A site's work of one round: Δφ(t) and n_k. What would tell of single patients is null where `privacy` is stated.

    Attributes:
        round: t.
        parent: Digest of the record of round t-1, whose model was the start.
        plan: Digest of the plan that the operator approved.
        dataset: Digest of the site's data set record; null if the operator shares none.
        steps: n_k, the local steps.
        images: Training images.
        patients: Training patients.
        payload: What the tensors are.
        transforms: What was done to them before they were sent, in order.
        privacy: What the update costs the training patients; null if the plan promises them nothing.
        received: φ(t-1) on the site's validation patients.
        trained: The site's own model after training, on the same patients.
        training_loss: Mean over the steps; null if withheld, as it is beside masked tensors.
        norm: Euclidean norm of the delta's float tensors; null if they are masked, or under a promise of privacy.
        opening: Digest of the opening record under which they are masked; left out if they are not.
        region: Of a region, what its weighted mean was computed from; otherwise left out.
        seconds: Duration of training.
        device: Where it ran.
        threads: CPU threads; the exact bits depend on their number.
    """

    schema: Literal["fedcli/update@1"] = "fedcli/update@1"
    round: Ordinal
    parent: Digest
    plan: Digest
    dataset: Digest | None
    steps: Steps
    images: Count | None
    patients: Count | None
    payload: Payload = Payload.DELTA
    transforms: tuple[()] = ()
    privacy: PrivacyClaim | None = None
    received: ValidationScore
    trained: ValidationScore
    training_loss: NotNegative | None
    norm: NotNegative | None
    opening: Annotated[Digest | None, absent_means(None)] = None
    region: Annotated[RegionalSum | None, absent_means(None)] = None
    seconds: Seconds | None
    device: ShortText
    threads: Annotated[int, Field(ge=1, le=4096)]
    artifacts: Annotated[tuple[Artifact, ...], Field(min_length=1, max_length=1, fail_fast=True)]

    @model_validator(mode="after")
    def _says_little_of_masked_tensors(self) -> UpdateRecord:
        masked = self.payload is Payload.MASKED_SUM
        withheld = masked or self.privacy is not None
        if masked is not (self.opening is not None) or withheld is not (self.norm is None):
            msg = f"the payload is {self.payload}: masked tensors come with an opening and without a norm, others the other way"
            raise ValueError(msg)
        if masked and self.training_loss is not None:
            msg = "masked tensors come without a training loss"
            raise ValueError(msg)
        if (self.payload is Payload.WEIGHTED_SUM) is not (self.region is not None):
            msg = f"the payload is {self.payload}: a region's mean names what it was computed from, and no other update does"
            raise ValueError(msg)
        if self.region is not None and (self.dataset, self.training_loss) != (None, None):
            msg = "a region's mean comes without a data set record and without a training loss"
            raise ValueError(msg)
        return self
