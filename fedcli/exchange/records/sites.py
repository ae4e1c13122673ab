"""The sites' records beside updates and evaluations: enrolment, data set, shared model, grant."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from fedcli.cohort import Cohort
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
    Record,
)
from fedcli.exchange.records.site_record import SiteRecord
from fedcli.wire import STRICT, Digest, SiteName, absent_means


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
        kappa: Its kappa on the site's validation patients, by which it was chosen, or of which the smoothed kappa was the mean.
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
