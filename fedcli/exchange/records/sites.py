"""The sites' records: enrolment, data set, update, shared model, evaluation."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from fedcli.cohort import Cohort, Count
from fedcli.exchange.records.privacy_claim import PrivacyClaim
from fedcli.exchange.records.record import (
    MOST_GRANTED,
    Artifact,
    ArtifactKey,
    Box,
    Kappa,
    Keys,
    ModelKind,
    NotNegative,
    Number,
    Ordinal,
    Payload,
    Record,
    Seconds,
    Steps,
)
from fedcli.measures import Measures, PairedDifference
from fedcli.wire import SHORT_DIGEST, STRICT, Digest, ShortText, SiteName, absent_means


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class ValidationScore:
    """A model on a site's validation patients; null if there are none, or if the figure is undefined or withheld.

    Attributes:
        patients: Cases scored.
        loss: Mean cross-entropy per image.
        kappa: Linear weighted kappa.
    """

    patients: Count
    loss: NotNegative | None
    kappa: Kappa | None


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class SeenRound:
    """A round record that a site had verified: its number and its SHA-256."""

    round: Number
    sha256: Digest

    def __str__(self) -> str:
        """Return both in words."""
        return f"round {self.round}, {self.sha256[:SHORT_DIGEST]}"


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class SiteRecord(Record):
    """What a site's records on its work say.

    Attributes:
        seen: The newest round that the site had verified; null in records of an older fedcli.
    """

    seen: Annotated[SeenRound | None, absent_means(None)] = None


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


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class EnrolmentRecord(Record):
    """A site's public keys, self-signed, and the plan that its operator approved.

    Attributes:
        number: Counts from 0; each rotation adds one.
        previous: Digest of the enrolment before; null in the first.
        plan: Digest of the approved plan.
        keys: The site's keys.
        tester: Whether it joins with test patients only.
    """

    schema: Literal["fedcli/enrolment@1"] = "fedcli/enrolment@1"
    number: Number
    previous: Digest | None
    plan: Digest
    keys: Keys
    tester: Annotated[bool, absent_means(value=False)] = False


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class DatasetRecord(SiteRecord):
    """Aggregate facts of a site's data, published after the operator agreed.

    Attributes:
        number: Counts from 1; the newest counts.
        as_of: Newest round when it was made.
        cohort: The facts.
    """

    schema: Literal["fedcli/dataset@1"] = "fedcli/dataset@1"
    number: Ordinal
    as_of: Number
    cohort: Cohort


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class ModelRecord(SiteRecord):
    """A model that a site shares for cross-site evaluation.

    Attributes:
        number: Counts from 1 for each kind; the newest counts.
        as_of: Newest round when it was shared.
        kind: Local, federated or fine-tuned.
        base: Digest of the round record that it started from.
        round: Round (for local and fine-tuned models: epoch) at which it was best.
        kappa: Its kappa on the site's validation patients, by which it was chosen.
        loss: Its loss there, where only the loss told it apart from another candidate.
        artifacts: The model.
    """

    schema: Literal["fedcli/model@1"] = "fedcli/model@1"
    number: Ordinal
    as_of: Number
    kind: ModelKind
    base: Digest
    round: Number
    kappa: Kappa | None
    loss: Annotated[NotNegative | None, absent_means(None)] = None
    artifacts: Annotated[tuple[Artifact, ...], Field(min_length=1, max_length=1, fail_fast=True)]

    @model_validator(mode="after")
    def _is_a_sites_own(self) -> ModelRecord:
        if self.kind is ModelKind.GLOBAL:
            msg = "a site shares local, federated and fine-tuned models; only the coordinator publishes global ones"
            raise ValueError(msg)
        return self


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Granted:
    """A sealed file that a grant opens for somebody.

    Attributes:
        artifact: The file's key in the drop folder.
        stored_sha256: Its digest.
        wrapped: Its content key, wrapped for the recipient as in the file's own record.
    """

    artifact: ArtifactKey
    stored_sha256: Digest
    wrapped: Box


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class GrantRecord(SiteRecord):
    """Content keys of sealed files, wrapped for somebody new by a party that can open them; the files do not change.

    Attributes:
        number: Counts from 1.
        as_of: Newest round when it was made.
        recipient: Who can open the files: a party, or an auditor.
        key: SHA-256 of the recipient's encryption key.
        granted: The files.
    """

    schema: Literal["fedcli/grant@1"] = "fedcli/grant@1"
    number: Ordinal
    as_of: Number
    recipient: SiteName
    key: Digest
    granted: Annotated[tuple[Granted, ...], Field(min_length=1, max_length=MOST_GRANTED, fail_fast=True)]

    @model_validator(mode="after")
    def _names_each_file_once(self) -> GrantRecord:
        if len({item.stored_sha256 for item in self.granted}) != len(self.granted):
            msg = "a grant names each file once"
            raise ValueError(msg)
        return self


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class ModelReference:
    """A model that was scored.

    Attributes:
        kind: Where it comes from.
        party: Whose model: a site's, or the coordinator's for a global one.
        round: Round or epoch of the model.
        record: Digest of the record that names it.
        content_sha256: Digest of the model itself.
    """

    kind: ModelKind
    party: SiteName
    round: Number
    record: Digest
    content_sha256: Digest


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class TestScore:
    """A model on a site's test patients.

    Attributes:
        model: Which model.
        loss: Mean cross-entropy per image; null if withheld.
        by_case: Over cases (patients, or studies if the plan says so), as in the paper and the report.
        by_image: Over single images.
    """

    model: ModelReference
    loss: NotNegative | None
    by_case: Measures
    by_image: Measures


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Comparison:
    """Two models of a site on its own test patients; the difference is the first model's kappa minus the second's."""

    model: ModelReference
    other: ModelReference
    result: PairedDifference


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class EvaluationRecord(SiteRecord):
    """Every model that a site could score on its test patients.

    Attributes:
        number: Counts from 1; the newest counts.
        as_of: Newest round when it was made.
        dataset: Digest of the site's data set record; null if the operator shares none.
        final_validation: That round's global model on the site's validation patients; null if it has none.
        scores: One for each model.
        comparisons: Pairs of the site's own models, each of which has a score.
    """

    schema: Literal["fedcli/evaluation@1"] = "fedcli/evaluation@1"
    number: Ordinal
    as_of: Number
    dataset: Digest | None
    final_validation: ValidationScore | None
    scores: Annotated[tuple[TestScore, ...], Field(max_length=100_000, fail_fast=True)]
    comparisons: Annotated[tuple[Comparison, ...], Field(max_length=8, fail_fast=True)] = ()

    @model_validator(mode="after")
    def _compares_what_it_scored(self) -> EvaluationRecord:
        scored = {score.model.record for score in self.scores}
        if any(model.record not in scored for pair in self.comparisons for model in (pair.model, pair.other)):
            msg = "a comparison names a model that was not scored"
            raise ValueError(msg)
        return self
