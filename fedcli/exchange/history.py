"""The verified records of a drop folder, from which the report, `status` and the choice of models are made.

`party.history_reader` fills a `History`; the functions here are pure.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from statistics import median_low
from types import MappingProxyType
from typing import TYPE_CHECKING

from fedcli.exchange.lineage import lineage
from fedcli.exchange.records import ModelKind, ModelRecord, ModelReference
from fedcli.plan import Part

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet

    from fedcli.exchange.checks import Verified
    from fedcli.exchange.records import (
        DatasetRecord,
        EnrolmentRecord,
        EvaluationRecord,
        FederationRecord,
        RoundRecord,
        UpdateRecord,
        ValidationScore,
    )
    from fedcli.plan import Plan

_MOST_MEDIANS = 2
"""No site counts by more than so many times the median of the sites' validation patients."""
_NONE: Mapping[str, ValidationScore] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something that is wrong, and the file in which it is."""

    key: str
    message: str


class Weighting(StrEnum):
    """How the sites count in a mean: by the patients that they claim, by no more than they have published, or equally."""

    CLAIMED = "weighted by the validation patients that each site claims"
    BOUNDED = "weighted by validation patients, at most those of each site's data set record and twice their median"
    EQUAL = "each site counting the same, since not all have published a data set record"


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
    def finished(self) -> bool:
        """Whether the last round of the plan is closed."""
        return len(self.rounds) > self.plan.rounds

    def replayable_from(self, absent: AbstractSet[str]) -> int:
        """Return the first round from which every global model can be recomputed without the artifacts under these keys.

        An update that was refused for its norm is measured again.
        """
        first = 1
        for number, verified in enumerate(self.rounds[1:], 1):
            if verified.record.restart is not None:
                continue  # it computes nothing
            sites = [item.site for item in verified.record.contributions]
            sites += [item.site for item in verified.record.rejected if item.norm is not None]
            updates = (self.updates.get((site, number)) for site in sites)
            needed = [*self.rounds[number - 1].artifacts, *(update.artifact for update in updates if update is not None)]
            if any(artifact.key in absent for artifact in needed):
                first = number + 1
        return first

    def global_kappas(self, final: Mapping[str, ValidationScore] = _NONE) -> tuple[float | None, ...]:
        """Return each global model's mean of the sites' validation kappas, as `weighting` says; None if no site has one.

        The sites score φ(t) when they start round t + 1, and the last one when they evaluate.

        Args:
            final: Scores of the newest global model by site, in place of those that the sites have published.
        """
        received: list[dict[str, ValidationScore | None]] = [{} for _ in self.rounds]
        finals: list[dict[str, ValidationScore | None]] = [{} for _ in self.rounds]
        for (site, number), update in sorted(self.updates.items()):
            received[number - 1][site] = update.record.received
        for site, evaluation in sorted(self.evaluations.items()):
            if evaluation.record.as_of < len(finals):
                finals[evaluation.record.as_of][site] = evaluation.record.final_validation
        if finals:
            finals[-1] |= final
        return tuple(self._mean_kappa(scores or last) for scores, last in zip(received, finals, strict=True))

    @property
    def weighting(self) -> Weighting:
        """How the sites count in the mean kappa of a global model."""
        if not self.plan.evaluation.bounded_weights:
            return Weighting.CLAIMED
        scoring = {site for (site, _), update in self.updates.items() if update.record.received.kappa is not None}
        return Weighting.BOUNDED if scoring <= self.datasets.keys() else Weighting.EQUAL

    def _mean_kappa(self, scores: Mapping[str, ValidationScore | None]) -> float | None:
        weighting = self.weighting
        scored = {site: score for site, score in sorted(scores.items()) if score is not None and score.kappa is not None}
        weights = {site: 1 if weighting is Weighting.EQUAL else score.patients for site, score in scored.items()}
        if weighting is Weighting.BOUNDED and scored:
            known = {site: self._known_patients(site) for site in scored}
            most = _MOST_MEDIANS * median_low(known.values())  # a record is its site's own word
            weights = {site: min(weight, known[site], most) for site, weight in weights.items()}
        total = sum(weights.values())
        return sum(weights[site] * (score.kappa or 0.0) for site, score in scored.items()) / total if total else None

    def _known_patients(self, site: str) -> int:
        """Return the validation patients of a site's data set record, 0 where there is none."""
        known = self.datasets.get(site)
        return known.record.cohort.part(Part.VALIDATION).patients if known else 0

    def best_round(self, final: Mapping[str, ValidationScore] = _NONE) -> int:
        """Return the round with the highest of `global_kappas`: the earliest of equals, or the newest round if there is none.

        Only rounds that led to the newest model count: the others were given up by a restart.
        """
        newest, kappas = len(self.rounds) - 1, self.global_kappas(final)
        scored = [(kappa, -number) for number in lineage(self.rounds, newest) if (kappa := kappas[number]) is not None]
        return -max(scored)[1] if scored else newest


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
