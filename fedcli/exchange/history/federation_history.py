"""The verified records of one federation, by kind, and what follows from them without a figure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fedcli.exchange.records import SHARED_KINDS, ModelKind, ModelRecord, ModelReference
from fedcli.plan import Part

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from fedcli.exchange.checks import Verified
    from fedcli.exchange.records import (
        ClosingRecord,
        DatasetRecord,
        EnrolmentRecord,
        EvaluationRecord,
        FederationRecord,
        MasksRecord,
        OpeningRecord,
        RoundRecord,
        SumRecord,
        UnmaskRecord,
        UpdateRecord,
    )
    from fedcli.plan import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something that is wrong, and the file in which it is."""

    key: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """The verified records of one federation.

    Attributes:
        federations: Federation records, ascending.
        rounds: Round records, ascending.
        updates: Update records by site and round, used or not.
        enrolments: By site, the newest enrolment whose key the federation has listed, or the first if it has listed none.
        waiting: By site, the enrolments whose key the federation has never listed.
        datasets: Each site's newest data set record.
        models: Each site's newest shared model of each kind.
        evaluations: Each site's newest evaluation.
        openings: The openings of masked rounds that are open, or that a round record names.
        closings: Their closings.
        unmasks: The answers to these, by site and round.
        sums: What a region has summed, by round.
        masks: The masks that sites have prepared, by site and digest.
        problems: What did not verify; everything above did.
    """

    federations: tuple[Verified[FederationRecord], ...]
    rounds: tuple[Verified[RoundRecord], ...]
    updates: dict[tuple[str, int], Verified[UpdateRecord]] = field(default_factory=dict)
    enrolments: dict[str, Verified[EnrolmentRecord]] = field(default_factory=dict)
    waiting: dict[str, tuple[Verified[EnrolmentRecord], ...]] = field(default_factory=dict)
    datasets: dict[str, Verified[DatasetRecord]] = field(default_factory=dict)
    models: dict[tuple[str, ModelKind], Verified[ModelRecord]] = field(default_factory=dict)
    evaluations: dict[str, Verified[EvaluationRecord]] = field(default_factory=dict)
    openings: dict[int, Verified[OpeningRecord]] = field(default_factory=dict)
    closings: dict[int, Verified[ClosingRecord]] = field(default_factory=dict)
    unmasks: dict[tuple[str, int], Verified[UnmaskRecord]] = field(default_factory=dict)
    sums: dict[int, Verified[SumRecord]] = field(default_factory=dict)
    masks: dict[tuple[str, str], Verified[MasksRecord]] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()

    @property
    def plan(self) -> Plan:
        """The newest plan."""
        return self.federations[-1].record.plan

    @property
    def sites(self) -> tuple[str, ...]:
        """The members' names, sorted."""
        return tuple(member.site for member in self.federations[-1].record.members)

    @property
    def trainers(self) -> tuple[str, ...]:
        """The members that train, sorted."""
        return self.federations[-1].record.trainers

    @property
    def testers(self) -> tuple[str, ...]:
        """The members that only test, sorted."""
        return self.federations[-1].record.testers

    @property
    def finished(self) -> bool:
        """Whether the last round of the plan is closed."""
        return len(self.rounds) > self.plan.rounds

    @property
    def regions(self) -> frozenset[str]:
        """The sites that are regions, as their newest updates say."""
        newest = {site: update.record.region for (site, _), update in sorted(self.updates.items())}
        return frozenset(site for site, region in newest.items() if region is not None)

    def replayable_from(self, absent: AbstractSet[str]) -> int:
        """Return the first round from which every global model can be recomputed without the artifacts under these keys.

        An update that was refused for its norm is measured again.
        """
        first = 1
        for number, verified in enumerate(self.rounds[1:], 1):
            if not verified.record.aggregates:
                continue  # it computes nothing
            sites = [item.site for item in verified.record.contributions]
            sites += [item.site for item in verified.record.rejected if item.norm is not None]
            updates = (self.updates.get((site, number)) for site in sites)
            needed = [*self.rounds[number - 1].artifacts, *(update.artifact for update in updates if update is not None)]
            if any(artifact.key in absent for artifact in needed):
                first = number + 1
        return first

    def validation_patients(self, site: str) -> int:
        """Return the validation patients of a site's data set record, 0 where there is none."""
        known = self.datasets.get(site)
        return known.record.cohort.part(Part.VALIDATION).patients if known else 0


def shared_kinds(plan: Plan) -> tuple[ModelKind, ...]:
    """Return the kinds of models that sites share: under a promise of privacy only those that are trained with noise."""
    return (ModelKind.FEDERATED,) if plan.privacy.promised else SHARED_KINDS


def reference_to(verified: Verified[RoundRecord] | Verified[ModelRecord]) -> ModelReference:
    """Return the reference under which a round's global model, or a site's shared model, is scored."""
    record = verified.record
    return ModelReference(
        kind=record.kind if isinstance(record, ModelRecord) else ModelKind.GLOBAL,
        party=record.party,
        round=record.round,
        record=verified.digest,
        content_sha256=verified.artifact.content_sha256,
    )
