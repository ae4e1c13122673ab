"""Models on a site's test patients."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from fedcli.exchange.records.record import ModelKind, NotNegative, Number, Ordinal
from fedcli.exchange.records.site_record import SiteRecord, ValidationScore
from fedcli.measures import Measures, PairedDifference
from fedcli.wire import STRICT, Digest, SiteName


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
